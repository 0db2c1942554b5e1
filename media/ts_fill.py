"""Fills the packets of a transport stream window by window: the lesson's bytes into the places that the plan says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from media import Unmuxable
from media.ts_index import TsIndex
from media.ts_indexing import IndexMaker
from media.ts_lesson import Lesson
from media.ts_nal import access_units, look, start_codes
from media.ts_pack import (
    PAYLOAD_BYTES,
    PCR_FIELD_BYTES,
    Cut,
    copy_packets,
    cut,
    write_clocks,
    write_heads,
)
from media.ts_pes import AUDIO_STREAM_ID, VIDEO_STREAM_ID, pes_head_bytes, write_pes_heads
from media.ts_plan import Plan, Sizes, Window
from wire.mpegts import (
    PACKET_BYTES,
    PAT_PID,
    PCR_HZ,
    PTS_HZ,
    Pat,
    Pmt,
    write_adaptation_only,
    write_pat,
    write_pmt,
    write_section_packets,
)

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Piece = bytes | memoryview

PMT_PID: Final = 0x1000
VIDEO_PID: Final = 0x100
AUDIO_PID: Final = 0x101
LESSON_TICKS: Final = 3 * PTS_HZ
"""Presentation time of the lesson's start, the same in every rendition: a player that changes from one to another finds
the same picture at the same time (RFC 8216 §6.2.4), however early the packets of each must leave."""
FIRST_PCR_MIN_TICKS: Final = PTS_HZ
"""The stream's clock begins no earlier: some boxes take 0 for "not set". What begins with two seconds of hidden
pictures starts later instead."""
WINDOW_PACKETS: Final = 16_384
"""Video packets filled at a time (3 MB)."""


def _plan(lesson: Lesson) -> Plan:
    pictures, sounds = lesson.pictures, lesson.sounds
    none = np.empty(0, dtype=np.int64)
    return Plan(
        Sizes(
            video_pes_bytes=pictures.pes_bytes,
            video_dts=pictures.dts,
            video_keys=pictures.keys,
            audio_pes_bytes=sounds.pes_bytes if sounds is not None else none,
            audio_pts=sounds.pts if sounds is not None else none,
            audio_ticks=sounds.ticks if sounds is not None else none,
        )
    )


@dataclass(frozen=True, slots=True)
class _Video:
    cut: Cut
    codes: Ints
    """Where start codes belong, from the first byte of the first PES."""


class Filler:
    """Makes the packets of one window after the other."""

    def __init__(self, lesson: Lesson, data: memoryview, name: str) -> None:
        """Plan the file; ``data`` is the MP4, mapped, ``name`` its name for errors."""
        self._pictures, self._sounds = lesson.pictures, lesson.sounds
        self._data, self._raw, self._name = data, np.frombuffer(data, dtype=np.uint8), name
        self._plan = plan = _plan(lesson)
        begin_ticks = int(np.floor(plan.begin_s * PTS_HZ))
        self._begin_s = begin_ticks / PTS_HZ
        self._shift = max(LESSON_TICKS, FIRST_PCR_MIN_TICKS - begin_ticks)
        self._first_pcr = (self._shift + begin_ticks) * 300
        self._audio_first = np.concatenate([[0], np.cumsum(plan.audio_packets)])
        streams = [(self._pictures.codec.stream_type, VIDEO_PID)]
        pids = [PAT_PID, PMT_PID, VIDEO_PID]
        if self._sounds is not None:
            streams.append((self._sounds.form.stream_type, AUDIO_PID))
            pids.append(AUDIO_PID)
        self._fixed = (
            write_section_packets(PAT_PID, write_pat(Pat(1, ((1, PMT_PID),))), 0)
            + write_section_packets(PMT_PID, write_pmt(Pmt(1, VIDEO_PID, tuple(streams))), 0)
            + write_adaptation_only(VIDEO_PID, 0, pcr=0)
        )
        self._sent = dict.fromkeys(pids, 0)
        self._end = lesson.end
        self._index = IndexMaker(self._shift)

    def windows(self) -> Iterator[Bytes]:
        """Yield the packets as rows of 188 bytes."""
        for window in self._plan.windows(WINDOW_PACKETS):
            yield self._fill(window)

    def made(self) -> TsIndex:
        """Return the index, once all windows were taken."""
        return self._index.made(VIDEO_PID, self._end / PTS_HZ, -self._plan.begin_s)

    def _fill(self, window: Window) -> Bytes:
        pieces: list[Piece] = [bytes(PACKET_BYTES)]
        video = self._video(window, pieces)
        codes = video.codes + PACKET_BYTES
        sound, sound_part = self._sound(window, pieces)
        sound_begin = PACKET_BYTES + (int(video.cut.ends[-1]))
        pieces.append(self._fixed)
        source = bytearray().join(pieces)
        joined = np.frombuffer(source, dtype=np.uint8)
        for byte, value in enumerate((0, 0, 0, 1)):
            joined[codes + byte] = value

        ends = np.empty(len(window.leave_s), dtype=np.int64)
        ends[window.video] = video.cut.ends + PACKET_BYTES
        ends[window.audio] = sound.ends[sound_part] + sound_begin
        for number, places in enumerate((window.clock, window.pmt, window.pat)):
            ends[places] = len(source) - number * PACKET_BYTES
        rows = copy_packets(source, ends)
        self._write_heads(window, rows, video.cut, sound, sound_part)
        self._count(window, video.cut)
        return rows

    def _video(self, window: Window, pieces: list[Piece]) -> _Video:
        """Add the bytes of the window's pictures, and say how they are cut and where start codes belong."""
        part = slice(window.pictures.start, window.pictures.stop)
        source = self._pictures
        found = look(source.codec, self._raw, source.offsets[part], source.sizes[part], self._name)
        pts, dts = source.pts[part] + self._shift, source.dts[part] + self._shift
        pes_bytes = source.pes_bytes[part]
        own = source.codec.head_bytes[found.kinds]
        if np.any(pes_head_bytes(pts, dts) + own + found.bodies != pes_bytes):
            raise Unmuxable(f"{self._name}: changed while it was read; try again")
        heads = write_pes_heads(VIDEO_STREAM_ID, pes_bytes, pts, dts)
        pieces += chain.from_iterable(access_units(source.codec, found, self._data, heads))
        whole = cut(pes_bytes, self._plan.video_packets[part], self._plan.pcr_step[part])
        return _Video(whole, start_codes(found, np.cumsum(pes_bytes) - found.bodies))

    def _sound(self, window: Window, pieces: list[Piece]) -> tuple[Cut, slice]:
        """Add the sound PES that the window needs, whole ones; return their cut, and which packets of it are meant."""
        wanted, sounds = window.audio_packets, self._sounds
        none = np.empty(0, dtype=np.int64)
        if sounds is None or not len(wanted):
            return cut(none, none, None), slice(0, 0)
        first, last = np.searchsorted(self._audio_first, (wanted.start, wanted.stop - 1), side="right").tolist()
        part = slice(first - 1, last)
        frames = slice(int(sounds.firsts[part.start]), int(sounds.firsts[part.stop]))
        made = sounds.form.frames(self._data, sounds.offsets[frames], sounds.sizes[frames])
        each = len(made) // (frames.stop - frames.start)
        begins = ((sounds.firsts[part.start : part.stop + 1] - frames.start) * each).tolist()
        heads = write_pes_heads(AUDIO_STREAM_ID, sounds.pes_bytes[part], sounds.pts[part] + self._shift)
        for head, begin, end in zip(heads, begins, begins[1:], strict=False):
            pieces.append(head)
            pieces += made[begin:end]
        skipped = wanted.start - int(self._audio_first[part.start])
        whole = cut(sounds.pes_bytes[part], self._plan.audio_packets[part], None)
        return whole, slice(skipped, skipped + len(wanted))

    def _pcr(self, leave_s: NDArray[np.float64]) -> Ints:
        return np.asarray(np.round((leave_s - self._begin_s) * PCR_HZ)).astype(np.int64) + self._first_pcr

    def _write_heads(self, window: Window, rows: Bytes, video: Cut, sound: Cut, sound_part: slice) -> None:
        """Write what lies before the payloads."""
        sent = self._sent
        write_heads(rows, window.video, VIDEO_PID, sent[VIDEO_PID], video, slice(0, len(window.video)))
        keys = np.flatnonzero(self._pictures.keys[window.pictures.start : window.pictures.stop])
        begins = np.isin(video.pcr, video.firsts[keys], assume_unique=True)
        clocked = window.video[video.pcr]
        write_clocks(
            rows,
            clocked,
            self._pcr(window.leave_s[clocked]),
            begins,
            PAYLOAD_BYTES - PCR_FIELD_BYTES - video.payload[video.pcr],
        )
        if AUDIO_PID in sent:
            write_heads(rows, window.audio, AUDIO_PID, sent[AUDIO_PID], sound, sound_part)
        for pid, places in ((PAT_PID, window.pat), (PMT_PID, window.pmt)):
            rows[places, 3] = 0x10 | (sent[pid] + np.arange(len(places)) & 15)
        lone = window.clock
        write_clocks(
            rows,
            lone,
            self._pcr(window.leave_s[lone]),
            np.zeros(len(lone), bool),
            np.full(len(lone), PAYLOAD_BYTES - PCR_FIELD_BYTES),
        )
        rows[lone, 3] = 0x20 | (sent[VIDEO_PID] + np.searchsorted(window.video, lone) - 1 & 15)

    def _count(self, window: Window, video: Cut) -> None:
        """Tell the index, and keep the counters."""
        places = {PAT_PID: window.pat, PMT_PID: window.pmt, VIDEO_PID: window.video, AUDIO_PID: window.audio}
        places = {pid: places[pid] for pid in self._sent}
        keys = np.flatnonzero(self._pictures.keys[window.pictures.start : window.pictures.stop])
        pts = self._pictures.pts[window.pictures.start : window.pictures.stop][keys]
        self._index.add(
            leave_s=window.leave_s,
            clock=self._pcr,
            first_clock=int(min([window.video[video.pcr[0]], *window.clock[:1]])),
            key_places=window.keys,
            key_pts=pts,
            key_ends=window.video[video.lasts[keys]] + 1,
            counters={
                pid: (self._sent[pid] + np.searchsorted(where, window.keys)).tolist() for pid, where in places.items()
            },
        )
        for pid, where in places.items():
            self._sent[pid] += len(where)
