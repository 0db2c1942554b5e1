"""Signed URLs of HTTP media: a prefix ``/t/<ticket>`` before any media path, which relative URIs in playlists keep.

A ticket says: this viewing may fetch this item until then. It is checked without any table, in every process alike, and
any number of fetches may use it (boxes open a URL twice before they play it). Times are monotonic seconds of this boot:
the wrong clock of a village neither ends a ticket nor keeps it alive. Pure.
"""

from __future__ import annotations

import hmac
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

PREFIX = "/t/"
TICKETED = ("/hls/", "/dash/", "/media/", "/whep/", "/live/")
"""Paths that tickets are for; everything else is open and never has one."""
_OF_ACCOUNT = re.compile(r"/live/[^/]+/[^/]+/[^/]+")
LIFE_S = 12 * 3600.0
"""Longer than a study day; who pauses over night asks the page again."""
KNOWN_MAX_COUNT = 4096
"""Tickets whose signature need not be computed again."""
SECRET_MIN_BYTES = 16

_BODY = struct.Struct(">BQQ")
_VERSION = 1
_MAC_BYTES = 16
_LENGTH = 4 * (_BODY.size + _MAC_BYTES) // 3
"""Letters of a ticket: 33 bytes need no padding."""


def of_account(path: str) -> bool:
    """Tell ``/live/<user>/<password>/<file>`` from media: a portal looks at the password there and gives a ticket."""
    return _OF_ACCOUNT.fullmatch(path) is not None


class Allowed(NamedTuple):
    """The request may be answered."""

    path: str
    """What is asked for, without the ticket."""
    viewing: int = 0
    """Number of the viewing that the ticket was given to; 0 without a ticket."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The request is answered with this status and these words."""

    status: int
    words: str


FORGED = Refused(403, "链接无效，请回到课件页面重新打开 / this link is not valid; open the lesson's page again\n")
EXPIRED = Refused(410, "链接已过期，请回到课件页面重新打开 / this link has expired; open the lesson's page again\n")
NEEDED = Refused(403, "请从课件页面打开视频 / open the video from the lesson's page\n")


class Tickets:
    """Gives tickets out and looks at them."""

    def __init__(self, secret: bytes, *, boot: bytes = b"", required: bool = False, life_s: float = LIFE_S) -> None:
        """Prepare.

        Args:
            secret: key of this edge, at least ``SECRET_MIN_BYTES``.
            boot: names the boot of the machine that the times belong to.
            required: media without a ticket are refused.
            life_s: seconds that a ticket is good for.

        Raises:
            ValueError: the secret is too short.
        """
        if len(secret) < SECRET_MIN_BYTES:
            raise ValueError(f"a ticket key of {len(secret)} bytes; at least {SECRET_MIN_BYTES} are needed")
        self.required = required
        self._key = hmac.digest(secret, b"media ticket\0" + boot, "sha256")
        self._life_s = life_s
        self._known: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def prefix(self, item_id: str, viewing: int, now_s: float) -> str:
        """Return what to put in front of a media path of this item."""
        body = _BODY.pack(_VERSION, int(now_s + self._life_s), viewing)
        return PREFIX + urlsafe_b64encode(body + self._mac(body, item_id)).decode()

    def door(self, path: str, now_s: float) -> Allowed | Refused:
        """Look at the path of a request, percent-decoded, without its query."""
        if not path.startswith(PREFIX):
            needed = self.required and path.startswith(TICKETED) and not of_account(path)
            return NEEDED if needed else Allowed(path)
        ticket, slash, rest = path[len(PREFIX) :].partition("/")
        rest = slash + rest
        item_id = self.item_of(rest)
        found = (self._known.get((ticket, item_id)) or self._read(ticket, item_id)) if item_id else None
        if found is None:
            return FORGED
        until_s, viewing = found
        return Allowed(rest, viewing) if now_s < until_s else EXPIRED

    def item_of(self, path: str) -> str:
        """Return the item whose ticket opens a decoded media path; empty when no ticket is for such a path."""
        if not path.startswith(TICKETED):
            return ""
        item_id = path.split("/", 3)[2]
        return item_id.partition(".")[0] if path.startswith(("/media/", "/live/")) else item_id

    def viewing(self, ticket: str, item_id: str, now_s: float) -> int | None:
        """Return the viewing that a ticket for an item was given to; None when it is none, or has run out."""
        found = self._known.get((ticket, item_id)) or self._read(ticket, item_id)
        return found[1] if found is not None and now_s < found[0] else None

    def _read(self, ticket: str, item_id: str) -> tuple[float, int] | None:
        if len(ticket) != _LENGTH or not ticket.isascii():
            return None
        try:
            raw = urlsafe_b64decode(ticket)
        except NotBase64:
            return None
        body, mac = raw[: _BODY.size], raw[_BODY.size :]
        if len(mac) != _MAC_BYTES or urlsafe_b64encode(raw).decode() != ticket:  # the decoder takes odd letters, too
            return None
        if not hmac.compare_digest(mac, self._mac(body, item_id)):
            return None
        version, until_s, viewing = _BODY.unpack(body)
        if version != _VERSION:
            return None
        while len(self._known) >= KNOWN_MAX_COUNT:
            self._known.popitem(last=False)
        self._known[ticket, item_id] = float(until_s), viewing
        return float(until_s), viewing

    def _mac(self, body: bytes, item_id: str) -> bytes:
        return hmac.digest(self._key, body + item_id.encode(), "sha256")[:_MAC_BYTES]
