"""Copies the picture stream of a source into an MP4 for new boxes; sound is copied too when it is AAC-LC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import av.error

from central_platform.ingest.lanes import SoundLane
from central_platform.ingest.targets import AUDIO_BPS, AUDIO_HZ, can_copy_sound
from media.probe import Probe, open_media


def remux(path: Path, probe: Probe, out_file: Path) -> None:
    """Write a faststart MP4 whose picture begins at 0.

    Raises:
        av.error.FFmpegError: the streams cannot be copied after all.
    """
    if probe.video is None:
        raise ValueError("nothing to copy: the source has no picture")
    zero = probe.video.start_s
    with (
        open_media(path) as source,
        av.open(str(out_file), "w", format="mp4", options={"movflags": "+faststart"}) as out,
    ):
        picture: Any = source.streams[probe.video.index]
        sound: Any = source.streams[probe.audio.index] if probe.audio else None
        copies: dict[int, Any] = {picture.index: out.add_stream_from_template(picture)}
        lane: SoundLane | None = None
        encoder: Any = None
        if sound is not None and probe.audio is not None and can_copy_sound(probe.audio):
            copies[sound.index] = out.add_stream_from_template(sound)
        elif sound is not None:
            encoder = out.add_stream("aac", rate=AUDIO_HZ, layout="stereo")
            encoder.bit_rate = AUDIO_BPS
            lane = SoundLane(lambda block: out.mux(encoder.encode(block)))
        for packet in source.demux([stream for stream in (picture, sound) if stream is not None]):
            if packet.stream.index in copies:
                if packet.size and packet.dts is not None and packet.pts is not None:
                    _copy(packet, copies[packet.stream.index], zero, out, drop_early=packet.stream is not picture)
            elif lane is not None:
                _encode(packet, lane, zero)
        if lane is not None:
            lane.finish(probe.video.end_s - zero)
            out.mux(encoder.encode(None))


def _copy(packet: Any, target: Any, zero: float, out: Any, *, drop_early: bool) -> None:
    shift = round(zero / packet.time_base)
    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
    if drop_early and packet.pts + (packet.duration or 0) <= 0:
        return
    packet.stream = target
    out.mux(packet)


def _encode(packet: Any, lane: SoundLane, zero: float) -> None:
    try:
        frames = packet.decode()
    except av.error.FFmpegError:
        return
    for frame in frames:
        lane.take(frame, (frame.time or 0.0) - zero)
