"""The Transport header (RFC 2326 §12.39) as the IPTV boxes write it (reference/stb_protocols §4.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from wire.rtsp_headers import WireError, has_control

TRANSPORTS_MAX = 16
"""Longest list of alternatives that is read."""

_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?\Z")
_SSRC = re.compile(r"[0-9A-Fa-f]{1,8}\Z")


@dataclass(frozen=True, slots=True)
class Transport:
    """One alternative of the list, or the one that the server chose."""

    profile: str
    """Verbatim, e.g. ``MP2T/RTP/UDP`` or ``RTP/AVP``: boxes compare it letter by letter."""
    unicast: bool = True
    client_port: tuple[int, int] | None = None
    """Data and control port; both the same when only one was named."""
    destination: str | None = None
    """Also read from ``client_address=``."""
    interleaved: tuple[int, int] | None = None
    """Data and control channel, 0 to 255; both the same when only one was named."""
    server_port: tuple[int, int] | None = None
    source: str | None = None
    mode: str | None = None
    """As written, without quotation marks."""
    ssrc: int | None = None
    raw: str = field(default="", compare=False)
    """The element as it stood on the wire; "" for one that we made."""


def parse_transport(value: str) -> tuple[Transport, ...]:
    """Read the whole header value: alternatives in the order of preference.

    Raises:
        WireError: empty, too many alternatives, or a port, channel or SSRC that is no number in range.
    """
    elements = _split(value, ",")
    if len(elements) > TRANSPORTS_MAX:
        raise WireError(f"{len(elements)} transports; at most {TRANSPORTS_MAX}")
    if not elements:
        raise WireError("empty Transport header")
    return tuple(_element(each) for each in elements)


def write_transport(transport: Transport) -> str:
    """Write one element from its fields (``raw`` is not looked at).

    Raises:
        ValueError: a field would break the line.
    """
    parts = [transport.profile, "unicast" if transport.unicast else "multicast"]
    if transport.destination is not None:
        parts.append(f"destination={transport.destination}")
    if transport.client_port is not None:
        parts.append(f"client_port={_pair(transport.client_port)}")
    if transport.interleaved is not None:
        parts.append(f"interleaved={_pair(transport.interleaved)}")
    if transport.source is not None:
        parts.append(f"source={transport.source}")
    if transport.server_port is not None:
        parts.append(f"server_port={_pair(transport.server_port)}")
    if transport.ssrc is not None:
        parts.append(f"ssrc={transport.ssrc:08X}")
    if transport.mode is not None:
        parts.append(f"mode={transport.mode}")
    text = ";".join(parts)
    if has_control(text) or any(mark in part for part in parts for mark in ',; \t"'):
        raise ValueError(f"transport {text!r} cannot be written")
    return text


def _element(text: str) -> Transport:
    profile, *parameters = _split(text, ";") or [""]
    if "=" in profile or "/" not in profile:
        raise WireError(f"transport {text!r} names no profile")
    known: dict[str, str] = {}
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        known.setdefault(name.strip().lower(), value.strip().strip('"'))
    ssrc = known.get("ssrc")
    if ssrc is not None and not _SSRC.match(ssrc):
        raise WireError(f"ssrc {ssrc!r} is not a hexadecimal number of 32 bits")
    return Transport(
        profile=profile,
        unicast="multicast" not in known,
        client_port=_numbers(known, "client_port", 65535),
        destination=known.get("destination") or known.get("client_address"),
        interleaved=_numbers(known, "interleaved", 255),
        server_port=_numbers(known, "server_port", 65535),
        source=known.get("source"),
        mode=known.get("mode"),
        ssrc=None if ssrc is None else int(ssrc, 16),
        raw=text,
    )


def _numbers(known: dict[str, str], name: str, largest: int) -> tuple[int, int] | None:
    value = known.get(name)
    if value is None:
        return None
    match = _PORTS.match(value)
    if match is None:
        raise WireError(f"{name}={value!r} is not a number or a pair of numbers")
    first = int(match[1])
    second = first if match[2] is None else int(match[2])
    if max(first, second) > largest:
        raise WireError(f"{name}={value!r} is above {largest}")
    return first, second


def _pair(numbers: tuple[int, int]) -> str:
    return str(numbers[0]) if numbers[0] == numbers[1] else f"{numbers[0]}-{numbers[1]}"


def _split(value: str, mark: str) -> list[str]:
    """Split at the mark outside quotation marks; empty pieces are dropped."""
    pieces, quoted, begin = [], False, 0
    for index, letter in enumerate(value):
        if letter == '"':
            quoted = not quoted
        elif letter == mark and not quoted:
            pieces.append(value[begin:index])
            begin = index + 1
    pieces.append(value[begin:])
    return [piece.strip() for piece in pieces if piece.strip()]
