"""How a box speaks RTSP, as data (stb_protocols §4; disagreements D9 to D18)."""

from __future__ import annotations

from typing import Literal

import msgspec

from stb_emulator.boxes.parts import Strict

TRANSPORT_ORDERS: tuple[tuple[str, ...], ...] = (
    ("MP2T/TCP", "MP2T/RTP/TCP", "MP2T/RTP/UDP", "MP2T/UDP"),
    ("MP2T/UDP", "MP2T/RTP/UDP", "MP2T/TCP", "MP2T/RTP/TCP"),
    ("MP2T/RTP/TCP", "MP2T/TCP", "MP2T/RTP/UDP", "MP2T/UDP"),
    ("MP2T/RTP/UDP", "MP2T/UDP", "MP2T/TCP", "MP2T/RTP/TCP"),
)
"""The four orders in which boxes offer RTSP transports, by the number in their settings menu."""

Dialect = Literal["plain", "huawei", "zte"]
"""The rules that a server's banner calls up (stb_protocols §4.1)."""
Nat = Literal["none", "x-NAT", "x-NAT_Address"]
PunchKind = Literal["none", "zte", "huawei"]
KeepAlive = Literal["GET_PARAMETER", "SET_PARAMETER", "OPTIONS", "punch", "rtcp"]


class RtspFace(Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[rtsp]`` table of a box file."""

    user_agent: str
    transport_order: Literal[0, 1, 2, 3]
    only_transport: str = ""
    """A box set to one profile offers nothing else."""
    extra_transports: tuple[str, ...] = ()
    """Offered after the four of the order."""
    retry_extra: bool = False
    """After a 461, ask once more with ``extra_transports`` alone."""
    client_address: Literal["destination", "client_address"] = "destination"
    """How the box writes its own address into a UDP alternative."""
    options_first: bool = False
    """Most boxes skip OPTIONS."""
    bare_headers: tuple[str, ...] = ()
    """Header names without a colon, sent on DESCRIBE (D10)."""
    describe_headers: dict[str, str] = msgspec.field(default_factory=dict)
    """Further headers of DESCRIBE."""
    sniff: bool = True
    """Whether a banner that the box knows overrules ``nat``, ``punch`` and ``keep_alive`` (D17)."""
    nat: Nat = "none"
    """Header in which the box tells its own address and port: ZTE's on DESCRIBE and SETUP, Huawei's on SETUP."""
    punch: PunchKind = "none"
    """Packet to the server's data port that opens a NAT: 84 or 8 bytes (D16)."""
    punch_every_s: float = 30.0
    keep_alive: KeepAlive
    keep_alive_s: float
    keep_alive_bare: tuple[str, ...] = ()
    """Header names without a colon, sent with each keep-alive."""
    play_range: bool = True
    """Whether the first PLAY has Range and Scale; a live one may carry the session only."""
    seek_style: Literal["npt", "npt-millis", "clock", "playseek"] = "npt"
    """How the box asks for another place (D11): three spellings of Range, or a new session with a query."""
    time_style: Literal["14", "14-gmt", "iso", "iso-compact", "unix"] = "14"
    """How the box spells a moment in a query (D12)."""
    time_query: Literal["playseek", "Playseek", "tvdr"] = "playseek"
    time_zone_min: int = 0
    """Minutes east of UTC in which the box spells 14 digits (D12): 0 or 480."""
    scales: tuple[int, ...] = ()
    """Speeds on the remote control, e.g. 2, -2; empty: no such key."""
    frame_max_bytes: int = 1499
    """Largest interleaved frame (D13)."""
    frame_multiple: int = 4
    """The length of an interleaved frame must be a multiple of it (D13)."""
    max_redirects: int
    reply_s: float = 10.0
    """Longest wait for an answer."""
    teardown_s: float = 2.0
    """Longest wait for the answer to TEARDOWN."""

    @property
    def transports(self) -> tuple[str, ...]:
        """Profiles in the order offered in SETUP."""
        own = (self.only_transport,) if self.only_transport else TRANSPORT_ORDERS[self.transport_order]
        return own + self.extra_transports
