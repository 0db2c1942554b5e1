"""The tracks of an MP4 as access units and sound PES on one 90 kHz clock: times and sizes, no media.

What the edit list hides is left out where nothing shown depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from media import Unmuxable
from media.mp4 import Mp4Index, Mp4Track
from media.mp4.model import with_priming
from media.ts_nal import NalCodec, h264, h265, look
from media.ts_pes import pes_head_bytes
from media.ts_sound import AacForm, SoundForm, aac, mpeg_audio
from wire.mpegts import PTS_HZ

Ints = NDArray[np.int64]

LOOK_SAMPLES: Final = 4096
"""Samples looked at before their pages are given back."""
SOUND_PES_TICKS: Final = PTS_HZ * 9 // 100
"""A sound PES holds as many whole frames as fit 90 ms."""
SOUND_PES_MAX_BYTES: Final = 16_384


@dataclass(frozen=True, eq=False, slots=True)
class Pictures:
    """Access units in decoding order, from the first key picture on."""

    codec: NalCodec
    offsets: Ints
    sizes: Ints
    dts: Ints
    pts: Ints
    keys: NDArray[np.bool_]
    pes_bytes: Ints
    last_ticks: int
    """Duration of the picture shown last."""


@dataclass(frozen=True, eq=False, slots=True)
class Sounds:
    """Frames, and the PES in which they travel."""

    form: SoundForm
    offsets: Ints
    sizes: Ints
    firsts: Ints
    """First frame of each PES, and the number of frames at the end."""
    begin: int
    """When the first frame that is shown begins; the one before it comes along for the decoder."""
    pts: Ints
    """One a PES."""
    ticks: Ints
    pes_bytes: Ints


@dataclass(frozen=True, eq=False, slots=True)
class Lesson:
    """What goes into a transport stream; ticks of 90 kHz, 0 where the lesson begins."""

    pictures: Pictures
    sounds: Sounds | None
    end: int


def read_lesson(
    index: Mp4Index, data: memoryview, form: AacForm, name: str, looked: Callable[[], None] = lambda: None
) -> Lesson:
    """Choose the tracks, and find sizes and times of all that will be written.

    Args:
        index: of the file.
        data: the file, mapped.
        form: how AAC is written.
        name: of the file, for errors.
        looked: called now and then when pages of the file may be given back.

    Raises:
        Unmuxable: a transport stream cannot hold it; the text says why.
    """
    video = next((each for each in index.tracks if each.kind == "video" and each.width and len(each.sizes)), None)
    sound = index.first("audio")
    if video is None or video.codec not in ("h264", "h265"):
        found = f"the video is {video.codec or 'unknown'}, it" if video is not None else "there is no video; it"
        raise Unmuxable(f"{name}: {found} must be H.264 or H.265; transcode it")
    sound_form = _sound_form(sound, form, name) if sound is not None else None
    pictures = _pictures(video, data, name, looked)
    sounds = _sounds(sound, sound_form, name) if sound is not None and sound_form is not None else None
    first = min(int(pictures.pts.min()), sounds.begin if sounds is not None else 1 << 62)
    start = max(0, first)  # a first frame with a negative time is shown only from 0 on
    end = int(pictures.pts.max()) + pictures.last_ticks
    pictures.dts[:] -= start
    pictures.pts[:] -= start
    if sounds is not None:
        end = max(end, int((sounds.pts + sounds.ticks).max()))
        sounds.pts[:] -= start
    return Lesson(pictures, sounds, end - start)


def _sound_form(track: Mp4Track, form: AacForm, name: str) -> SoundForm:
    if track.codec == "aac":
        return aac(track.config, form, name)
    if track.codec in ("mp2", "mp3"):
        return mpeg_audio(track.sample_rate_hz, name)
    raise Unmuxable(f"{name}: the sound is {track.codec or 'unknown'}, it must be AAC, MP2 or MP3; transcode it")


def _ticks(time: Ints, timescale: int) -> Ints:
    """Return the time in ticks of 90 kHz, rounded to the nearest."""
    return (time * (2 * PTS_HZ) + timescale) // (2 * timescale)


def _shown(track: Mp4Track, pts: Ints) -> NDArray[np.bool_]:
    lasts = np.maximum(track.durations, 1)  # telephones write 0 for the last one, which is shown all the same
    return (pts + lasts > track.shown_from) & (pts + track.durations - lasts < track.shown_until)


def _pictures(track: Mp4Track, data: memoryview, name: str, looked: Callable[[], None]) -> Pictures:
    codec = (h264 if track.codec == "h264" else h265)(track.config, name)
    raw = np.frombuffer(data, dtype=np.uint8)
    bodies, kinds, keys = [], [], []
    for begin in range(0, len(track.sizes), LOOK_SAMPLES):
        part = slice(begin, begin + LOOK_SAMPLES)
        found = look(codec, raw, track.offsets[part], track.sizes[part], name)
        bodies.append(found.bodies)
        kinds.append(found.kinds)
        keys.append(found.keys)
        looked()
    key = np.concatenate(keys)
    pts = track.dts + track.composition + track.shift
    kept = _kept(key, pts, _shown(track, pts), name)
    early = max(0, -int(track.composition[kept].min()))  # where offsets are signed, decoding begins that much earlier
    dts = _ticks(track.dts[kept] + (track.shift - early), track.timescale)
    pts = _ticks(pts[kept], track.timescale)
    if np.any(np.diff(dts) <= 0):
        raise Unmuxable(f"{name}: decoding times do not increase; transcode it")
    last = int(_ticks(track.durations[kept][np.argmax(pts)][None], track.timescale)[0])
    if last <= 0:
        last = int(np.median(np.diff(dts))) if len(dts) > 1 else PTS_HZ // 25
    es_bytes = codec.head_bytes[np.concatenate(kinds)[kept]] + np.concatenate(bodies)[kept]
    offsets, sizes = track.offsets[kept], track.sizes[kept]
    return Pictures(codec, offsets, sizes, dts, pts, key[kept], es_bytes + pes_head_bytes(pts, dts), last)


def _kept(key: NDArray[np.bool_], pts: Ints, shown: NDArray[np.bool_], name: str) -> slice:
    """Return the pictures from the last key picture that all shown ones can be decoded from, to the last one shown."""
    if not key.any():
        raise Unmuxable(f"{name}: no IDR picture to begin with; transcode it")
    first, stop = int(np.argmax(key)), len(key)
    seen = np.flatnonzero(shown[first:]) + first
    if len(seen):
        able = np.flatnonzero(key[: seen[0] + 1] & (pts[: seen[0] + 1] <= pts[seen].min()))
        first, stop = int(able[-1]) if len(able) else first, int(seen[-1]) + 1
    return slice(first, stop)


def _sounds(track: Mp4Track, form: SoundForm, name: str) -> Sounds | None:
    time = track.dts + track.composition + track.shift
    kept = np.flatnonzero(_shown(track, time) & (track.sizes > 0))
    if not len(kept):
        return None
    begin = int(_ticks(time[kept[:1]], track.timescale)[0])
    if kept[0] and track.sizes[kept[0] - 1]:
        kept = np.concatenate([[with_priming(int(kept[0]))], kept])
    pts = _ticks(time[kept], track.timescale)
    if np.any(np.diff(pts) <= 0):
        raise Unmuxable(f"{name}: the sound's times do not increase; transcode it")
    ends = pts + _ticks(track.durations[kept], track.timescale)
    offsets, sizes = track.offsets[kept], track.sizes[kept]
    frames = form.sizes(sizes)
    firsts = _group(pts, ends, frames)
    begins, lasts = firsts[:-1], firsts[1:] - 1
    pes_bytes = np.add.reduceat(frames, begins) + pes_head_bytes(pts[begins])
    return Sounds(form, offsets, sizes, firsts, begin, pts[begins], ends[lasts] - pts[begins], pes_bytes)


def _group(pts: Ints, ends: Ints, frames: Ints) -> Ints:
    """Return the first frame of each PES, and the number of frames: short PES, never across a hole or an overlap."""
    count = len(pts)
    durations = ends - pts
    usual = int(np.median(durations))  # what a decoder takes for the length of a frame, whatever the MP4 says
    holes = np.abs(np.diff(pts) - usual) > max(usual // 4, 2)
    at = np.append(np.flatnonzero(holes) + 1, count)
    next_hole = at[np.searchsorted(at, np.arange(count), side="right")]
    full = np.maximum.accumulate(np.concatenate([ends[:1], ends[:-1] + durations[1:]]))
    long = np.searchsorted(full, pts + SOUND_PES_TICKS, side="right")
    done = np.cumsum(frames)
    large = np.searchsorted(done, done - frames + SOUND_PES_MAX_BYTES, side="left") + 1
    following = np.maximum(np.minimum(np.minimum(next_hole, long), large), np.arange(count) + 1).tolist()
    firsts, at_frame = [0], 0
    while at_frame < count:
        at_frame = following[at_frame]
        firsts.append(at_frame)
    return np.array(firsts, dtype=np.int64)
