"""From a setting to live channels: name, where they come from, group. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

LIVES_MAX_COUNT = 8
"""Each may have a process of its own."""
FIRST_ID = 910001
WHIP = "whip"
SCHEMES = ("rtsp", "rtmp", "srt", "file")
MODES = ("caller", "listener")

_CHANNEL = re.compile(
    r"(?:(?P<id>[0-9]{1,12}) )?(?P<name>[^=;@]{1,64})=(?P<source>\S+?)"
    r"(?:@@(?P<rtp>rtp:)?(?P<group>[0-9.]+):(?P<port>[0-9]{1,5}))?\Z"
)


@dataclass(frozen=True, slots=True)
class LivePlan:
    """One live channel as the setting names it."""

    channel_id: str
    name: str
    source: str
    """``whip``, or a URL."""
    address: str = ""
    """Of the multicast group; empty for none."""
    port: int = 0
    rtp: bool = False

    @property
    def multicast(self) -> str:
        """``239.1.1.1:5000``; empty for none."""
        return f"{self.address}:{self.port}" if self.address else ""


def parse_lives(text: str) -> tuple[LivePlan, ...]:
    """Read ``开学典礼=whip; 村官讲座=rtsp://10.0.0.9/main@@239.1.1.9:5000; 910007 早会=srt://0.0.0.0:9000?mode=listener``.

    ``@@`` stands before the group, since ``@`` is in addresses that have a password. RTP ports are even (RFC 3550 §11).

    Raises:
        ValueError: the words say what is wrong with which channel.
    """
    plans = [_channel(word) for word in filter(None, (each.strip() for each in text.split(";")))]
    if len(plans) > LIVES_MAX_COUNT:
        raise ValueError(f"{len(plans)} live channels; at most {LIVES_MAX_COUNT}")
    named = tuple(
        plan if plan.channel_id else LivePlan(str(FIRST_ID + place), *_rest(plan)) for place, plan in enumerate(plans)
    )
    _once((each.channel_id for each in named), "id")
    _once((each.name for each in named), "name")
    _once((each.multicast for each in named if each.multicast), "group")
    return named


def _rest(plan: LivePlan) -> tuple[str, str, str, int, bool]:
    return plan.name, plan.source, plan.address, plan.port, plan.rtp


def _once(values: Iterable[str], what: str) -> None:
    found = list(values)
    for each in found:
        if found.count(each) > 1:
            raise ValueError(f"two live channels have the {what} {each!r}")


def _channel(word: str) -> LivePlan:
    match = _CHANNEL.match(word)
    if match is None:
        raise ValueError(
            f"{word.split('=')[0]!r} is not like 开学典礼=whip or 村官讲座=rtsp://camera/main@@239.1.1.9:5000"
        )
    name, source = match["name"].strip(), match["source"]
    _check_source(name, source)
    address, port, rtp = match["group"] or "", int(match["port"] or 0), match["rtp"] is not None
    if address:
        try:
            multicast = ipaddress.IPv4Address(address).is_multicast
        except ValueError:
            multicast = False
        if not multicast:
            raise ValueError(f"{name!r}: {address} is no IPv4 multicast address")
        if not 0 < port < 65535 or (rtp and port % 2):
            raise ValueError(f"{name!r}: port {port}; write 1 to 65534, an even one for RTP")
    return LivePlan(match["id"] or "", name, source, address, port, rtp)


def _check_source(name: str, source: str) -> None:
    if source == WHIP:
        return
    try:
        url = urlsplit(source)
        port = url.port
    except ValueError as error:
        raise ValueError(f"{name!r}: {error}") from error
    if url.scheme not in SCHEMES:
        raise ValueError(f"{name!r}: write whip or an address that begins with {', '.join(f'{s}:' for s in SCHEMES)}")
    if url.scheme == "file":
        if not url.path.startswith("/") or url.netloc:
            raise ValueError(f"{name!r}: write file:/ and a whole path")
        return
    if not url.hostname or (url.scheme == "srt" and port is None):
        raise ValueError(f"{name!r}: the address lacks a host{' or a port' if url.scheme == 'srt' else ''}")
    for mode in parse_qs(url.query).get("mode", ()):
        if mode not in MODES or url.scheme == "rtsp":
            raise ValueError(f"{name!r}: mode={mode}; write caller or listener, with rtmp: and srt:")
