"""The habits of a box that a server may change: by a banner that the box knows, or by what it answers. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from stb_emulator.boxes import RtspFace
from stb_emulator.boxes.rtsp import Dialect, KeepAlive, Nat, PunchKind


@dataclass(slots=True)
class Habits:
    """What holds for one session."""

    nat: Nat
    punch: PunchKind
    keep_alive: KeepAlive
    keep_alive_s: float
    keep_alive_bare: tuple[str, ...]

    def obey(self, rules: Dialect | None) -> None:
        """A banner that the box knows overrules its own habits (stb_protocols §4.1)."""
        match rules:
            case "huawei":
                self.nat, self.punch, self.keep_alive = "x-NAT_Address", "huawei", "SET_PARAMETER"
            case "zte":
                self.punch, self.keep_alive = "zte", "GET_PARAMETER"
                self.keep_alive_bare = ("x-Timeshift_Range",)
            case "plain":
                self.nat, self.punch = "none", "none"
            case None:
                pass

    def settle(self, profile: str) -> None:
        """A sign of life that the agreed transport cannot carry becomes a GET_PARAMETER."""
        is_rtp, is_udp = "RTP" in profile, not profile.endswith("TCP")
        if (self.keep_alive == "rtcp" and not is_rtp) or (self.keep_alive == "punch" and not is_udp):
            self.keep_alive = "GET_PARAMETER"


def habits_of(face: RtspFace) -> Habits:
    """The box's own habits."""
    return Habits(face.nat, face.punch, face.keep_alive, face.keep_alive_s, face.keep_alive_bare)
