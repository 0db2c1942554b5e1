"""Copies the picture stream of a source into an MP4 for new boxes; sound is encoded anew, to begin at 0 too."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error

from central_platform.ingest.lanes import SoundLane
from central_platform.ingest.targets import AUDIO_BPS, AUDIO_HZ, MP4_OPTIONS
from media.probe import Probe, open_media


def remux(path: Path, probe: Probe, out_file: Path) -> None:
    """Write a faststart MP4 whose picture and sound begin at 0; a source without sound gets a silent track.

    Raises:
        av.error.FFmpegError: the streams cannot be copied after all.
    """
    if probe.video is None:
        raise ValueError("nothing to copy: the source has no picture")
    zero = probe.video.start_s
    with (
        open_media(path) as source,
        av.open(str(out_file), "w", format="mp4", options=MP4_OPTIONS) as out,
    ):
        picture: Any = source.streams[probe.video.index]
        sound: Any = source.streams[probe.audio.index] if probe.audio else None
        copy = out.add_stream_from_template(picture)
        copy.metadata.clear()
        encoder: Any = out.add_stream("aac", rate=AUDIO_HZ, layout="stereo")
        encoder.bit_rate = AUDIO_BPS
        lane = SoundLane(lambda block: out.mux(encoder.encode(block)))
        end_s = 0.0
        for packet in source.demux([stream for stream in (picture, sound) if stream is not None]):
            if packet.stream.index != picture.index:
                _encode(packet, lane, zero)
            elif packet.size and packet.dts is not None and packet.pts is not None:
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base) - zero)
                _copy(packet, copy, zero, out)
                if sound is None:
                    lane.keep_up(end_s)
        lane.finish(end_s)
        out.mux(encoder.encode(None))


def _copy(packet: Any, target: Any, zero: float, out: Any) -> None:
    shift = round(Fraction(zero) / packet.time_base)
    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
    packet.stream = target
    out.mux(packet)


def _encode(packet: Any, lane: SoundLane, zero: float) -> None:
    try:
        frames = packet.decode()
    except av.error.FFmpegError:
        return
    for frame in frames:
        lane.take(frame, lane.samples / AUDIO_HZ if frame.time is None else frame.time - zero)
