"""Fast forward and rewind, judged by a decoder that is not ours, and packet by packet by our reader."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from edge_server.pacing.chunks import Chunks
from edge_server.pacing.framing import RAW
from edge_server.pacing.winding import Wound, WoundSource
from media.ts_index import TsIndex
from media.ts_mux import mux_ts
from media.ts_winding import PICTURE_MIN_S, Restamper, Winding
from tests.peers.tr101290 import check
from tests.unit.test_ts_mux import make_lesson
from wire.mpegts import PCR_HZ, ContinuityMeter, parse_packet, parse_pes_header

SECONDS = 40
SPARSE = ("2.5 PTS_error", "1.6 PID_error: 0x101 never comes")
"""What winding cannot do: pictures more often than there are key pictures, and sound."""


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TsIndex]:
    root = tmp_path_factory.mktemp("winding")
    mp4 = make_lesson(root / "a.mp4", seconds=SECONDS)
    return root / "a.ts", mux_ts(mp4, root / "a.ts")


def wound(file: Path, winding: Winding) -> bytes:
    raw = file.read_bytes()
    made = Restamper(winding, lambda length, offset: raw[offset : offset + length])
    return b"".join(made.slot(number) for number in range(len(winding.slots)))


@pytest.mark.parametrize("scale", [2.0, 4.0, 8.0, 16.0, 32.0, -1.0, -2.0, -8.0, -32.0])
@pytest.mark.parametrize("from_s", [0.0, 21.0, 39.9])
def test_it_is_a_transport_stream_of_its_own(lesson: tuple[Path, TsIndex], scale: float, from_s: float) -> None:
    file, index = lesson
    winding = Winding(index, from_s, scale)
    stream = wound(file, winding)
    assert len(stream) == winding.length_bytes == winding.offset_bytes[-1]
    meter = ContinuityMeter()
    meter.feed(winding.preamble() + stream)
    assert meter.continuity_errors == 0 and meter.sync_errors == 0
    packets = [parse_packet(stream[at : at + 188]) for at in range(0, len(stream), 188)]
    clocks = [(at * 188, each.pcr) for at, each in enumerate(packets) if each.pcr is not None]
    for (_, first), (_, second) in pairwise(clocks):
        assert 0 < second - first <= 0.1 * PCR_HZ, "ISO/IEC 13818-1 §2.7.2"
    judged = check(stream)
    said = [each for each in judged.wrong if not each.startswith(SPARSE)]
    assert said == [] and judged.pcr_gap_max_s <= 0.040 and judged.time_bases == 1
    zero = winding.pcr_27mhz(0)
    for at, pcr in clocks:
        due_s = float(np.interp(at, winding.offset_bytes, winding.time_s))
        assert abs((pcr - zero) / PCR_HZ - due_s) < 0.002, "the clock is what the pacer goes by"
    heads = [parse_pes_header(each.payload) for each in packets if each.unit_start and each.pid == index.pcr_pid]
    assert len(heads) == len(winding.slots)
    for slot, head in zip(winding.slots, heads, strict=True):
        assert head.pts is not None and head.dts in (None, head.pts) and not head.deviations
        shown_s = head.pts / 90_000 - zero / PCR_HZ
        assert shown_s == pytest.approx(slot.begin_s + winding.delay_s, abs=1e-3)
        assert shown_s > slot.begin_s + slot.send_s, "it has come before it is shown"


@pytest.mark.parametrize(("scale", "from_s"), [(4.0, 0.0), (-8.0, 39.0), (32.0, 5.0)])
def test_a_decoder_sees_the_key_pictures_in_their_time(
    lesson: tuple[Path, TsIndex], scale: float, from_s: float
) -> None:
    file, index = lesson
    winding = Winding(index, from_s, scale)
    with av.open(str(file)) as whole:
        keys = {
            round(frame.time - 3.0, 2): frame.to_ndarray(format="gray")
            for frame in whole.decode(video=0)
            if frame.key_frame
        }
    with av.open(io.BytesIO(wound(file, winding)), format="mpegts") as seen:
        frames = list(seen.decode(video=0))
    assert len(frames) == len(winding.slots)
    for slot, frame in zip(winding.slots, frames, strict=True):
        assert np.array_equal(frame.to_ndarray(format="gray"), keys[round(slot.key.time_s, 2)])
    times = [frame.time for frame in frames]
    assert all(later - earlier >= PICTURE_MIN_S - 0.01 for earlier, later in pairwise(times))
    covered = (winding.slots[-1].key.time_s - winding.slots[0].key.time_s) / scale
    assert times[-1] - times[0] == pytest.approx(covered, abs=0.01), "so many seconds of the lesson a second"


def test_blocks_are_made_in_order_by_other_hands(lesson: tuple[Path, TsIndex]) -> None:
    file, index = lesson
    waiting: list[tuple[object, object]] = []
    chunks = Chunks(lambda work, done: waiting.append((work, done)), b"secret")
    moving = Wound(Winding(index, 0.0, 4.0))
    source = chunks.open(file, moving.timeline.packets)
    supply = WoundSource(moving, source, chunks.hands)
    found = []
    for block in range(len(supply.packets.strides)):
        while (chunk := supply.chunk(block, RAW)) is None:
            assert len(waiting) == 1, "one at a time"
            work, done = waiting.pop()
            done(work())  # type: ignore[operator]
        found.append(bytes(chunk))
    while waiting:
        work, done = waiting.pop()
        done(work())  # type: ignore[operator]
    assert b"".join(found) == wound(file, moving.winding)
    source.close()
    assert not chunks._sources, "the lease is given back"


def test_standing_still_is_no_speed(lesson: tuple[Path, TsIndex]) -> None:
    with pytest.raises(ValueError, match="scale"):
        Winding(lesson[1], 0.0, 0.0)
