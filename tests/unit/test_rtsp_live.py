"""Linear channels by RTSP: addresses, where a viewer begins, what a range means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge_server.egress.rtsp.address import Air, parse_address
from edge_server.egress.rtsp.playing import BadRange, Place, plan, write_span
from edge_server.pacing.chunks import Chunks
from edge_server.pacing.joined import Tuned, Windows
from edge_server.pacing.stream import Stream
from tests.linear_lab import NOW, LinearLab, make_linear_lab
from tests.unit.test_linear_windows import at_once
from wire.playseek import Playseek

NOW_S = 5000.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> LinearLab:
    return make_linear_lab(tmp_path_factory.mktemp("rtsp"))


@pytest.fixture
def windows(lab: LinearLab) -> Windows:
    round_ = lab.round
    return Windows(lambda _: round_, lab.look, Chunks(at_once, b"s" * 16), window_s=3600.0)


def tuned(windows: Windows, span: Playseek | None = None) -> Tuned:
    found = windows.tune("900001", span, NOW, NOW_S)
    assert found is not None
    return found


def place_of(title: Tuned, now_s: float = NOW_S) -> Place:
    stream = Stream(title.timeline, rtp=False, ssrc=0, sequence=0, timestamp=0, now=now_s)
    return Place(title, stream, None, 0.0, now_s)


def test_addresses_name_channels_live_and_spans() -> None:
    base = "rtsp://192.0.2.1:8554/live/900001.mpg"
    for url in (base, base + "/", base + "/trackID=1"):
        found = parse_address(url)
        assert found is not None
        assert (found.item_id, found.air) == ("900001", Air())
    span = Playseek(datetime(2026, 11, 24, 8, tzinfo=UTC), datetime(2026, 11, 24, 8, 30, tzinfo=UTC))
    found = parse_address(base + "?playseek=20261124080000-20261124083000/trackID=1")
    assert found is not None
    assert found.air == Air(span)
    assert parse_address(base + "?playseek=yesterday") is None
    lesson = parse_address("rtsp://192.0.2.1:8554/vod/1.mpg")
    assert lesson is not None
    assert lesson.air is None


@pytest.mark.parametrize("value", [None, "npt=0.000-", "npt=beginning-", "npt=now-", "npt=7-", "clock=end-"])
def test_who_begins_live_begins_now(windows: Windows, value: str | None) -> None:
    """Whatever a player calls the beginning of what has none; the key picture before is at most a GOP away."""
    title = tuned(windows)
    move = plan(value, 1.0, place_of(title))
    assert move is not None
    at = title.airtime.zero + timedelta(seconds=move.start_s)
    assert timedelta(0) <= NOW - at < timedelta(seconds=2.2)
    assert write_span(cast(Any, title), move.start_s).startswith("clock=20261124T0800")


def test_later_means_later_and_pause_goes_on_where_it_was(windows: Windows) -> None:
    title = tuned(windows)
    place = place_of(title, NOW_S + 100)
    move = plan(None, 1.0, place)
    assert move is not None
    assert abs((title.airtime.zero + timedelta(seconds=move.start_s) - NOW).total_seconds() - 100) < 2.2
    place.stream.play(move.offset_bytes, NOW_S + 100)
    place.stream.pause()
    again = plan("npt=now-", 1.0, Place(title, place.stream, None, move.start_s, NOW_S + 500))
    assert again is not None
    assert again.offset_bytes == move.offset_bytes


def test_time_shift_by_clock(windows: Windows) -> None:
    title = tuned(windows)
    move = plan("clock=20261124T070000.00Z-", 1.0, place_of(title))
    assert move is not None
    at = title.airtime.zero + timedelta(seconds=move.start_s)
    assert timedelta(0) <= NOW - timedelta(hours=1, seconds=3) - at < timedelta(seconds=2.2)
    future = plan("clock=20261124T090000.00Z-", 1.0, place_of(title))
    assert future is not None
    assert title.airtime.zero + timedelta(seconds=future.start_s) <= NOW
    with pytest.raises(BadRange):
        plan("clock=20261120T070000.00Z-", 1.0, place_of(title))


def test_a_span_plays_as_a_lesson_does_and_ends(windows: Windows) -> None:
    since, until = NOW - timedelta(minutes=30), NOW - timedelta(minutes=29)
    title = tuned(windows, Playseek(since, until))
    assert title.timeline.duration_s == pytest.approx(60.0)
    move = plan("npt=0-", 1.0, place_of(title))
    assert move is not None
    assert move.start_s == 0.0
    later = plan("npt=30-", 1.0, place_of(title))
    assert later is not None
    assert 27.8 < later.start_s <= 30.05
    by_clock = plan("clock=20261124T073033.00Z-", 1.0, place_of(title))
    assert by_clock is not None
    assert by_clock.offset_bytes == later.offset_bytes
    end_s = title.timeline.time_at(title.timeline.length_bytes) - title.timeline.delay_s
    assert 60.0 <= end_s + title.timeline.delay_s < 64.0 + title.timeline.delay_s
    assert write_span(cast(Any, title), 0.0, 60.0) == "npt=0.000-60.000"


def test_spans_of_the_future_and_of_long_ago_are_not_offered(windows: Windows) -> None:
    for since in (NOW, NOW - timedelta(days=8)):
        assert windows.tune("900001", Playseek(since, None), NOW, NOW_S) is None


def test_a_lesson_keeps_its_seconds() -> None:
    assert write_span(cast(Any, SimpleNamespace(airtime=None)), 1.0, 2.0) == "npt=1.000-2.000"
