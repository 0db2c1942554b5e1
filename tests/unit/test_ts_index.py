"""Index of a transport stream: seek, pacing, save and load, damage."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from media import DamagedIndex
from media.ts_index import TsIndex, TsKeyframe, TsPacing, TsSegment


def make_index(**changes) -> TsIndex:
    """Ten seconds: 1000 packets in the first five, 500 in the rest; three points to begin at."""
    offsets = np.array([0, 500, 1000, 1500], "<i8") * 188
    times = np.array([0.0, 2.5, 5.0, 10.0], "<f8")
    values = dict(
        duration_s=9.8,
        length_bytes=1500 * 188,
        presentation_delay_s=0.4,
        pcr_pid=0x100,
        segments=(TsSegment(0.0, 6.0, 0, 1100 * 188), TsSegment(6.0, 3.8, 1100 * 188, 400 * 188)),
        keyframes=(
            TsKeyframe(0.0, 0, 0.0, 27_000_000, {0: 0, 0x100: 0}, 90 * 188, 126_000),
            TsKeyframe(4.0, 800 * 188, 4.0, 5 * 27_000_000, {0: 8, 0x100: 3}, 80 * 188, 486_000),
            TsKeyframe(6.0, 1100 * 188, 6.0, 7 * 27_000_000, {0: 1, 0x100: 9}, 70 * 188, 666_000),
        ),
        pacing=TsPacing(offsets.tobytes(), times.tobytes()),
    )
    return TsIndex(**(values | changes))


@pytest.mark.parametrize(
    ("npt", "want"), [(-1, 0.0), (0, 0.0), (3.99, 0.0), (4.0, 4.0), (5.999, 4.0), (6.0, 6.0), (1e9, 6.0)]
)
def test_seek_goes_to_the_keyframe_before(npt, want):
    index = make_index()
    time_s, offset = index.seek(npt)
    assert time_s == want
    assert offset == index.keyframe_at(npt).offset_bytes


def test_due_bytes_follow_the_clock_of_the_stream():
    index = make_index()
    assert index.due_bytes(0.0) == 0
    assert index.due_bytes(1.0) == 200 * 188
    assert index.due_bytes(7.0) == 1200 * 188
    assert index.due_bytes(1.0, since_offset=800 * 188) == 200 * 188
    assert index.due_bytes(2.0, since_offset=800 * 188) == 300 * 188
    assert index.due_bytes(100.0, since_offset=800 * 188) == 700 * 188


def test_due_bytes_are_whole_packets_and_never_shrink():
    index = make_index()
    due = [index.due_bytes(t, 800 * 188) for t in np.arange(0, 7, 0.013)]
    assert all(each % 188 == 0 for each in due) and due == sorted(due)


def test_npt_of_a_position():
    index = make_index()
    assert index.npt_at(0) == 0.0
    assert index.npt_at(1000 * 188) == pytest.approx(4.6)
    assert index.npt_at(1500 * 188) == pytest.approx(9.6)
    assert index.pcr_27mhz_at(500 * 188) == pytest.approx(27_000_000 * 3.5)


def test_save_and_load(tmp_path):
    index = make_index()
    index.save(tmp_path / "i")
    assert TsIndex.load(tmp_path / "i") == index


def test_every_cut_is_refused(tmp_path):
    path = tmp_path / "i"
    make_index().save(path)
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(DamagedIndex):
            TsIndex.load(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1},
        {"format": "something else"},
        {"segments": ()},
        {"keyframes": ()},
        {"length_bytes": 1501 * 188},
        {"segments": (TsSegment(0.0, 9.8, 188, 1499 * 188),)},
        {"pacing": TsPacing(b"", b"")},
        {"pacing": TsPacing(b"\0" * 16, b"\0" * 24)},
        {"pacing": TsPacing(np.array([0, 282000, 282000], "<i8").tobytes(), np.array([0.0, 1, 2], "<f8").tobytes())},
        {"pacing": TsPacing(np.array([0, 282000], "<i8").tobytes(), np.array([2.0, 1], "<f8").tobytes())},
    ],
)
def test_values_that_cannot_be_are_refused(tmp_path, changes):
    path = tmp_path / "i"
    make_index(**changes).save(path)
    with pytest.raises(DamagedIndex, match="make it again"):
        TsIndex.load(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "i"
    for data in (b"", b"\x47" * 188, msgspec.msgpack.encode({"format": "x"}), msgspec.json.encode(make_index())):
        path.write_bytes(data)
        with pytest.raises(DamagedIndex):
            TsIndex.load(path)
