"""A channel by RTSP has no end: titles follow one another, and winding has edges."""

from __future__ import annotations

import struct
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from edge_server.egress.rtsp.onward import gone_on
from edge_server.egress.rtsp.playing import Place, plan
from edge_server.egress.rtsp.session import CLOSE_AFTER_END_S, REPEAT_NOTICE_S, Session
from edge_server.egress.rtsp.words import Ended, Follow, Found, Onward, Start, Stop, Tick, Wind
from edge_server.pacing.chunks import Chunks
from edge_server.pacing.framing import Frame
from edge_server.pacing.joined import Airtime, Tuned, Windows
from edge_server.pacing.sink import Sink
from edge_server.pacing.stream import Stream
from media.ts_winding import Restamper
from tests.linear_lab import NOW, LinearLab, make_linear_lab
from tests.peers import tr101290
from tests.unit.test_linear_windows import at_once
from tests.unit.test_rtsp_conversation import Dialogue, kinds, messages
from wire.playseek import Playseek

pytestmark = pytest.mark.timeout(60)
NOW_S = 1000.0
URL = "rtsp://192.0.2.1:8554/live/900001.mpg"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> LinearLab:
    return make_linear_lab(tmp_path_factory.mktemp("onward"))


@pytest.fixture
def chunks() -> Chunks:
    return Chunks(at_once, b"s" * 16)


@pytest.fixture
def windows(lab: LinearLab, chunks: Chunks) -> Windows:
    round_ = lab.round
    return Windows(lambda _: round_, lab.look, chunks, window_s=3600.0)


def tuned(windows: Windows, now_s: float = NOW_S) -> Tuned:
    found = windows.tune("900001", None, NOW, now_s)
    assert found is not None
    return found


class Kept(Sink):
    """Keeps every packet."""

    def __init__(self, title: Tuned, stream: Stream, chunks: Chunks) -> None:
        super().__init__(title.source(chunks), stream, Frame(rtp=True), title.preamble, self.over)
        self.packets: list[bytes] = []
        self.ends = 0

    def over(self) -> None:
        self.ends += 1

    def send(self, run: memoryview, width_bytes: int, count: int) -> int:
        self.packets += [bytes(run[at : at + width_bytes]) for at in range(0, len(run), width_bytes)]
        return count

    def send_extra(self, packet: memoryview) -> None:
        raise AssertionError("a jump")

    def send_control(self, packet: bytes) -> None:
        pass


def test_a_viewer_gets_one_stream_over_the_end_of_a_title(windows: Windows, chunks: Chunks) -> None:
    """Numbers, clock, counters and pace: all go on; the next title reaches as far back as the first did."""
    title = tuned(windows)
    line = title.timeline
    begin = title.seek(line.duration_s - 8)[1]
    stream = Stream(line, rtp=True, ssrc=1, sequence=2, timestamp=3, now=NOW_S)
    session = Session("s", cast(Any, title), cast(Any, SimpleNamespace(rtp=True)), stream, URL, 0)
    sink, now, followed_at = Kept(title, stream, chunks), NOW_S, 0.0
    stream.play(begin, now)
    stream.endless = session.live
    while now < NOW_S + 20:
        sink.pump(now, 0.0)
        if sink.ends and not followed_at:
            followed_at, end_at = now, stream.end_at
            assert end_at > now, "before the clock is there, so that nothing stands still"
            later = title.airtime.zero + timedelta(seconds=line.duration_s)
            found, at = windows.onward(title, later, NOW_S + 8)
            assert found is not None and at is not None
            (follow,) = gone_on(session, Found(cast(Any, found), at), now)
            assert follow == Follow("s", cast(Any, found))
            sink.follow(found.source(chunks), found.preamble)
        now += 0.025
    assert followed_at
    heads = [struct.unpack(">BBHII", each[:12]) for each in sink.packets]
    assert len({head[4] for head in heads}) == 1
    assert {int(step) for step in np.diff([head[2] for head in heads]) & 0xFFFF} == {1}
    stamps = np.diff([head[3] for head in heads]).astype(np.int64) & 0xFFFFFFFF
    assert stamps.max() < 90_000 * 0.5
    report = tr101290.check(b"".join(each[12:] for each in sink.packets))
    assert {each.split(" ")[0] for each in report.wrong} <= {"1.6", "2.5"}  # of sound, which one lesson has not
    assert report.time_bases == 1
    assert stream.slips == 0
    assert session.title is cast(Any, found)
    assert abs(session.npt_s(now) - (found.timeline.npt_at(at) + now - end_at + found.timeline.delay_s)) < 1.0
    reaches = later - found.airtime.zero
    assert timedelta(hours=2) <= reaches < timedelta(hours=3.2)
    sink.close()


@pytest.mark.parametrize("window_s", [10.0, 40.0, 3600.0])
def test_a_title_has_what_is_on_however_long_lessons_are(lab: LinearLab, chunks: Chunks, window_s: float) -> None:
    round_ = lab.round
    windows = Windows(lambda _: round_, lab.look, chunks, window_s=window_s)
    title = tuned(windows)
    on = (NOW - title.airtime.zero).total_seconds()
    assert 7200 <= on < title.timeline.duration_s - 3 * 3600 + 30
    found, at = windows.onward(title, NOW, NOW_S)
    assert found is not None and at is not None
    assert found.window.round.airing(title.window.following).begins_ticks == title.window.begins_ticks + round(
        title.timeline.duration_s * 90_000
    )
    assert found.preamble(at), "somebody may begin there"


def test_a_channel_that_has_become_another_one_goes_on_with_what_is_on(lab: LinearLab, chunks: Chunks) -> None:
    rounds = [lab.round]
    windows = Windows(lambda _: rounds[-1] if rounds else None, lab.look, chunks, window_s=3600.0)
    title = tuned(windows)
    rounds.append(lab.round)
    found, at = windows.onward(title, NOW, NOW_S)
    assert found is not None and found.window.round is rounds[-1] and at is None
    rounds.clear()
    assert windows.onward(title, NOW, NOW_S) == (None, None)


def place_of(title: Tuned, npt_s: float = 0.0, now_s: float = NOW_S) -> Place:
    stream = Stream(title.timeline, rtp=False, ssrc=0, sequence=0, timestamp=0, now=now_s)
    return Place(cast(Any, title), stream, None, npt_s, now_s)


@pytest.mark.parametrize(("scale", "start"), [(32.0, "070003"), (-32.0, "073003")])
def test_key_pictures_of_all_lessons_are_a_legal_stream(windows: Windows, scale: float, start: str) -> None:
    title = tuned(windows)
    move = plan(f"clock=20261124T{start}.00Z-", scale, place_of(title))
    assert move is not None and move.wound is not None
    latest_s = (NOW - title.airtime.zero).total_seconds()
    assert move.end_s == pytest.approx(latest_s if scale > 0 else 0.0)
    winding = cast(Any, move.wound).winding
    made = Restamper(winding, lambda length, offset: title.window.read(offset, length))
    slots = range(min(120, len(winding.slots)))
    stream = b"".join(made.slot(number) for number in slots)
    report = tr101290.check(stream)
    assert {each.split(" ")[0] for each in report.wrong} <= {"1.6", "2.5"}  # one lesson has no sound
    assert report.time_bases == 1
    steps = np.diff([winding.slots[number].key.time_s for number in slots])
    assert np.all(steps > 0) if scale > 0 else np.all(steps < 0)
    assert abs(np.mean(steps) / np.mean([winding.slots[number].span_s for number in slots]) - scale) < 1.5


def test_nobody_is_faster_than_what_is_on(windows: Windows) -> None:
    title = tuned(windows)
    latest_s = (NOW - title.airtime.zero).total_seconds()
    move = plan("npt=now-", 4.0, place_of(title, latest_s - 1))
    assert move is not None and move.wound is None
    back = plan("npt=now-begin", -4.0, place_of(title))
    assert back is not None and back.wound is not None
    assert latest_s - 2.2 < back.start_s <= latest_s


def test_a_span_is_wound_within_itself(windows: Windows) -> None:
    since, until = NOW - timedelta(minutes=30), NOW - timedelta(minutes=25)
    title = windows.tune("900001", Playseek(since, until), NOW, NOW_S)
    assert title is not None
    forward = plan("npt=60-", 8.0, place_of(title))
    assert forward is not None and forward.wound is not None
    assert forward.end_s == pytest.approx(300.0)
    keys = [each.key.time_s for each in cast(Any, forward.wound).winding.slots]
    assert 57.5 < keys[0] <= 60.0 and keys[-1] <= 300.0
    back = plan("npt=60-", -8.0, place_of(title))
    assert back is not None and back.wound is not None and back.end_s == 0.0
    keys = [each.key.time_s for each in cast(Any, back.wound).winding.slots]
    assert keys[-1] < 8.0 and len(set(keys)) == len(keys)


class Channel(Dialogue):
    """A conversation about a channel; what comes then is as the test says."""

    def __init__(self, windows: Windows) -> None:
        super().__init__()
        self.title = tuned(windows, self.now)
        self.titles = {("900001", "R12"): cast(Any, self.title)}
        self.next: Found = Found(None)
        self.session = self.setup(url=f"{URL}/trackID=1")

    def tell(self, event: object) -> Any:
        done = super().tell(event)
        asked = [each for each in done if isinstance(each, Onward)]
        if not asked:
            return done
        self.asked = asked[-1]
        more = super().tell(self.next)
        self.done = [*[each for each in done if each not in asked], *more]
        return self.done

    def play(self, *lines: str) -> Any:
        return self.ask("PLAY", f"Session: {self.session}", *lines, url=URL)

    def notices(self) -> list[str | None]:
        return [each.headers.get("x-notice") for each in messages(self.done)]  # type: ignore[attr-defined]


def test_the_end_of_a_title_is_no_end(windows: Windows) -> None:
    talk = Channel(windows)
    talk.play()
    found, at = windows.onward(talk.title, NOW + timedelta(hours=5), talk.now)
    talk.next = Found(cast(Any, found), at)
    assert talk.tell(Ended(talk.session)) == [Follow(talk.session, cast(Any, found))]
    assert talk.open[0].stream.playing
    talk.next = Found(None)
    assert kinds(talk.tell(Ended(talk.session)))[0] is Stop, "a channel that is gone ends as a lesson does"
    assert talk.notices() == ["2101"]
    talk.now += REPEAT_NOTICE_S
    talk.tell(Tick())
    talk.now += CLOSE_AFTER_END_S
    assert talk.tell(Tick()), "and the connection with it"


def test_winding_up_to_now_and_back_to_the_edge_is_told_and_the_session_stays(windows: Windows) -> None:
    talk = Channel(windows)
    talk.play("Range: clock=20261124T070000.00Z-", "Scale: 16")
    assert kinds(talk.done)[1:] == [Wind, Start]
    for scale, notice in (("16", "2101"), ("-32", "2102")):
        talk.play("Scale: " + scale, "Range: clock=20261124T070000.00Z-")
        assert talk.tell(Ended(talk.session))[0] == Stop(talk.session)
        assert talk.notices() == [notice]
        talk.now += REPEAT_NOTICE_S
        talk.tell(Tick())
        talk.now += CLOSE_AFTER_END_S
        assert talk.tell(Tick()) == []
        answer = talk.play("Scale: 1")
        assert answer.status == 200 and answer.headers.get("Scale") == "1"
        began = answer.headers.get("Range")
        assert began.startswith("clock=20261124T0800" if notice == "2101" else "clock=20261124T0"), began


def test_after_a_pause_of_hours_now_is_still_there(windows: Windows) -> None:
    talk = Channel(windows)
    talk.play()
    talk.ask("PAUSE", f"Session: {talk.session}", url=URL)
    hours = talk.title.timeline.duration_s
    talk.now += hours
    later = windows.tune("900001", None, NOW + timedelta(seconds=hours), talk.now)
    talk.next = Found(cast(Any, later))
    talk.viewings.seen(talk.session, talk.now)
    assert talk.play().status == 200, "who goes on where the pause began needs nothing new"
    answer = talk.play("Range: clock=end-")
    assert talk.asked == Onward(cast(Any, talk.title), now=True)
    assert answer.status == 200
    assert later is not None
    assert kinds(talk.done)[0] is Follow
    wanted = NOW + timedelta(seconds=hours)
    assert (answer.headers.get("Range") or "")[:21] in {
        f"clock={wanted - timedelta(seconds=back):%Y%m%dT%H%M%S}" for back in range(4)
    }


def test_air_knows_what_is_on() -> None:
    assert Airtime(NOW).latest_s(5.0) is None
    assert Airtime(NOW, 2.0).latest_s(5.0) == 3.0
