"""Plan of a transport stream: which packet stands where, and when it leaves. Pure arithmetic on sizes and times.

Times are seconds from the lesson's start (npt 0); everything before it leaves at negative times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.ts_pacing import leaving_times, start_offset_s, taut_string
from media.ts_pack import NO_PCR, PAYLOAD_BYTES, packet_counts, pcr_rows
from wire.mpegts import PTS_HZ

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

PAT, PMT, AUDIO, VIDEO, CLOCK = range(5)
"""Kinds of packet; CLOCK is an adaptation-only packet with a PCR."""
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
    """What the first reading of the source found; ticks of 90 kHz from the lesson's start, one value a PES."""

    video_pes_bytes: Ints
    video_dts: Ints
    video_idr: Bools
    audio_pes_bytes: Ints
    audio_pts: Ints
    audio_ticks: Ints


@dataclass(frozen=True, slots=True)
class Plan:
    """The order of all packets and their times."""

    kinds: NDArray[np.uint8]
    """Kind of each packet in the order of the file."""
    leave_s: Floats
    """When it leaves, npt clock; never decreases."""
    has_pcr: Bools
    pcr_step: Ints
    """One a picture: every so many packets there is a PCR."""
    video_packets: Ints
    """One a picture."""
    audio_packets: Ints
    """One a sound PES."""
    idr_rows: Ints
    """Index of the PAT packet before each IDR."""


def _pcr_steps(sizes: Sizes) -> Ints:
    """Choose per GOP how many packets may pass between two PCRs: about 20 ms at the GOP's mean rate."""
    first = np.flatnonzero(sizes.video_idr)
    if first[0] != 0:
        first = np.concatenate([[0], first])
    ends = np.append(sizes.video_dts[first[1:]], sizes.video_dts[-1] + PTS_HZ // 25)
    seconds = np.maximum(ends - sizes.video_dts[first], 1) / PTS_HZ
    packets = np.add.reduceat(sizes.video_pes_bytes, first) / PAYLOAD_BYTES
    step = np.clip(0.02 * packets / seconds, 1, 64).astype(np.int64)
    return np.asarray(np.repeat(step, np.diff(np.append(first, len(sizes.video_idr)))), dtype=np.int64)


def _audio_times(sizes: Sizes, packets: Ints, idr_s: Floats) -> Floats:
    """Spread each sound PES over its own duration, whole ones only between two points to cut at."""
    end = sizes.audio_pts / PTS_HZ - AUDIO_MARGIN_S
    start = end - np.minimum(sizes.audio_ticks / PTS_HZ, 0.1)
    start = np.maximum(start, np.concatenate([start[:1], end[:-1]]))
    cut_before = -np.inf
    for cut in idr_s:  # a PES never straddles the PAT of an IDR: it and the one before move up evenly
        k = int(np.searchsorted(start, cut, side="left")) - 1
        if k >= 0 and start[k] < cut < end[k]:
            end[k] = cut
            if k and start[k - 1] >= cut_before:
                end[k - 1] = start[k] = min(start[k], (start[k - 1] + cut) / 2)
        cut_before = cut
    unit = np.repeat(np.arange(len(packets)), packets)
    place = np.arange(len(unit)) - (np.cumsum(packets) - packets)[unit]
    return np.asarray(start[unit] + (end - start)[unit] * place / packets[unit])


def _clock_times(pcr_s: Floats, begin_s: float, end_s: float) -> Floats:
    """Return when PCRs are missing between begin and end, so that no gap is longer than `PCR_EVERY_S`."""
    points = np.concatenate([pcr_s, [end_s]]) if not len(pcr_s) or end_s > pcr_s[-1] else pcr_s
    extra = []
    if points[0] > begin_s + 1e-6:
        points = np.concatenate([[begin_s], points])
        extra.append(np.array([begin_s]))
    gap = np.diff(points)
    more = np.maximum(np.ceil(gap / PCR_EVERY_S).astype(np.int64) - 1, 0)
    owner = np.repeat(np.arange(len(gap)), more)
    place = np.arange(len(owner)) - (np.cumsum(more) - more)[owner] + 1
    extra.append(points[owner] + gap[owner] * place / (more[owner] + 1))
    return np.concatenate(extra)


def make_plan(sizes: Sizes) -> Plan:
    """Order all packets of the file; see `media.ts_pacing` for the rule."""
    step = _pcr_steps(sizes)
    video = packet_counts(sizes.video_pes_bytes, step)
    audio = packet_counts(sizes.audio_pes_bytes, np.full(len(sizes.audio_pes_bytes), NO_PCR))
    dts_s = sizes.video_dts / PTS_HZ
    seconds = max(float(dts_s[-1] - dts_s[0]), 1.0)
    packets_per_s = float(audio.sum() + video.sum()) / seconds
    tables_every_s = float(np.clip(0.095 - 2.5 / packets_per_s, TABLES_EVERY_MIN_S, TABLES_EVERY_S))
    others = float(audio.sum()) / seconds + 2 / tables_every_s
    offset = start_offset_s(video, dts_s, others)
    deadline_s = dts_s - VIDEO_MARGIN_S
    video_s = leaving_times(taut_string(video, deadline_s - offset, deadline_s), int(video.sum()))
    idr_s = video_s[(np.cumsum(video) - video)[sizes.video_idr]]
    audio_s = _audio_times(sizes, audio, idr_s) if len(audio) else np.empty(0)
    begin = float(min(video_s[0], audio_s[0])) if len(audio_s) else float(video_s[0])
    end = float(max(video_s[-1], audio_s[-1])) if len(audio_s) else float(video_s[-1])
    own_tables = idr_s[0] <= begin
    tables_s = np.arange(begin + tables_every_s * own_tables, end, tables_every_s)
    video_pcr = pcr_rows(video, step)
    clock_s = _clock_times(video_s[video_pcr], begin, end)

    # at equal times this order holds: tables and sound first, then the tables of an IDR, then its picture
    times = np.concatenate([np.repeat(tables_s, 2), audio_s, clock_s, np.repeat(idr_s, 2), video_s])
    tables, idrs = np.tile([PAT, PMT], len(tables_s)), np.tile([PAT, PMT], len(idr_s))
    lengths = [len(tables), len(audio_s), len(clock_s), len(idrs), len(video_s)]
    kinds = np.concatenate(
        [tables, np.full(lengths[1], AUDIO), np.full(lengths[2], CLOCK), idrs, np.full(lengths[4], VIDEO)]
    ).astype(np.uint8)
    pcr = np.concatenate([np.zeros(lengths[0] + lengths[1], bool), np.ones(lengths[2], bool)])
    pcr = np.concatenate([pcr, np.zeros(lengths[3], bool), video_pcr])
    order = np.argsort(times, kind="stable")
    where = np.empty(len(order), dtype=np.int64)
    where[order] = np.arange(len(order))
    first_idr_row = sum(lengths[:3])
    return Plan(
        kinds=kinds[order],
        leave_s=times[order],
        has_pcr=pcr[order],
        pcr_step=step,
        video_packets=video,
        audio_packets=audio,
        idr_rows=where[first_idr_row : first_idr_row + len(idrs) : 2],
    )
