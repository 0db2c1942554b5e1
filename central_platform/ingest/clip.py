"""One pass over a source: decoded pictures and sound with times from 0; damage is counted, not hidden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error

from media.probe import Probe, open_media

JUMP_FORWARD_S = 30.0
JUMP_BACK_S = 1.0
"""Beyond these a step in time is an error of the file (a splice, a wrap); time then goes on without a step."""
SOUND_LEAD_S = 0.5
"""When sound begins this much before the picture, the first picture is held; a smaller lead is cut."""


@dataclass(slots=True)
class Health:
    """What decoding met."""

    pictures: int = 0
    picture_packets: int = 0
    picture_errors: int = 0
    sounds: int = 0
    sound_errors: int = 0
    splices: int = 0


class _Line:
    """Time of one track, from 0, without jumps."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self.zero: float | None = None
        self._shift = 0.0
        self.next_s = 0.0

    def at(self, raw_s: float | None, length_s: float) -> float:
        """Return when a frame begins; ``zero`` must be set."""
        zero = self.zero or 0.0
        time_s = self.next_s if raw_s is None else raw_s - zero - self._shift
        if raw_s is not None and self.next_s and not -JUMP_BACK_S < time_s - self.next_s < JUMP_FORWARD_S:
            self._health.splices += 1
            self._shift += time_s - self.next_s
            time_s = self.next_s
        self.next_s = max(self.next_s, time_s + length_s)
        return time_s


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
    health = Health()
    with open_media(path) as source:
        picture = source.streams[probe.video.index] if probe.video else None
        sound = source.streams[probe.audio.index] if probe.audio else None
        for stream in (picture, sound):
            if stream is not None:
                stream.thread_type, stream.codec_context.thread_count = "AUTO", 2
        player = _Player(probe, health, on_picture, on_sound)
        packets = source.demux([stream for stream in (picture, sound) if stream is not None])
        done, size = 0, max(1, probe.size_bytes)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.error.EOFError):
                break
            except av.error.FFmpegError:
                health.picture_errors += 1
                break
            done += packet.size
            player.take(packet)
            on_progress(min(1.0, done / size))
        player.finish()
    return health


class _Player:
    """Decodes packets and keeps the two lines of time."""

    def __init__(
        self,
        probe: Probe,
        health: Health,
        on_picture: Callable[[av.VideoFrame, float], None],
        on_sound: Callable[[av.AudioFrame, float], None],
    ) -> None:
        self._health, self._on_picture, self._on_sound = health, on_picture, on_sound
        self._pictures, self._sounds = _Line(health), _Line(health)
        self._early: list[av.AudioFrame] = []
        video, audio = probe.video, probe.audio
        self._step_s = float(1 / video.rate) if video else 0.04
        if audio and (video is None or audio.start_s < video.start_s - SOUND_LEAD_S):
            self._begin(audio.start_s)

    def take(self, packet: Any) -> None:
        kind = packet.stream.type
        health = self._health
        if kind == "video" and packet.size:
            health.picture_packets += 1
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            if kind == "video":
                health.picture_errors += 1
            else:
                health.sound_errors += 1
            return
        for frame in frames:
            if kind == "video":
                self._picture(frame)
            else:
                self._sound(frame)

    def finish(self) -> None:
        if self._pictures.zero is None:  # no picture ever came
            for frame in self._early:
                self._begin(frame.time or 0.0)
                break
        self._release()

    def _begin(self, zero: float) -> None:
        if self._pictures.zero is None:
            self._pictures.zero = self._sounds.zero = zero
            self._release()

    def _picture(self, frame: av.VideoFrame) -> None:
        self._health.pictures += 1
        self._begin(frame.time or 0.0)
        self._on_picture(frame, max(0.0, self._pictures.at(frame.time, self._step_s)))

    def _sound(self, frame: av.AudioFrame) -> None:
        self._health.sounds += 1
        if self._pictures.zero is None:
            self._early.append(frame)
            del self._early[:-EARLY_MAX_FRAMES]
            return
        self._on_sound(frame, self._sounds.at(frame.time, frame.samples / frame.sample_rate))

    def _release(self) -> None:
        early, self._early = self._early, []
        for frame in early:
            self._sound_now(frame)

    def _sound_now(self, frame: av.AudioFrame) -> None:
        self._on_sound(frame, self._sounds.at(frame.time, frame.samples / frame.sample_rate))


EARLY_MAX_FRAMES = 2000
"""Decoded sound held back while no picture has come; about 40 s of AAC."""
