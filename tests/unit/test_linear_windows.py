"""A channel's airings as a file that nobody has written: bytes, times, places to begin at, and what follows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest

from edge_server.pacing.chunks import Chunks
from edge_server.pacing.framing import RAW
from edge_server.pacing.joined import Window, Windows
from media.ts_join import restamp
from tests.linear_lab import NOW, LinearLab, make_linear_lab
from tests.peers import tr101290
from wire.mpegts import parse_packet


def at_once(work: Callable[[], memoryview], done: Callable[[memoryview | OSError], None]) -> None:
    try:
        found: memoryview | OSError = work()
    except OSError as error:
        found = error
    done(found)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> LinearLab:
    return make_linear_lab(tmp_path_factory.mktemp("windows"))


@pytest.fixture
def chunks() -> Chunks:
    return Chunks(at_once, b"s" * 16)


@pytest.fixture
def windows(lab: LinearLab, chunks: Chunks) -> Windows:
    round_ = lab.round
    return Windows(lambda name: round_ if name == "900001" else None, lab.look, chunks, window_s=21.0)


def window_of(windows: Windows) -> Window:
    found = windows.at("900001", NOW)
    assert found is not None
    return found


def whole(window: Window, chunks: Chunks) -> bytes:
    source = window.source(chunks)
    try:
        found = [source.chunk(block, RAW) for block in range(len(window.timeline.packets.strides))]
    finally:
        source.close()
    return b"".join(each for each in found if each is not None)


def test_windows_are_the_airings_bytes_and_follow_one_another(lab: LinearLab, windows: Windows, chunks: Chunks) -> None:
    first = window_of(windows)
    second = windows.holding(first.round, first.following)
    assert second is not None
    assert second.first == first.following
    both = whole(first, chunks) + whole(second, chunks)
    stamped = bytearray()
    for number in range(first.first, second.following):
        data = lab.ts(first.round.airing(number).slot.item_id).read_bytes()
        stamped += restamp(data, first.round.place(number))
    assert both == stamped
    assert len(whole(first, chunks)) == first.timeline.length_bytes
    report = tr101290.check(both)
    assert {each.split(" ")[0] for each in report.wrong} <= {"1.6", "2.5"}  # of sound, which one lesson has not
    assert all("0x101" in each for each in report.wrong)
    assert report.time_bases == 1


def test_the_clock_of_a_window_grows_and_ends_where_the_next_one_begins(windows: Windows) -> None:
    window = window_of(windows)
    line = window.timeline
    assert np.all(np.diff(line.offset_bytes) > 0)
    assert np.all(np.diff(line.time_s) >= 0)
    second = windows.holding(window.round, window.following)
    assert second is not None
    apart_s = (second.begins_ticks - window.begins_ticks) / 90_000
    assert line.time_s[-1] == pytest.approx(apart_s - second.timeline.delay_s + line.delay_s)
    assert line.duration_s == pytest.approx(apart_s)


def test_who_begins_anywhere_begins_with_tables_and_sees_what_is_on(windows: Windows, chunks: Chunks) -> None:
    window = window_of(windows)
    stream = whole(window, chunks)
    for tenth in range(10):
        wanted_s = window.timeline.duration_s * tenth / 10
        npt_s, offset = window.seek(wanted_s)
        assert npt_s <= wanted_s + 0.05 < npt_s + 2.2
        assert parse_packet(stream[offset : offset + 188]).pid == 0
        assert window.timeline.npt_at(offset) <= npt_s + 0.1
        preamble = window.preamble(offset)
        assert preamble
        marked = {packet.pid: packet for packet in map(parse_packet, _packets(preamble))}
        for packet in map(parse_packet, _packets(stream[offset : offset + 188 * 400])):
            if packet.pid in marked and packet.has_payload:
                assert (marked.pop(packet.pid).continuity + 1) & 15 == packet.continuity
    assert window.preamble(188 * 3) == b""


def _packets(data: bytes) -> list[bytes]:
    return [data[at : at + 188] for at in range(0, len(data) // 188 * 188, 188)]


def test_everybody_gets_the_same_window(windows: Windows) -> None:
    window = window_of(windows)
    assert windows.at("900001", NOW + timedelta(seconds=1)) in (window, windows.holding(window.round, window.following))
    assert windows.holding(window.round, window.first) is window
    assert windows.at("7", NOW) is None
    assert window.seek(window.npt_of(NOW))[0] <= window.npt_of(NOW)


def test_a_lesson_that_is_gone_ends_the_channel_not_the_server(lab: LinearLab, chunks: Chunks) -> None:
    round_ = lab.round
    assert Windows(lambda _: round_, lambda item_id, version: None, chunks).at("900001", NOW) is None
