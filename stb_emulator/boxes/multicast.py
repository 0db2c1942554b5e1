"""How a box receives groups, as data (stb_protocols §4.11; disagreement D8)."""

from __future__ import annotations

from typing import Literal

from stb_emulator.boxes.parts import Strict


class MulticastFace(Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[multicast]`` table of a box file."""

    interface: str = "127.0.0.1"
    """IPv4 address of the interface on which groups are joined; one that is not loopback must be allowed."""
    source: str = ""
    """Sender that is asked for by name (IGMPv3, source-specific); empty: any sender."""
    fcc: Literal["", "telecom", "huawei"] = ""
    """Messages of fast channel change; empty: the box joins at once, whatever the channel list offers."""
    fcc_answer_s: float = 0.08
    """How long the box waits for an answer before it joins without a burst."""
    fec: bool = False
    """Whether the box mends losses with the parity packets of the channel."""
