"""Plan of a transport stream: which packet stands where, and when it leaves. Pure arithmetic on sizes and times.

Times are seconds from the lesson's start (npt 0); everything before it leaves at negative times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.ts_pacing import Schedule, start_offset_s, taut_string
from media.ts_pack import NO_PCR, PAYLOAD_BYTES, packet_counts, pcr_places
from wire.mpegts import PTS_HZ

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_TABLES, _AUDIO, _CLOCK, _KEY = range(4)
"""What leaves between the pictures; a clock packet has a PCR and no payload, a key picture has tables before it."""
TABLES_EVERY_S = 0.08
"""Tables leave at least that often; oftener in thin streams, where a receiver sees times as coarse as packets."""
TABLES_EVERY_MIN_S = 0.06
PCR_EVERY_S = 0.034
VIDEO_MARGIN_S = 0.035
"""A picture has fully left this long before its DTS: also for a receiver that knows times only from PCR to PCR."""
AUDIO_MARGIN_S = 0.035
"""A sound PES has fully left this long before its PTS; it must not be much earlier (buffer of 3584 bytes, §2.4.2.3)."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the first look at the source found; ticks of 90 kHz from the lesson's start, one value a PES."""

    video_pes_bytes: Ints
    video_dts: Ints
    video_keys: Bools
    audio_pes_bytes: Ints
    audio_pts: Ints
    audio_ticks: Ints


@dataclass(frozen=True, slots=True)
class Window:
    """A run of whole pictures and all that leaves between them, in the order of the file.

    Places count packets of the window from 0, except where they are packets of one kind from the file's begin.
    """

    pictures: range
    video_packets: range
    audio_packets: range
    leave_s: Floats
    """When each packet leaves, npt clock; never decreases."""
    video: Ints
    """Places of the packets of each kind."""
    audio: Ints
    pat: Ints
    pmt: Ints
    clock: Ints
    keys: Ints
    """Places of the PAT before each key picture."""


def _pcr_steps(sizes: Sizes) -> Ints:
    """Choose per GOP how many packets may pass between two PCRs: about 20 ms at the GOP's mean rate."""
    first = np.flatnonzero(sizes.video_keys)
    if first[0] != 0:
        first = np.concatenate([[0], first])
    ends = np.append(sizes.video_dts[first[1:]], sizes.video_dts[-1] + PTS_HZ // 25)
    seconds = np.maximum(ends - sizes.video_dts[first], 1) / PTS_HZ
    packets = np.add.reduceat(sizes.video_pes_bytes, first) / PAYLOAD_BYTES
    step = np.clip(0.02 * packets / seconds, 1, 64).astype(np.int64)
    return np.asarray(np.repeat(step, np.diff(np.append(first, len(sizes.video_keys)))), dtype=np.int64)


def _audio_times(sizes: Sizes, packets: Ints, key_s: Floats) -> Floats:
    """Spread each sound PES over its own duration, whole ones only between two points to cut at."""
    end = sizes.audio_pts / PTS_HZ - AUDIO_MARGIN_S
    start = end - np.minimum(sizes.audio_ticks / PTS_HZ, 0.1)
    start = np.maximum(start, np.concatenate([start[:1], end[:-1]]))
    inside = np.searchsorted(start, key_s, side="left") - 1
    for number in np.flatnonzero((inside >= 0) & (key_s < end[inside])).tolist():
        cut, cut_before = float(key_s[number]), float(key_s[number - 1]) if number else -np.inf
        k = int(np.searchsorted(start, cut, side="left")) - 1
        if k >= 0 and start[k] < cut < end[k]:  # no PES straddles the PAT of a key picture: it and the one before ...
            end[k] = cut
            if k and start[k - 1] >= cut_before:  # ... move up evenly
                end[k - 1] = start[k] = min(start[k], (start[k - 1] + cut) / 2)
    unit = np.repeat(np.arange(len(packets)), packets)
    place = np.arange(len(unit)) - (np.cumsum(packets) - packets)[unit]
    return np.asarray(start[unit] + (end - start)[unit] * place / packets[unit])


def _clock_times(points: Floats) -> Floats:
    """Return when PCRs are missing between these, so that no gap is longer than `PCR_EVERY_S`."""
    gap = np.diff(points)
    more = np.maximum(np.ceil(gap / PCR_EVERY_S).astype(np.int64) - 1, 0)
    owner = np.repeat(np.arange(len(gap)), more)
    place = np.arange(len(owner)) - (np.cumsum(more) - more)[owner] + 1
    return np.asarray(points[owner] + gap[owner] * place / (more[owner] + 1))


class Plan:
    """The order of all packets and their times; see `media.ts_pacing` for the rule."""

    def __init__(self, sizes: Sizes) -> None:
        """Plan the whole file; the packets themselves come from `windows`."""
        self.pcr_step = _pcr_steps(sizes)
        """One a picture: every so many packets there is a PCR."""
        self.video_packets = packet_counts(sizes.video_pes_bytes, self.pcr_step)
        """One a picture."""
        self.audio_packets = packet_counts(sizes.audio_pes_bytes, np.full(len(sizes.audio_pes_bytes), NO_PCR))
        """One a sound PES."""
        video, audio = self.video_packets, self.audio_packets
        self._keys = np.flatnonzero(sizes.video_keys)
        self._first = np.concatenate([[0], np.cumsum(video)])
        dts_s = sizes.video_dts / PTS_HZ
        seconds = max(float(dts_s[-1] - dts_s[0]), 1.0)
        packets_per_s = float(audio.sum() + video.sum()) / seconds
        every_s = float(np.clip(0.095 - 2.5 / packets_per_s, TABLES_EVERY_MIN_S, TABLES_EVERY_S))
        offset = start_offset_s(video, dts_s, float(audio.sum()) / seconds + 2 / every_s)
        deadline_s = dts_s - VIDEO_MARGIN_S
        self._schedule = Schedule(taut_string(video, deadline_s - offset, deadline_s))
        ends_s = self._schedule.leaving_s_of(np.array([0, self._first[-1] - 1]))
        self._key_s = self._schedule.leaving_s_of(self._first[self._keys])
        self._audio_s = _audio_times(sizes, audio, self._key_s) if len(audio) else np.empty(0)
        self.begin_s = float(np.concatenate([ends_s[:1], self._audio_s[:1]]).min())
        """When the first packet leaves."""
        self._end_s = float(np.concatenate([ends_s[1:], self._audio_s[-1:]]).max())
        own_tables = self._key_s[0] <= self.begin_s
        self._tables_s = np.arange(self.begin_s + every_s * own_tables, self._end_s, every_s)

    def windows(self, packets: int) -> Iterator[Window]:
        """Yield the packets in order, about so many video packets at a time, at least one picture."""
        count, at, after_s = len(self.video_packets), 0, -np.inf
        while at < count:
            stop = int(np.searchsorted(self._first, self._first[at] + packets, side="right")) - 1
            stop = min(max(stop, at + 1), count)
            until_s = self._schedule.leaving_s_of(self._first[stop : stop + 1])[0] if stop < count else np.inf
            yield self._window(range(at, stop), float(after_s), float(until_s))
            at, after_s = stop, until_s

    def _window(self, pictures: range, after_s: float, until_s: float) -> Window:
        """Merge what leaves in [after_s, until_s) with the video packets of these pictures."""
        begin, stop = int(self._first[pictures.start]), int(self._first[pictures.stop])
        video_s = self._schedule.leaving_s(begin, stop)
        audio = range(*np.searchsorted(self._audio_s, (after_s, until_s)).tolist())
        tables_s = self._tables_s[slice(*np.searchsorted(self._tables_s, (after_s, until_s)))]
        key_s = self._key_s[slice(*np.searchsorted(self._keys, (pictures.start, pictures.stop)))]
        audio_s = self._audio_s[audio.start : audio.stop]
        clock_s = self._clock_s(pictures, video_s, until_s)

        # at equal times this order holds: tables and sound first, then the tables of a key picture, then the picture
        other_s = np.concatenate([np.repeat(tables_s, 2), audio_s, clock_s, np.repeat(key_s, 2)])
        kinds = np.repeat(
            [_TABLES, _AUDIO, _CLOCK, _KEY], [2 * len(tables_s), len(audio_s), len(clock_s), 2 * len(key_s)]
        )
        order = np.argsort(other_s, kind="stable")
        other_s, kinds = other_s[order], kinds[order]
        places = np.searchsorted(video_s, other_s) + np.arange(len(other_s))
        is_video = np.ones(len(video_s) + len(other_s), dtype=np.bool_)
        is_video[places] = False
        video = np.flatnonzero(is_video)
        leave_s = np.empty(len(is_video))
        leave_s[video], leave_s[places] = video_s, other_s
        tables, keys = places[kinds == _TABLES], places[kinds == _KEY]
        return Window(
            pictures=pictures,
            video_packets=range(begin, stop),
            audio_packets=audio,
            leave_s=leave_s,
            video=video,
            audio=places[kinds == _AUDIO],
            pat=np.sort(np.concatenate([tables[::2], keys[::2]])),
            pmt=np.sort(np.concatenate([tables[1::2], keys[1::2]])),
            clock=places[kinds == _CLOCK],
            keys=keys[::2],
        )

    def _clock_s(self, pictures: range, video_s: Floats, until_s: float) -> Floats:
        """Return when packets with nothing but a PCR are due: a picture's first packet always has one."""
        part = slice(pictures.start, pictures.stop)
        points = video_s[pcr_places(self.video_packets[part], self.pcr_step[part])]
        lead = np.empty(0)
        if pictures.start == 0 and points[0] > self.begin_s + 1e-6:
            lead = np.array([self.begin_s])
            points = np.concatenate([lead, points])
        last_s, last = (self._end_s, [self._end_s]) if until_s == np.inf else (until_s, [])
        if last_s > points[-1]:
            points = np.append(points, last_s)
        else:
            last = []
        return np.concatenate([lead, _clock_times(points), last])  # the last packets lie before a PCR, too
