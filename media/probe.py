"""A look at a media file before anything is done with it: streams, times, keyframes, and what stands in the way.

The whole file is demultiplexed once (no decoding), and a few pictures are decoded for facts that only pictures tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import av
import av.error

CONTAINERS = (
    "mov,matroska,webm,mpegts,mpegtsraw,mpeg,avi,flv,live_flv,asf,mp3,aac,ac3,eac3,wav,ogg,flac,amr,amrnb,amrwb,"
    "mpegvideo,mpegvideo,h264,hevc,m4v,mxf,dv,rm,vob,aiff,w64,caf,dts,dtshd,truehd,ape,wv,tta,swf,nut,ivf,obu,au,vc1,"
    "vc1test,loas,h263,h261,gxf,mlv,nsv,nuv,smk,vvc"
)
"""Containers that hold media themselves. Play lists, scripts and picture sequences would open other files."""
OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
PACKETS_MAX_COUNT = 20_000_000
JUMP_BACK_S, JUMP_FORWARD_S = 1.0, 30.0
"""A step of a track's clock beyond these counts for nothing in its length."""
LOOK_PICTURES = 48
HEAD_MAX_BYTES = 4 * 1024 * 1024
BOXES_MAX_COUNT = 1_000_000
_FIRST_BOXES = (b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide")


class Unreadable(ValueError):
    """No library here can read the file as media."""


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """The picture track, as stored."""

    index: int
    codec: str
    profile: str
    level: int
    pixel_format: str
    width: int
    height: int
    sample_aspect: Fraction
    rotation: int
    """Degrees counter-clockwise by which a player must turn the picture."""
    interlaced: bool
    rate: Fraction
    """Pictures a second: the commonest step between pictures."""
    constant: bool
    """Every step is that one, within a tenth of it."""
    packets: int
    start_s: float
    """The first time of the file's first clock."""
    end_s: float
    length_s: float
    """Without the jumps of the clock."""
    keyframe_gap_s: float
    starts_with_keyframe: bool
    dts_in_order: bool
    trimmed: bool
    """An edit list hides pictures that the track holds."""
    nal_length_bytes: int
    """Size of the length before each H.264 NAL unit: 1, 2 or 4; 0 when the track has start codes or other coding."""
    peak_bps: int
    """Bits of the fullest whole second."""
    decodable: bool


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """The sound track."""

    index: int
    codec: str
    profile: str
    sample_rate: int
    channels: int
    start_s: float
    end_s: float
    length_s: float
    """Without the jumps of the clock."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a file holds."""

    container: str
    brand: str
    video: VideoFacts | None
    audio: AudioFacts | None
    unknown_tracks: int
    """Picture or sound tracks that hold data but do not say how they are coded."""
    encrypted: bool
    size_bytes: int
    missing_bytes: int = 0
    """How far the boxes of an MP4 reach beyond the end of the file: what a broken-off copy lost."""


@dataclass(slots=True)
class _Track:
    """Packets of one stream."""

    pts: list[float]
    keys: list[float]
    rate: Counter[int]
    first_key: bool = False
    last_dts: float = float("-inf")
    ordered: bool = True
    trimmed: bool = False
    packets: int = 0
    end_s: float = 0.0
    at_s: float | None = None
    """When the newest packet is decoded, by the file's clock."""
    jumped_s: float = 0.0
    """All jumps of that clock."""
    first_s: float = 0.0
    last_s: float = 0.0


def open_media(path: Path) -> Any:
    """Open a file for reading by libav, and nothing but this file.

    Raises:
        Unreadable: see the class.
    """
    try:
        return av.open(f"file:{path}", options=OPEN_OPTIONS, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise Unreadable(str(error)) from error


def probe(path: Path) -> Probe:
    """Look at a file.

    Raises:
        Unreadable: no container that is read here, or nothing in it.
        OSError: the file cannot be opened at all.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_MAX_BYTES)
    encrypted = head[4:8] in (b"ftyp", b"styp", b"moov") and (b"encv" in head or b"enca" in head)
    if encrypted:
        return Probe("mov", "", None, None, 0, True, path.stat().st_size)
    with open_media(path) as source:
        known = [s for s in source.streams if s.type in ("video", "audio") and s.codec_context is not None]
        blank = [s for s in source.streams if s.type in ("video", "audio") and s.codec_context is None]
        pictures = [s for s in known if s.type == "video" and not _is_cover(s)]
        sounds = [s for s in known if s.type == "audio"]
        tracks = _survey(source, [*pictures, *sounds, *blank])
        picture = _best(pictures, tracks)
        sound = _best([s for s in sounds if s.codec_context.sample_rate], tracks)
        return Probe(
            container=source.format.name,
            brand=source.metadata.get("major_brand", "").strip(),
            video=_video(path, picture, tracks[picture.index]) if picture is not None else None,
            audio=_audio(sound, tracks[sound.index]) if sound is not None else None,
            unknown_tracks=sum(bool(tracks[s.index].packets) for s in blank),
            encrypted=False,
            size_bytes=path.stat().st_size,
            missing_bytes=missing_bytes(path),
        )


def missing_bytes(path: Path) -> int:
    """Return how far the top-level boxes of an MP4 reach beyond the end of the file; 0 for anything else.

    Boxes: ISO/IEC 14496-12 section 4.2.
    """
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        for _ in range(BOXES_MAX_COUNT):
            head = file.read(16)
            if at == 0 and head[4:8] not in _FIRST_BOXES:
                return 0
            if len(head) < 8:
                return 0
            length = int.from_bytes(head[:4], "big")
            if length == 1 and len(head) == 16:
                length = int.from_bytes(head[8:], "big")
            if length < 8:  # 0 says: to the end of the file; others are no boxes any more
                return 0
            at += length
            if at >= size:
                return at - size
            file.seek(at)
    return 0


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _best(streams: Sequence[Any], tracks: dict[int, _Track]) -> Any | None:
    """Take the track with the most packets among those that are not empty; the first of equals."""
    held = [s for s in streams if tracks[s.index].packets]
    return max(held, key=lambda s: (tracks[s.index].packets, -s.index), default=None)


def _survey(source: Any, streams: list[Any]) -> dict[int, _Track]:
    tracks = {s.index: _Track([], [], Counter()) for s in streams}
    count = 0
    try:
        for packet in source.demux(streams) if streams else ():
            count += 1
            if packet.size == 0 or count > PACKETS_MAX_COUNT:
                continue
            _note(tracks[packet.stream.index], packet)
    except av.error.FFmpegError:
        if not any(track.packets for track in tracks.values()):
            raise Unreadable("the file ends before its first picture or sound") from None
    return tracks


def _note(track: _Track, packet: Any) -> None:
    base = packet.time_base
    if not track.packets:
        track.first_key = packet.is_keyframe
    track.packets += 1
    if packet.dts is not None:
        dts = float(packet.dts * base)
        track.ordered &= dts > track.last_dts
        track.last_dts = dts
    stamp = packet.pts if packet.pts is not None else packet.dts
    track.trimmed |= packet.is_discard
    if stamp is None or packet.is_discard:
        return
    time_s = float(stamp * base)
    track.pts.append(time_s)
    track.rate[int(time_s)] += packet.size * 8
    lasts_s = float((packet.duration or 0) * base)
    track.end_s = max(track.end_s, time_s + lasts_s)
    now_s = track.last_dts if packet.dts is not None else time_s
    if track.at_s is None:
        track.first_s = track.last_s = time_s
    elif not -JUMP_BACK_S < now_s - track.at_s < JUMP_FORWARD_S:
        track.jumped_s += now_s - track.at_s
    track.at_s = now_s
    track.first_s = min(track.first_s, time_s - track.jumped_s)
    track.last_s = max(track.last_s, time_s - track.jumped_s + lasts_s)
    if packet.is_keyframe:
        track.keys.append(time_s)


def _video(path: Path, stream: Any, track: _Track) -> VideoFacts:
    context = stream.codec_context
    looked = _look(path, stream.index)
    steps = [b - a for a, b in pairwise(looked.times)] or [b - a for a, b in pairwise(sorted(track.pts))]
    steps = [step for step in steps if step > 0]
    step = _common(steps)
    rate = nearest_rate(1 / step) if step > 0 else Fraction(stream.average_rate or 25)
    packet_steps = [b - a for a, b in pairwise(sorted(track.pts))]
    # Matroska and FLV count whole milliseconds: 30 a second is stored as steps of 33, 33 and 34.
    constant = bool(packet_steps) and all(abs(each - step) <= 0.1 * step + 0.0011 for each in packet_steps)
    keys = sorted(track.keys)
    last = max(track.pts, default=0.0)
    return VideoFacts(
        index=stream.index,
        codec=context.name,
        profile=str(context.profile or ""),
        level=_level(context),
        pixel_format=context.pix_fmt or "",
        width=context.width,
        height=context.height,
        sample_aspect=Fraction(stream.sample_aspect_ratio or 1),
        rotation=looked.rotation,
        interlaced=looked.interlaced,
        rate=rate,
        constant=constant,
        packets=track.packets,
        start_s=track.first_s,
        end_s=max(track.end_s, last + (step or 0.04)),
        length_s=track.last_s - track.first_s,
        keyframe_gap_s=max((b - a for a, b in pairwise([*keys, last])), default=0.0),
        starts_with_keyframe=track.first_key,
        dts_in_order=track.ordered,
        trimmed=track.trimmed,
        nal_length_bytes=_nal_length(context),
        peak_bps=max(track.rate.values(), default=0),
        decodable=looked.decoded > 0,
    )


def _common(steps: list[float]) -> float:
    """Return the commonest step: the mean of those near the median, so that rounding in the file averages out."""
    if not steps:
        return 0.0
    middle = median(steps)
    near = [step for step in steps if abs(step - middle) <= 0.1 * middle + 0.0011]
    return sum(near) / len(near)


def _level(context: Any) -> int:
    data = context.extradata or b""
    if context.name == "h264" and len(data) > 4:
        return int(data[3]) if data[0] == 1 else _annexb_level(data)
    return 0


def _nal_length(context: Any) -> int:
    data = context.extradata or b""
    return (data[4] & 3) + 1 if context.name == "h264" and len(data) > 4 and data[0] == 1 else 0


def _annexb_level(data: bytes) -> int:
    """Find level_idc of the first SPS of an Annex B header."""
    at = data.find(b"\x00\x00\x01\x67")
    if at < 0:
        at = data.find(b"\x00\x00\x01\x27")
    return data[at + 6] if 0 <= at < len(data) - 6 else 0


@dataclass(slots=True)
class _Looked:
    times: list[float]
    decoded: int = 0
    rotation: int = 0
    interlaced: bool = False


def _look(path: Path, index: int) -> _Looked:
    """Decode the first pictures."""
    found = _Looked([])
    with open_media(path) as source:
        stream = source.streams[index]
        try:
            for packets, packet in enumerate(source.demux(stream)):
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    frames = []
                for frame in frames:
                    found.decoded += 1
                    found.rotation = frame.rotation or found.rotation
                    found.interlaced |= frame.interlaced_frame
                    if frame.time is not None:
                        found.times.append(frame.time)
                if found.decoded >= LOOK_PICTURES or packets > 20 * LOOK_PICTURES:
                    break
        except av.error.FFmpegError:
            pass
    found.times.sort()
    return found


def nearest_rate(rate: float) -> Fraction:
    """Return the customary picture rate within 0.5 %, else a simple fraction."""
    for each in (Fraction(n) for n in (5, 10, 12, 15, 20, 24, 25, 30, 48, 50, 60)):
        for candidate in (each, each * Fraction(1000, 1001)):
            if abs(rate - float(candidate)) <= 0.0008 * rate:
                return candidate
    for each in (Fraction(n) for n in (5, 10, 12, 15, 20, 24, 25, 30, 48, 50, 60)):
        if abs(rate - each) <= 0.005 * rate:
            return each
    return Fraction(rate).limit_denominator(1001)


def _audio(stream: Any, track: _Track) -> AudioFacts:
    context = stream.codec_context
    return AudioFacts(
        index=stream.index,
        codec=context.name,
        profile=str(context.profile or ""),
        sample_rate=context.sample_rate,
        channels=context.layout.nb_channels,
        start_s=track.first_s,
        end_s=track.end_s,
        length_s=track.last_s - track.first_s,
    )
