"""One pass over a source: decoded pictures and sound with times from 0; damage is counted, not hidden."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from central_platform.ingest.targets import SOUND_LEAD_S
from central_platform.ingest.timeline import Timeline
from media.probe import Probe, open_media

EARLY_MAX_FRAMES = 2000
"""Decoded sound held back while no picture has come; about 40 s of AAC."""
THREADS = 2


@dataclass(slots=True)
class Health:
    """What decoding met."""

    pictures: int = 0
    picture_packets: int = 0
    lead_lost: int = 0
    """Pictures before the first decodable one: a recording that starts in the middle of a group of pictures."""
    patched: int = 0
    """Pictures that the decoder marks as damaged."""
    lost: int = 0
    """Pictures later on that the file announces and no decoder shows."""
    sounds: int = 0
    sound_packets: int = 0
    sound_errors: int = 0
    splices: int = 0
    forms: set[tuple[int, int, str]] = field(default_factory=set)
    """Every (width, height, pixel format) that was met."""
    zero_s: float = 0.0
    """Time of the source at which the lesson begins."""
    cut_short: bool = False
    """Reading ended with an error, not with the end of the file."""


def play_through(
    path: Path,
    probe: Probe,
    *,
    on_picture: Callable[[av.VideoFrame, float], None],
    on_sound: Callable[[av.AudioFrame, float], None],
    on_progress: Callable[[float], None],
) -> Health:
    """Decode everything once, in the order of the file.

    Sound that comes before the first picture is held back until that picture says where 0 is.
    """
    with open_media(path) as source:
        picture = source.streams[probe.video.index] if probe.video else None
        sound = source.streams[probe.audio.index] if probe.audio else None
        wanted = [stream for stream in (picture, sound) if stream is not None]
        for stream in wanted:
            stream.thread_type, stream.codec_context.thread_count = "AUTO", THREADS
        player = _Player(probe, on_picture, on_sound)
        packets = source.demux(wanted)
        done, size = 0, max(1, probe.size_bytes)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.error.EOFError):
                break
            except av.error.FFmpegError:
                player.health.cut_short = True
                break
            done += packet.size
            player.take(packet)
            on_progress(min(1.0, done / size))
        player.finish()
    return player.health


class _Player:
    """Decodes packets and gives frames their time."""

    def __init__(
        self,
        probe: Probe,
        on_picture: Callable[[av.VideoFrame, float], None],
        on_sound: Callable[[av.AudioFrame, float], None],
    ) -> None:
        self.health = Health()
        self._on_picture, self._on_sound = on_picture, on_sound
        self._timeline = Timeline()
        self._early: list[av.AudioFrame] = []
        self._announced, self._shown = array("d"), array("d")
        video, audio = probe.video, probe.audio
        self._step_s = float(1 / video.rate) if video else 0.04
        if audio and (video is None or audio.start_s < video.start_s - SOUND_LEAD_S):
            self._timeline.begin(audio.start_s)

    def take(self, packet: Any) -> None:
        is_picture = packet.stream.type == "video"
        if packet.size and is_picture:
            self.health.picture_packets += 1
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None and not packet.is_discard:
                self._announced.append(float(stamp * packet.time_base))
        elif packet.size:
            self.health.sound_packets += 1
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            self.health.sound_errors += not is_picture  # lost pictures are found by their times
            return
        for frame in frames:
            if is_picture:
                self._picture(frame)
            else:
                self._sound(frame)

    def finish(self) -> None:
        if self._early and not self._timeline.begun:  # no picture ever came
            self._timeline.begin(self._early[0].time or 0.0)
        self._release()
        self.health.zero_s = self._timeline.zero_s
        self.health.lead_lost, self.health.lost = lost_pictures(self._announced, self._shown)

    def _picture(self, frame: av.VideoFrame) -> None:
        self.health.pictures += 1
        self.health.forms.add((frame.width, frame.height, frame.format.name))
        self.health.patched += frame.is_corrupt
        if frame.time is not None:
            self._shown.append(frame.time)
        if not self._timeline.begun:
            self._timeline.begin(frame.time or 0.0)
            self._release()
        time_s = self._timeline.at("picture", frame.time, self._step_s)
        self.health.splices = self._timeline.splices
        self._on_picture(frame, max(0.0, time_s))

    def _sound(self, frame: av.AudioFrame) -> None:
        self.health.sounds += 1
        if not self._timeline.begun:
            self._early.append(frame)
            del self._early[:-EARLY_MAX_FRAMES]
            return
        time_s = self._timeline.at("sound", frame.time, frame.samples / frame.sample_rate)
        self.health.splices = self._timeline.splices
        self._on_sound(frame, time_s)

    def _release(self) -> None:
        early, self._early = self._early, []
        self.health.sounds -= len(early)
        for frame in early:
            self._sound(frame)


def lost_pictures(announced: array[float], shown: array[float]) -> tuple[int, int]:
    """Count pictures that a file announces but no decoder shows: (before the first one shown, later).

    Both fields of an interlaced picture may be announced apart; the second then lies within three quarters of a step.
    """
    if not len(shown):
        return len(announced), 0
    wanted, seen = np.asarray(announced), np.unique(np.asarray(shown))
    step = float(np.median(np.diff(seen))) if len(seen) > 1 else 0.0
    places = np.clip(np.searchsorted(seen, wanted), 1, max(1, len(seen) - 1))
    near = np.minimum(np.abs(wanted - seen[places - 1]), np.abs(wanted - seen[np.minimum(places, len(seen) - 1)]))
    missing = near > max(0.75 * step, 0.002)
    lead = wanted < seen[0]
    return int(np.count_nonzero(missing & lead)), int(np.count_nonzero(missing & ~lead))
