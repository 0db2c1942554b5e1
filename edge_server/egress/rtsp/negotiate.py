"""Which transport of the client's list we take (reference/stb_protocols §4.4). Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from wire.rtsp import Transport

_SUPPORTED = {
    "MP2T/RTP/UDP": (True, False),
    "MP2T/UDP": (False, False),
    "MP2T/TCP": (False, True),
    "MP2T/RTP/TCP": (True, True),
    "RTP/AVP": (True, False),
    "RTP/AVP/UDP": (True, False),
    "RTP/AVP/TCP": (True, True),
}
"""Profile in capitals -> (RTP header before the transport packets, interleaved in the RTSP connection)."""


@dataclass(frozen=True, slots=True)
class Link:
    """How one session's media travels."""

    profile: str
    """As the client wrote it."""
    rtp: bool
    client_port: tuple[int, int] | None
    """UDP: data and control port of the peer; the same twice when it named only one (then no RTCP is sent)."""
    channels: tuple[int, int] | None
    """Interleaved: data and control channel."""


def choose(offers: Collection[Transport], taken: Collection[int], *, intolerant: Collection[str] = ()) -> Link | None:
    """Return the first offer that we can serve, or None (461).

    ``taken`` are the channels of the connection's other sessions; when an offered channel is among them, or none is
    offered, the next free pair is given. With D9 among ``intolerant`` our own order counts, not the client's.
    """
    for offer in sorted(offers, key=_own_place) if "D9" in intolerant else offers:
        kind = _SUPPORTED.get(offer.profile.upper())
        if kind is None or not offer.unicast:
            continue
        rtp, interleaved = kind
        if interleaved:
            channels = _channels(offer.interleaved, taken)
            if channels is not None:
                return Link(offer.profile, rtp, None, channels)
        elif offer.client_port is not None and min(offer.client_port) > 0:
            return Link(offer.profile, rtp, offer.client_port, None)
    return None


def _own_place(offer: Transport) -> int:
    profile = offer.profile.upper()
    return list(_SUPPORTED).index(profile) if profile in _SUPPORTED else len(_SUPPORTED)


def _channels(wanted: tuple[int, int] | None, taken: Collection[int]) -> tuple[int, int] | None:
    if wanted is not None and not set(wanted) & set(taken):
        return wanted
    return next(((low, low + 1) for low in range(0, 256, 2) if low not in taken and low + 1 not in taken), None)


def answer(link: Link, *, source: str, server_port: tuple[int, int] | None, ssrc: int) -> Transport:
    """Return the one transport of our answer. The peer's address is never repeated: we send to no other."""
    return Transport(
        profile=link.profile,
        client_port=link.client_port,
        interleaved=link.channels,
        server_port=server_port,
        source=source,
        ssrc=ssrc if link.rtp else None,
    )
