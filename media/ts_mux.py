"""Copy the H.264 and AAC of an MP4 into one single-programme MPEG-2 transport stream, paced for thin lines.

Two readings of the source: the first takes sizes and times and makes the plan (`media.ts_plan`), the second fills the
packets, one GOP at a time. Memory grows by about 30 bytes a packet of output, not by the media themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from media import Unmuxable
from media.ts_index import TsIndex, TsKeyframe, TsPacing, TsSegment
from media.ts_pack import NO_PCR, pack, pcr_fields
from media.ts_plan import AUDIO, CLOCK, PAT, PMT, VIDEO, Plan, Sizes, make_plan
from media.ts_source import Unit, lesson_start, read_audio, read_video
from wire.mpegts import (
    PACKET_BYTES,
    PAT_PID,
    PCR_HZ,
    PTS_HZ,
    STREAM_AAC_ADTS,
    STREAM_H264,
    Pat,
    Pmt,
    write_adaptation_only,
    write_pat,
    write_pes_header,
    write_pmt,
    write_section_packets,
)

PMT_PID, VIDEO_PID, AUDIO_PID = 0x1000, 0x100, 0x101
VIDEO_STREAM_ID, AUDIO_STREAM_ID = 0xE0, 0xC0
SEGMENT_TARGET_S = 6.0
AUDIO_PES_TICKS = PTS_HZ * 9 // 100
"""A sound PES holds as many whole frames as fit 90 ms."""
AUDIO_PES_MAX_BYTES = 16_384
FIRST_PCR_TICKS = PTS_HZ
"""The stream's clock begins at one second: some boxes take 0 for "not set"."""
BATCH_PACKETS = 20_000
"""Packets filled at a time (3.8 MB), cut where it comes."""
PACING_STEP_S = 0.1


@dataclass(slots=True)
class _AudioPes:
    pts: int
    ticks: int
    data: bytearray


def _audio_pes(source: Path) -> Iterator[_AudioPes]:
    """Group ADTS frames into PES: short, and never across a hole in the sound."""
    held: _AudioPes | None = None
    for frame in read_audio(source):
        if held is not None:
            due = held.pts + held.ticks
            fits = held.ticks + frame.duration <= AUDIO_PES_TICKS and len(held.data) < AUDIO_PES_MAX_BYTES
            if fits and abs(frame.pts - due) <= max(frame.duration // 2, 2):
                held.ticks = frame.pts + frame.duration - held.pts
                held.data += frame.data
                continue
            yield held
        held = _AudioPes(frame.pts, frame.duration, bytearray(frame.data))
    if held is not None:
        yield held


@dataclass(frozen=True, slots=True)
class _Survey:
    sizes: Sizes
    start: int
    end: int
    idr_pts: NDArray[np.int64]


def _survey(source: Path) -> _Survey:
    """Read the source once for sizes and times."""
    video = [(u.dts, u.pts, len(u.data), u.idr, u.duration) for u in read_video(source)]
    if not video:
        raise Unmuxable(f"{source.name}: no IDR picture to begin with; transcode it")
    audio = [(p.pts, p.ticks, len(p.data)) for p in _audio_pes(source)]
    v = np.array(video, dtype=np.int64)
    a = np.array(audio, dtype=np.int64).reshape(-1, 3)
    start = lesson_start(int(v[:, 1].min()), int(a[0, 0]) if len(a) else None)
    last = v[np.argmax(v[:, 1])]
    step = int(last[4]) or (int(np.median(np.diff(v[:, 0]))) if len(v) > 1 else PTS_HZ // 25)
    end = max(int(last[1]) + step, int((a[:, 0] + a[:, 1]).max()) if len(a) else 0)
    sizes = Sizes(
        video_pes_bytes=v[:, 2] + np.where(v[:, 0] == v[:, 1], 14, 19),
        video_dts=v[:, 0] - start,
        video_idr=v[:, 3].astype(np.bool_),
        audio_pes_bytes=a[:, 2] + 14,
        audio_pts=a[:, 0] - start,
        audio_ticks=a[:, 1],
    )
    return _Survey(sizes, start, end - start, v[:, 1][v[:, 3] > 0] - start)


class _Rows:
    """Packets of one PID, made PES by PES, taken in any number."""

    def __init__(self) -> None:
        self._ready: list[NDArray[np.uint8]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, rows: NDArray[np.uint8]) -> None:
        self._ready.append(rows)
        self._count += len(rows)

    def take(self, count: int) -> NDArray[np.uint8]:
        rows = np.concatenate(self._ready) if self._ready else np.empty((0, PACKET_BYTES), np.uint8)
        self._ready, self._count = [rows[count:]], len(rows) - count
        return rows[:count]


class _Filler:
    """Second reading: fills the planned packets in order."""

    def __init__(self, source: Path, plan: Plan, shift: int, pcr: NDArray[np.int64]) -> None:
        self._source, self._plan, self._shift = source, plan, shift
        self._pcr = pcr
        self._video, self._audio = _Rows(), _Rows()
        self._video_units, self._audio_units = read_video(source), _audio_pes(source)
        self._video_pcr = pcr[plan.kinds == VIDEO]
        self._done = [0] * 5
        self._made_pictures = self._made_video = self._made_sounds = self._made_audio = 0
        pmt_streams = ((STREAM_H264, VIDEO_PID), (STREAM_AAC_ADTS, AUDIO_PID))[: 2 if len(plan.audio_packets) else 1]
        self._tables = {
            PAT: self._row(write_section_packets(PAT_PID, write_pat(Pat(1, ((1, PMT_PID),))), 0)),
            PMT: self._row(write_section_packets(PMT_PID, write_pmt(Pmt(1, VIDEO_PID, pmt_streams)), 0)),
            CLOCK: self._row(write_adaptation_only(VIDEO_PID, 0, pcr=0)),
        }

    @staticmethod
    def _row(packet: bytes) -> NDArray[np.uint8]:
        return np.frombuffer(packet, dtype=np.uint8)

    def _video_pes(self, unit: Unit) -> bytes:
        pts, dts = unit.pts + self._shift, unit.dts + self._shift
        return write_pes_header(VIDEO_STREAM_ID, len(unit.data), pts, dts) + unit.data

    def _make_video(self, wanted: int) -> None:
        while len(self._video) < wanted:
            pes, keys = [], []
            begin, count = self._made_pictures, 0
            for unit in self._video_units:
                pes.append(self._video_pes(unit))
                keys.append(unit.idr)
                count += int(self._plan.video_packets[begin + len(pes) - 1])
                if len(self._video) + count >= wanted:
                    break
            if not pes:
                raise Unmuxable(f"{self._source.name}: changed while it was read")
            step = self._plan.pcr_step[begin : begin + len(pes)]
            pcr = self._video_pcr[self._made_video : self._made_video + count]
            rows = pack(VIDEO_PID, pes, step, self._made_video & 15, pcr, np.array(keys))
            if len(rows) != count:
                raise Unmuxable(f"{self._source.name}: changed while it was read")
            self._video.add(rows)
            self._made_pictures += len(pes)
            self._made_video += count

    def _make_audio(self, wanted: int) -> None:
        pes: list[bytes] = []
        count = len(self._audio)
        if count >= wanted:
            return
        for unit in self._audio_units:
            pes.append(write_pes_header(AUDIO_STREAM_ID, len(unit.data), unit.pts + self._shift) + bytes(unit.data))
            count += int(self._plan.audio_packets[self._made_sounds + len(pes) - 1])
            if count >= wanted:
                break
        rows = pack(AUDIO_PID, pes, np.full(len(pes), NO_PCR), self._made_audio & 15, None, np.zeros(len(pes), bool))
        self._audio.add(rows)
        self._made_audio += len(rows)
        self._made_sounds += len(pes)
        if len(self._audio) < wanted:
            raise Unmuxable(f"{self._source.name}: changed while it was read")

    def fill(self, begin: int, stop: int) -> NDArray[np.uint8]:
        """Return the packets begin to stop; call with ranges that follow one another."""
        kinds = self._plan.kinds[begin:stop]
        counts = np.bincount(kinds, minlength=5)
        rows = np.empty((stop - begin, PACKET_BYTES), dtype=np.uint8)
        self._make_video(int(counts[VIDEO]))
        self._make_audio(int(counts[AUDIO]))
        rows[kinds == VIDEO] = self._video.take(int(counts[VIDEO]))
        rows[kinds == AUDIO] = self._audio.take(int(counts[AUDIO]))
        for kind in (PAT, PMT):
            here = kinds == kind
            rows[here] = self._tables[kind]
            rows[here, 3] = 0x10 | ((self._done[kind] + np.arange(counts[kind])) & 15)
        here = kinds == CLOCK
        rows[here] = self._tables[CLOCK]
        sent = self._done[VIDEO] + np.cumsum(kinds == VIDEO)
        rows[here, 3] = 0x20 | ((sent[here] - 1) & 15)
        rows[here, 6:12] = pcr_fields(self._pcr[begin:stop][here])
        for kind in range(5):
            self._done[kind] += int(counts[kind])
        return rows


def mux_ts(source: Path, out: Path) -> TsIndex:
    """Write the transport stream of ``source`` (MP4: H.264, AAC or no sound) to ``out`` and return its index.

    Nothing is re-encoded. Timestamps and continuity counters run through the whole file. ``out`` is overwritten;
    on an error it may be left half written (the caller works on a temporary name).

    Raises:
        Unmuxable: the source needs transcoding; the text says why.
        OSError: reading or writing failed.
    """
    survey = _survey(source)
    plan = make_plan(survey.sizes)
    begin_ticks = int(np.floor(plan.leave_s[0] * PTS_HZ))
    begin_s = begin_ticks / PTS_HZ
    pcr = np.round((plan.leave_s - begin_s) * PCR_HZ).astype(np.int64) + FIRST_PCR_TICKS * 300
    filler = _Filler(source, plan, FIRST_PCR_TICKS - begin_ticks - survey.start, pcr)
    with out.open("wb") as file:
        for begin in range(0, len(plan.kinds), BATCH_PACKETS):
            file.write(filler.fill(begin, min(begin + BATCH_PACKETS, len(plan.kinds))).tobytes())
    return _index(survey, plan, pcr)


def _index(survey: _Survey, plan: Plan, pcr: NDArray[np.int64]) -> TsIndex:
    time_s = (pcr - pcr[plan.has_pcr][0]) / PCR_HZ
    length = len(plan.kinds) * PACKET_BYTES
    begins = plan.idr_rows.copy()
    npt = survey.idr_pts / PTS_HZ
    if len(begins):
        begins[0], npt[0] = 0, 0.0
    sent = {
        pid: np.concatenate([[0], np.cumsum(plan.kinds == kind)])
        for pid, kind in ((PAT_PID, PAT), (PMT_PID, PMT), (VIDEO_PID, VIDEO), (AUDIO_PID, AUDIO))
        if kind != AUDIO or len(plan.audio_packets)
    }
    keyframes = tuple(
        TsKeyframe(
            time_s=float(at),
            offset_bytes=int(row) * PACKET_BYTES,
            pcr_s=max(float(time_s[row]), 0.0),
            pcr_27mhz=int(pcr[row]),
            next_cc={pid: int(count[row] & 15) for pid, count in sent.items()},
        )
        for row, at in zip(begins, npt, strict=True)
    )
    duration_s = survey.end / PTS_HZ
    cuts = [keyframes[0]]
    for each in keyframes[1:]:
        if each.time_s >= cuts[-1].time_s + SEGMENT_TARGET_S - 1e-3:
            cuts.append(each)
    ends = [(each.time_s, each.offset_bytes) for each in cuts[1:]] + [(duration_s, length)]
    segments = tuple(
        TsSegment(cut.time_s, end_s - cut.time_s, cut.offset_bytes, end - cut.offset_bytes)
        for cut, (end_s, end) in zip(cuts, ends, strict=True)
    )
    return TsIndex(
        duration_s=duration_s,
        length_bytes=length,
        presentation_delay_s=float(-plan.leave_s[0]),
        pcr_pid=VIDEO_PID,
        segments=segments,
        keyframes=keyframes,
        pacing=_pacing(time_s, plan.idr_rows),
    )


def _pacing(time_s: NDArray[np.float64], idr_rows: NDArray[np.int64]) -> TsPacing:
    """Thin the packet times out to one point each `PACING_STEP_S`, first and last and points to begin at included."""
    count = len(time_s)
    steps = np.searchsorted(time_s, np.arange(0, time_s[-1], PACING_STEP_S))
    rows = np.unique(np.concatenate([[0], steps, idr_rows, [count]]))
    rate_end = time_s[-1] + (time_s[-1] - time_s[0]) / max(count - 1, 1)
    times = np.maximum.accumulate(np.maximum(np.append(time_s, rate_end), 0.0))[rows]
    times[0] = 0.0
    return TsPacing((rows * PACKET_BYTES).astype("<i8").tobytes(), times.astype("<f8").tobytes())
