"""The head of an HTTP/1.1 request (RFC 9112), read strictly and only as far as a server of files must know. Pure.

A head that is not certain in every byte is called `odd`; whoever can do more (or knows better how to refuse) takes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from wire.http_range import FIELDS

HEAD_MAX_BYTES = 16 * 1024
"""Of one request's head, request line included."""
FIELDS_MAX_COUNT = 100
PATH_MAX_CHARS = 2048

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
_OTHER_VERSION = re.compile(_TOKEN + rb" [\x21-\x7e\x80-\xff]+ HTTP/(?!1\.)[0-9]\.[0-9]")
_SEEN = rb"[\x21-\x7e\x80-\xff]"
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:" + _SEEN + rb"(?:[ \t]*" + _SEEN + rb")*)?)[ \t]*")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[0-9A-Za-z._~%!$&'()*+,;=-]*)(?::[0-9]*)?")
_ABSOLUTE = re.compile(r"https?://[^/?#@]+(?=[/?]|$)", re.IGNORECASE)
_PATH = re.compile(r"(?:[\x21\x22\x24\x26-\x7e]|%[0-9A-Fa-f]{2})*")
_LENGTH = re.compile(r"[0-9]{1,15}")
_ONLY_RANGE = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})")
_CONDITIONS = {name.lower(): name for name in FIELDS}
_UNCERTAIN = frozenset({"expect", "transfer-encoding", "upgrade", "http2-settings", "trailer"})


@dataclass(frozen=True, slots=True)
class RequestFields:
    """What the field lines of one head say."""

    conditions: Mapping[str, str]
    """By the names of `wire.http_range.FIELDS`; several lines of one field are one list (RFC 9110 §5.3)."""
    first_last: tuple[int, int] | None
    """First and last byte asked for, the last -1 for all that follow, when the only condition is that one range."""
    stays: tuple[bool, bool]
    """Whether the connection stays open after the answer (RFC 9112 §9.3): of HTTP/1.0, of HTTP/1.1."""
    hosts: int
    """Number of Host lines; -1 when one of them names no host."""
    length_bytes: int
    """Of the body that follows; 0 without one."""
    odd: bool
    """Something is there that a server of files does not judge: another framing, an upgrade, an expectation."""
    agent: str
    """User-Agent, for a log."""

    @property
    def usual(self) -> bool:
        """Tell whether HTTP/1.1 GET with these fields asks for the whole or one range, and keeps the connection."""
        asks = not self.conditions or self.first_last is not None
        return asks and self.stays[1] and self.hosts == 1 and not self.odd and not self.length_bytes


def is_other_version(line: bytes) -> bool:
    """Tell whether this is a request line of another version of HTTP."""
    return _OTHER_VERSION.fullmatch(line) is not None


def read_line(line: bytes) -> tuple[str, bytes, int] | None:
    """Read a request line: method, target and minor version; None when it is none."""
    match = _LINE.fullmatch(line)
    return (match[1].decode("ascii"), match[2], int(match[3])) if match else None


def read_fields(lines: bytes) -> RequestFields | None:
    """Read the field lines, each with a CR LF before it (what stands between request line and empty line).

    Returns:
        None when a line is no field line, or there are more than FIELDS_MAX_COUNT.
    """
    conditions: dict[str, str] = {}
    keep: bool | None = None
    hosts, length_bytes, lengths, odd, agent = 0, 0, 0, False, ""
    found = lines.split(b"\r\n")
    if found[0] or len(found) > FIELDS_MAX_COUNT + 1:
        return None
    for line in found[1:]:
        match = _FIELD.fullmatch(line)
        if match is None:
            return None
        name, value = match[1].decode("ascii").lower(), match[2].decode("latin-1")
        if (condition := _CONDITIONS.get(name)) is not None:
            before = conditions.get(condition)
            conditions[condition] = value if before is None else f"{before}, {value}"
        elif name == "connection":
            for option in value.lower().split(","):
                option = option.strip(" \t")
                if option == "close":
                    keep = False
                elif option == "keep-alive":
                    keep = True if keep is None else keep
                elif option == "upgrade":
                    odd = True
        elif name == "host":
            hosts = hosts + 1 if hosts >= 0 and _HOST.fullmatch(value) else -1
        elif name == "content-length":
            lengths += 1
            odd = odd or lengths > 1 or _LENGTH.fullmatch(value) is None
            length_bytes = int(value) if not odd else 0
        elif name == "user-agent":
            agent = value
        elif name in _UNCERTAIN:
            odd = True
    one = _ONLY_RANGE.fullmatch(conditions["Range"]) if conditions.keys() == {"Range"} else None
    first_last = (int(one[1]), int(one[2]) if one[2] else -1) if one else None
    stays = (False, True) if keep is None else (keep, keep)
    return RequestFields(conditions, first_last, stays, hosts, length_bytes, odd, agent)


def path_of(target: bytes | str) -> str | None:
    """Return the percent-decoded path of a target in origin or absolute form; None when it names no path for certain.

    Nothing is resolved or made shorter: a path with ``..`` in it is another path than the one without.
    """
    text = target.decode("latin-1") if isinstance(target, bytes) else target
    if not text.startswith("/"):
        absolute = _ABSOLUTE.match(text)
        if absolute is None:
            return None
        text = text[absolute.end() :]
        text = text if text.startswith("/") else "/" + text
    text = text.partition("?")[0]
    if len(text) > PATH_MAX_CHARS or _PATH.fullmatch(text) is None:
        return None
    if "%" not in text:
        return text
    try:
        path = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        return None
    return path if path.isprintable() else None


def message_bytes(data: bytes) -> int | None:
    """Return how long the request at the start of ``data`` is, its body included.

    Returns:
        None when its head is not complete yet; -1 when that cannot be told for certain.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None if len(data) <= HEAD_MAX_BYTES and not data.startswith((b"\r", b"\n")) else -1
    line_end = data.find(b"\r\n")
    fields = read_fields(data[line_end:end])
    if fields is None or fields.odd or read_line(data[:line_end]) is None:
        return -1
    return end + 4 + fields.length_bytes
