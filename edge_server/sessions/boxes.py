"""Boxes known by their MAC: which station each serves, and which served it before. One JSON file in the edge folder.

A record is never forgotten: a box that was replaced or removed stays on the list with the day it ended, so that the
station keeps its history (REQ-STB-04) and the old MAC is refused at once, also where unregistered boxes may watch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edge_server.sessions.accounts import USER_ID_MAX_CHARS
from edge_server.sessions.kept import fingerprint, locked
from sync.store.files import write_file

BOXES_FORMAT = 1
BOXES_MAX_BYTES = 16 * 1024 * 1024
BOXES_MAX_COUNT = 20_000
"""Records, with those that have ended: the boxes of a county for a decade."""
STATION_MAX_CHARS = 32
MAC_TEXT_MAX_CHARS = 17
_MAC = re.compile(r"(?:[0-9A-F]{2}([:-]?))(?:[0-9A-F]{2}\1){4}[0-9A-F]{2}")
_STATION = re.compile(rf"[0-9A-Za-z._-]{{1,{STATION_MAX_CHARS}}}")
_ACCOUNT = re.compile(rf"[0-9A-Za-z._@:-]{{0,{USER_ID_MAX_CHARS}}}")


class BoxError(Exception):
    """Something is wrong with the registry of boxes; the message says what to do."""


class BoxesUnreadable(BoxError):
    """The file is too large, not JSON of this shape, or of a newer format."""


class BoxInvalid(BoxError):
    """MAC, station or account cannot be used, or the registry is full."""


class BoxMissing(BoxError):
    """No box with that MAC is in service."""


class BoxTaken(BoxError):
    """The MAC is in service already."""


class Box(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One box at one station, from the day it came to the day it went. Never a person's name (SEC-11)."""

    mac: str
    """``00:1A:79:AA:BB:CC``."""
    station: str
    """Code of the station."""
    account: str = ""
    """When given, the box is let in only with the password of this account (``edge-server account``)."""
    since: str
    """RFC 3339 UTC, whole seconds."""
    until: str = ""
    """Empty while in service."""
    successor: str = ""
    """MAC of the box that came instead."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    boxes: tuple[Box, ...] = ()
    format: int = BOXES_FORMAT


def normal_mac(text: str) -> str | None:
    """Write a MAC as ``00:1A:79:AA:BB:CC``, from forms with colons, hyphens or nothing between; None: it is none."""
    upper = text.strip().upper() if len(text) <= MAC_TEXT_MAX_CHARS else ""
    if not _MAC.fullmatch(upper):
        return None
    digits = upper.replace(":", "").replace("-", "")
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


class BoxBook:
    """The registry in one file. Changes made by another process are seen at the next ``find``."""

    def __init__(self, path: Path) -> None:
        """Read the file; no file yet is an empty book.

        Raises:
            BoxError: the file is there and cannot be used.
        """
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._boxes: tuple[Box, ...] = ()
        self._newest: dict[str, Box] = {}
        self.problem: BoxError | None = None
        """Why the last change of the file was not taken over; None when all is well."""
        self.reload()

    def __iter__(self) -> Iterator[Box]:
        """All records, those that have ended too, in the order in which they were made."""
        return iter(self._boxes)

    def __len__(self) -> int:
        """Number of records."""
        return len(self._boxes)

    def reload(self) -> None:
        """Read the file again.

        Raises:
            BoxError: it cannot be used; what was known before stays.
        """
        seen = fingerprint(self._path)
        try:
            self._boxes = load(self._path) if seen else ()
            self._newest = {each.mac: each for each in self._boxes}
            self.problem = None
        except BoxError as error:
            self.problem = error
            raise
        finally:
            self._seen = seen

    def find(self, mac: str) -> Box | None:
        """Return the newest record of that MAC, or None. A broken file leaves the last good records in force."""
        if fingerprint(self._path) != self._seen:
            with suppress(BoxError):  # kept in self.problem; boxes must go on logging in
                self.reload()
        return self._newest.get(mac)

    def station(self, code: str) -> tuple[Box, ...]:
        """List the boxes that serve or served a station, in the order in which they came."""
        return tuple(each for each in self._boxes if each.station == code)

    def add(self, mac: str, station: str, now: datetime, *, account: str = "") -> Box:
        """Put a box into service, or change the account of one that is, and store the file.

        Raises:
            BoxInvalid: a field cannot be used.
            BoxTaken: the MAC is in service at another station.
        """
        made = _made(mac, station, account, now)

        def change(boxes: list[Box]) -> None:
            for at, each in enumerate(boxes):
                if each.mac == made.mac and not each.until:
                    if each.station != station:
                        raise BoxTaken(
                            f"{each.mac} 已登记在站点 {each.station} / {each.mac} serves station {each.station}: "
                            f"remove it there first"
                        )
                    boxes[at] = msgspec.structs.replace(each, account=account)
                    return
            boxes.append(made)

        self._change(change)
        return self._newest[made.mac]

    def remove(self, mac: str, now: datetime) -> Box:
        """Take a box out of service and store the file; it is refused from now on.

        Raises:
            BoxMissing: no box with that MAC is in service.
        """
        return self._end(mac, now, None)

    def replace(self, mac: str, successor: str, now: datetime, *, account: str | None = None) -> Box:
        """Put another box in the place of one, at the same station, and store the file; the old one is refused.

        Raises:
            BoxInvalid: the new MAC cannot be used.
            BoxMissing: no box with the old MAC is in service.
            BoxTaken: the new MAC is in service already.
        """
        new = normal_mac(successor)
        if new is None:
            raise BoxInvalid(_not_a_mac(successor))
        return self._end(mac, now, new, account)

    def _end(self, mac: str, now: datetime, successor: str | None, account: str | None = None) -> Box:
        old = normal_mac(mac)

        def change(boxes: list[Box]) -> None:
            at = next((at for at, each in enumerate(boxes) if each.mac == old and not each.until), None)
            if at is None:
                raise BoxMissing(f"没有登记 {mac} / no box {mac} is in service")
            if successor is not None and any(each.mac == successor and not each.until for each in boxes):
                raise BoxTaken(f"{successor} 已在使用 / {successor} is in service already")
            ended = msgspec.structs.replace(boxes[at], until=_stamp(now), successor=successor or "")
            boxes[at] = ended
            if successor is not None:
                boxes.append(_made(successor, ended.station, ended.account if account is None else account, now))

        self._change(change)
        return self._newest[successor or old or ""]

    def _change(self, change: Callable[[list[Box]], None]) -> None:
        with locked(self._path):
            self.reload()
            boxes = list(self._boxes)
            change(boxes)
            if len(boxes) > BOXES_MAX_COUNT:
                raise BoxInvalid(f"the registry has {BOXES_MAX_COUNT} records; at most so many fit")
            raw = msgspec.json.format(msgspec.json.encode(_File(tuple(boxes))), indent=2) + b"\n"
            write_file(self._path, raw, mode=0o600)
            self.reload()


def load(path: Path) -> tuple[Box, ...]:
    """Read a registry.

    Raises:
        BoxesUnreadable: too large, not of this shape, or a record in it is invalid.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(BOXES_MAX_BYTES + 1)
        if len(raw) > BOXES_MAX_BYTES:
            raise BoxesUnreadable(f"{path} has more than {BOXES_MAX_BYTES} bytes")
        read = msgspec.json.decode(raw, type=_File)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BoxesUnreadable(f"{path} is not a registry of boxes: {error}") from error
    if read.format != BOXES_FORMAT:
        raise BoxesUnreadable(f"{path} has format {read.format}; this version reads {BOXES_FORMAT}")
    serving: set[str] = set()
    for each in read.boxes:
        if normal_mac(each.mac) != each.mac or not _STATION.fullmatch(each.station):
            raise BoxesUnreadable(f"{path}: {each.mac!r} at {each.station!r} is no box at a station")
        if not each.until and each.mac in serving:
            raise BoxesUnreadable(f"{path} has {each.mac} in service twice; remove one of the two")
        if not each.until:
            serving.add(each.mac)
    return read.boxes


def _made(mac: str, station: str, account: str, now: datetime) -> Box:
    normal = normal_mac(mac)
    if normal is None:
        raise BoxInvalid(_not_a_mac(mac))
    if not _STATION.fullmatch(station):
        raise BoxInvalid(
            f"站点编号应为 1–{STATION_MAX_CHARS} 个字母、数字或 . _ - / "
            f"a station's code is 1 to {STATION_MAX_CHARS} letters, digits, . _ or -: {station!r}"
        )
    if not _ACCOUNT.fullmatch(account):
        raise BoxInvalid(f"账号名无效 / not an account's name: {account!r}")
    return Box(mac=normal, station=station, account=account, since=_stamp(now))


def _not_a_mac(text: str) -> str:
    return f"MAC 地址形如 00:1A:79:AA:BB:CC / a MAC looks like 00:1A:79:AA:BB:CC, not {text!r}"


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
