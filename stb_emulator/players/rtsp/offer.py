"""What a box offers and understands: the Transport list, and which media of an SDP it plays. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stb_emulator.observe import PlayError, Stage
from stb_emulator.players.rtsp.h264 import parameter_sets
from wire.rtsp import NptRange, Transport, WireError, parse_range
from wire.sdp import MediaDescription, Session

_MP2T = 33


@dataclass(frozen=True, slots=True)
class Media:
    """The one media stream that is played."""

    control: str
    payload_type: int
    kind: str
    """``mpegts`` or ``h264``."""
    parameter_sets: bytes
    duration_s: float | None


def choose_media(session: Session) -> Media:
    """Pick the first video that is MPEG-TS or H.264.

    Raises:
        PlayError: at stage describe, when there is none.
    """
    for media in session.media:
        found = _kind(media)
        if found is not None:
            payload_type, kind, sets = found
            control = media.control or session.control or ""
            return Media(control, payload_type, kind, sets, _duration(session))
    raise PlayError(Stage.DESCRIBE, "描述中没有盒子能放的视频", "no video in the SDP that this box plays")


def _kind(media: MediaDescription) -> tuple[int, str, bytes] | None:
    if media.kind != "video":
        return None
    maps = {v.partition(" ")[0]: v.partition(" ")[2].upper() for n, v in media.attributes if n == "rtpmap" and v}
    fmtps = {v.partition(" ")[0]: v for n, v in media.attributes if n == "fmtp" and v}
    for format_ in media.formats:
        codec = maps.get(format_, "")
        if format_ == str(_MP2T) or codec.startswith("MP2T/") or media.profile.upper().startswith("MP2T"):
            return (int(format_) if format_.isdecimal() and len(format_) <= 3 else _MP2T), "mpegts", b""
        if codec.startswith("H264/") and format_.isdecimal() and len(format_) <= 3:
            return int(format_), "h264", parameter_sets(fmtps.get(format_, ""))
    return None


def _duration(session: Session) -> float | None:
    """Length of ``a=range:npt=a-b``; None when it is not stated or endless."""
    try:
        window = parse_range(session.range or "")
    except WireError:
        return None
    if isinstance(window, NptRange) and isinstance(window.end, float):
        return window.end - (window.start if isinstance(window.start, float) else 0.0)
    return None


def lines(profiles: Sequence[str], ports: tuple[int, int], address: str, address_word: str) -> str:
    """Write the Transport list in the box's order (stb_protocols §4.4)."""
    return ",".join(_line(p, ports, address, address_word) for p in profiles)


def _line(profile: str, ports: tuple[int, int], address: str, address_word: str) -> str:
    if profile.endswith("TCP"):
        return f"{profile};unicast;interleaved=0-1"
    where = f"{address_word}={address};" if profile.startswith("MP2T") else ""
    mode = ";mode=PLAY" if address_word == "client_address" and where else ""
    return f"{profile};unicast;{where}client_port={ports[0]}-{ports[1]}{mode}"


def match_profile(answer: Transport, offered: Sequence[str]) -> str | None:
    """Find the offered profile that the answer echoes letter by letter; ``RTP/AVP`` may gain its default ``/UDP``."""
    for profile in offered:
        if answer.profile == profile or (profile == "RTP/AVP" and answer.profile == "RTP/AVP/UDP"):
            return profile
    return None
