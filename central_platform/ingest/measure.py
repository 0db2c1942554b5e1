"""Opens a finished MP4 again and measures what is really in it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

AUDIO_OBJECT_TYPES = {"LC": 2, "HE-AAC": 5, "HE-AACv2": 29}


SOUND_START_MAX_S = 0.03
"""The first block that is heard may belong to the encoder's priming: one block of AAC."""


class WrongOutput(RuntimeError):
    """A file we made breaks its own rules: a fault of this program, not of the source."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Facts of one finished file."""

    duration_s: float
    width: int
    height: int
    frames: int
    frame_rate: float
    video_codec: str
    audio_codec: str | None
    peak_bps: int
    average_bps: int


def measure(file: Path) -> Measured:
    """Measure one finished file.

    Raises:
        WrongOutput: no picture, time not growing, or not beginning at 0.
    """
    times: dict[str, list[float]] = {"video": [], "audio": []}
    sizes: list[tuple[float, int]] = []
    end_s = 0.0
    with av.open(f"file:{file}") as source:
        video: Any = source.streams.video[0] if source.streams.video else None
        audio: Any = source.streams.audio[0] if source.streams.audio else None
        if video is None:
            raise WrongOutput("no picture track")
        for packet in source.demux([stream for stream in (video, audio) if stream is not None]):
            if packet.pts is None or not packet.size:
                continue
            time_s = float(packet.pts * packet.time_base)
            sizes.append(
                (float((packet.pts if packet.dts is None else packet.dts) * packet.time_base), 8 * packet.size)
            )
            if packet.is_discard:
                continue
            times[packet.stream.type].append(time_s)
            if packet.stream.type == "video":
                end_s = max(end_s, time_s + float((packet.duration or 0) * packet.time_base))
        data = video.codec_context.extradata or b""
        profile = audio.codec_context.profile if audio is not None else None
        width, height, rate = video.codec_context.width, video.codec_context.height, video.average_rate
    pictures = sorted(times["video"])
    if not pictures or any(b <= a for a, b in pairwise(pictures)) or abs(pictures[0]) > 0.001:
        raise WrongOutput(f"{len(pictures)} pictures from {pictures[0] if pictures else None} s")
    sounds = sorted(times["audio"])
    if sounds and abs(sounds[0]) > SOUND_START_MAX_S:
        raise WrongOutput(f"sound begins at {sounds[0]} s")
    if len(data) < 4 or data[0] != 1:
        raise WrongOutput("no avcC header")
    return Measured(
        duration_s=round(end_s, 6),
        width=width,
        height=height,
        frames=len(pictures),
        frame_rate=round(float(rate or len(pictures) / end_s), 3),
        video_codec=f"avc1.{data[1]:02X}{data[2]:02X}{data[3]:02X}",
        audio_codec=f"mp4a.40.{AUDIO_OBJECT_TYPES.get(str(profile), 2)}" if audio is not None else None,
        peak_bps=peak_bps(sizes),
        average_bps=round(sum(bits for _, bits in sizes) / max(end_s, 0.001)),
    )


def peak_bps(sizes: list[tuple[float, int]]) -> int:
    """Return the largest sum of bits in any second: windows begin at every (decoding time, bits)."""
    ordered = sorted(sizes)
    most = held = first = 0
    for time_s, bits in ordered:
        held += bits
        while ordered[first][0] <= time_s - 1.0:
            held -= ordered[first][1]
            first += 1
        most = max(most, held)
    return most
