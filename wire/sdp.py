"""Session descriptions as far as RTSP needs them, no I/O (RFC 4566 §5; RFC 2326 appendix C)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

SDP_MAX_BYTES = 65536
SDP_LINES_MAX = 1024

_FMT_MEDIA = re.compile(r"(\S+) +([0-9]{1,5})(?:/[0-9]{1,5})? +(\S+)((?: +\S+)*) *\Z")

Attributes = tuple[tuple[str, str | None], ...]
"""``a=name:value`` or, with None, the flag ``a=name``."""


class SdpError(ValueError):
    """The bytes are no session description."""


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One ``m=`` section."""

    kind: str
    """``video``, ``audio``, ``application``…"""
    port: int
    profile: str
    """E.g. ``RTP/AVP`` or ``MP2T/TCP``."""
    formats: tuple[str, ...]
    attributes: Attributes = ()
    connection: str | None = None
    """Text after ``c=``, e.g. ``IN IP4 239.1.1.1/16``."""

    @property
    def control(self) -> str | None:
        """``a=control``: the URL for SETUP, absolute or relative to Content-Base."""
        return _attribute(self.attributes, "control")

    @property
    def range(self) -> str | None:
        """``a=range``: a value for ``wire.rtsp.parse_range``."""
        return _attribute(self.attributes, "range")


@dataclass(frozen=True, slots=True)
class Session:
    """A whole description."""

    origin: str = "- 0 0 IN IP4 0.0.0.0"
    name: str = "-"
    connection: str | None = None
    attributes: Attributes = ()
    media: tuple[MediaDescription, ...] = ()
    deviations: tuple[str, ...] = ()
    """What was odd on the wire: ``bare-lf``, ``not-utf8``, ``no-name``, ``no-origin``, ``no-timing``."""

    @property
    def control(self) -> str | None:
        """``a=control`` of the session (aggregate control)."""
        return _attribute(self.attributes, "control")

    @property
    def range(self) -> str | None:
        """``a=range`` of the session, else of its first media that has one."""
        found = [_attribute(self.attributes, "range"), *(each.range for each in self.media)]
        return next((each for each in found if each is not None), None)


def parse(raw: bytes) -> Session:
    """Read a description; unknown line types are skipped.

    Raises:
        SdpError: too large, not beginning with ``v=0``, or an ``m=`` line or line type that cannot be read.
    """
    if len(raw) > SDP_MAX_BYTES:
        raise SdpError(f"description of {len(raw)} bytes; at most {SDP_MAX_BYTES}")
    odd: list[str] = []
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
        odd.append("not-utf8")
    lines = text.split("\n")
    if len(lines) > SDP_LINES_MAX:
        raise SdpError(f"{len(lines)} lines; at most {SDP_LINES_MAX}")
    if any(not line.endswith("\r") for line in lines[:-1]) or lines[-1]:
        odd.append("bare-lf")
    fields = [_field(line.rstrip("\r")) for line in lines if line.rstrip("\r")]
    if not fields or fields[0] != ("v", "0"):
        raise SdpError("a description begins with v=0")
    starts = [index for index, (kind, _) in enumerate(fields) if kind == "m"]
    head = fields[: starts[0] if starts else len(fields)]
    media = tuple(_media(fields[a:b]) for a, b in pairwise([*starts, len(fields)]))
    odd += [
        f"no-{word}" for word, kind in (("origin", "o"), ("name", "s"), ("timing", "t")) if _first(head, kind) is None
    ]
    return Session(
        origin=_first(head, "o") or Session().origin,
        name=_first(head, "s") or "-",
        connection=_first(head, "c"),
        attributes=_attributes(head),
        media=media,
        deviations=tuple(odd),
    )


def write(session: Session) -> bytes:
    """Write a description, lines in the order of RFC 4566 §5.

    Raises:
        ValueError: a text would break its line.
    """
    lines = ["v=0", f"o={session.origin}", f"s={session.name}"]
    lines += [] if session.connection is None else [f"c={session.connection}"]
    lines += ["t=0 0", *_attribute_lines(session.attributes)]
    for each in session.media:
        lines.append(f"m={each.kind} {each.port} {each.profile} {' '.join(each.formats)}")
        lines += [] if each.connection is None else [f"c={each.connection}"]
        lines += _attribute_lines(each.attributes)
    if any(mark in line for line in lines for mark in "\r\n\0"):
        raise ValueError("a line end inside a description's line")
    return "".join(f"{line}\r\n" for line in lines).encode()


def _field(line: str) -> tuple[str, str]:
    if len(line) < 2 or line[1] != "=" or not line[0].isalpha():
        raise SdpError(f"line {line[:40]!r} is not letter=value")
    return line[0], line[2:].strip() if line[0] == "m" else line[2:]


def _first(fields: list[tuple[str, str]], kind: str) -> str | None:
    return next((value for each, value in fields if each == kind), None)


def _media(fields: list[tuple[str, str]]) -> MediaDescription:
    match = _FMT_MEDIA.match(fields[0][1])
    if match is None or int(match[2]) > 65535:
        raise SdpError(f"media line {fields[0][1][:60]!r} is not kind port profile formats")
    formats = tuple(match[4].split())
    return MediaDescription(match[1], int(match[2]), match[3], formats, _attributes(fields), _first(fields, "c"))


def _attributes(fields: list[tuple[str, str]]) -> Attributes:
    found = []
    for kind, value in fields:
        if kind == "a":
            name, colon, rest = value.partition(":")
            found.append((name, rest.strip() if colon else None))
    return tuple(found)


def _attribute(attributes: Attributes, name: str) -> str | None:
    return next((value for each, value in attributes if each == name and value is not None), None)


def _attribute_lines(attributes: Attributes) -> list[str]:
    return [f"a={name}" if value is None else f"a={name}:{value}" for name, value in attributes]
