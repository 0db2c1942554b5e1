"""The RTSP conversation as a dialogue: `ask` is what the box sends, the assertions are what it must hear."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pytest

from edge_server.egress.rtsp.address import Address, parse_address
from edge_server.egress.rtsp.conversation import (
    CLOSE_AFTER_END_S,
    REPEAT_NOTICE_S,
    SESSIONS_MAX_COUNT,
    Conversation,
)
from edge_server.egress.rtsp.negotiate import choose
from edge_server.egress.rtsp.playing import speed
from edge_server.egress.rtsp.rules import IDLE_S, Rules
from edge_server.egress.rtsp.words import (
    Close,
    Command,
    Draining,
    Ended,
    Found,
    Hangup,
    Heard,
    Look,
    Lost,
    NotOpened,
    Open,
    Opened,
    Send,
    Start,
    Stop,
    Stuck,
    Tick,
    Unreadable,
    Wind,
)
from edge_server.pacing.joined import Airtime
from edge_server.pacing.timeline import Timeline
from edge_server.sessions.viewing import Viewings
from wire.rtsp import Interleaved, Reader, Request, Response, parse_transport
from wire.sdp import parse as parse_sdp

URL = "rtsp://192.0.2.1:8554/vod/7.mpg"
TCP = "Transport: MP2T/TCP;unicast;interleaved=0-1"
UDP = "Transport: MP2T/RTP/UDP;unicast;client_port=40000-40001"
LENGTH = 188 * 6000
NUMBERS = itertools.count(1)
"""For session ids and the like: never the same twice."""


@dataclass(frozen=True)
class Lesson:
    """A minute of an even rate, a key frame every ten seconds, shown half a second after its bytes."""

    item_id: str = "7"
    name: str = "安全\r\n用电"
    timeline: Timeline = field(
        default_factory=lambda: Timeline(np.array([0, LENGTH]), np.array([0.0, 60.0]), LENGTH, 59.5, 0.5)
    )

    zero_s: float = 3.0

    def seek(self, npt_s: float) -> tuple[float, int]:
        at = npt_s // 10 * 10
        return at, int(at / 60 * LENGTH) // 188 * 188

    @property
    def airtime(self) -> Airtime | None:
        return None

    def wind(self, from_s: float, scale: float, until_s: float | None = None) -> Reel:
        return Reel(self.seek(from_s)[0], scale)


@dataclass(frozen=True)
class Reel:
    """A packet a second, shown at once."""

    start_s: float
    scale: float

    @property
    def end_s(self) -> float:
        return 59.5 if self.scale > 0 else 0.0

    @cached_property
    def timeline(self) -> Timeline:
        seconds = abs(self.end_s - self.start_s) / abs(self.scale) or 1.0
        length = 188 * 7 * (1 + int(seconds))
        return Timeline(np.array([0, length]), np.array([0.0, seconds]), length, seconds, private=True)

    def npt_at(self, shown_s: float) -> float:
        return round(self.start_s + self.scale * shown_s, 3)


class Dialogue:
    """A conversation with a driver that only notes; titles and ports are as the test says."""

    def __init__(self, viewings: Viewings | None = None, rules: Rules | None = None) -> None:
        self.viewings = Viewings(timeout_s=180.0) if viewings is None else viewings
        self.counters: Counter[str] = Counter()
        self.now = 1000.0
        self.talk = Conversation(
            rules or Rules("EdgeServer"),
            self.viewings,
            lambda bits: next(NUMBERS),
            box="10.0.0.9",
            host="192.0.2.1",
            now=self.now,
            counters=self.counters,
        )
        self.titles = {("7", "R12"): Lesson(), ("7", "R40"): Lesson(name="sharp")}
        self.opens: object = None
        self.done: list[Command] = []
        self.open: list[Open] = []
        self.cseq = 0

    def tell(self, event: object) -> list[Command]:
        """Give an event; answer Look and Open as a driver must; return all other commands in order."""
        found: list[Command] = []
        todo = list(self.talk.handle(event, self.now))  # type: ignore[arg-type]
        while todo:
            command = todo.pop(0)
            if isinstance(command, Look):
                title = self.titles.get((command.item_id, command.rendition))
                todo = self.talk.handle(Found(title), self.now) + todo
            elif isinstance(command, Open):
                self.open.append(command)
                ports = None if command.link.channels else (50000, 50001)
                answer = self.opens or Opened(ports)
                todo = self.talk.handle(answer, self.now) + todo  # type: ignore[arg-type]
            else:
                found.append(command)
        self.done = found
        return found

    def ask(self, method: str, *lines: str, url: str = URL, body: str = "") -> Response:
        self.cseq += 1
        length = [f"Content-Length: {len(body)}"] if body else []
        text = "\r\n".join([f"{method} {url} RTSP/1.0", f"CSeq: {self.cseq}", *lines, *length, "", body])
        (request,) = Reader().feed(text.encode())
        found = messages(self.tell(request))
        answers = [each for each in found if isinstance(each, Response)]
        assert len(answers) == 1 and answers[0].headers.get("CSeq") == str(self.cseq)
        return answers[0]

    def setup(self, transport: str = TCP, *lines: str, url: str = URL + "/trackID=1") -> str:
        answer = self.ask("SETUP", transport, *lines, url=url)
        assert answer.status == 200, answer
        return (answer.headers.get("Session") or "").partition(";")[0]


def messages(commands: list[Command]) -> list[object]:
    reader = Reader()
    return [message for each in commands if isinstance(each, Send) for message in reader.feed(each.data)]


def kinds(commands: list[Command]) -> list[type]:
    return [type(each) for each in commands]


# Families, neighbours, limits


@pytest.mark.parametrize(
    ("agent", "banner"),
    [("HUAWEI", "HMS_V1R2"), ("HW_STB; CTC/2.0", "HMS_V1R2"), ("CTC/2.0", "EdgeServer"),
     ("ZTE Ltd.co RTSP protocal verion 1.0 guid-7", "ZMSS_ChinaTelcom2.2"), ("", "EdgeServer")],
)  # fmt: skip
def test_a_box_is_met_by_its_own_kinds_name_only_where_the_station_says_so(agent: str, banner: str) -> None:
    talk = Dialogue(rules=Rules("EdgeServer", vendor_banners=True))
    assert talk.ask("OPTIONS", f"User-Agent: {agent}").headers.get("Server") == banner
    assert talk.ask("OPTIONS").headers.get("Server") == banner, "it said so before"
    assert Dialogue().ask("OPTIONS", f"User-Agent: {agent}").headers.get("Server") == "EdgeServer"


def test_absolute_time_is_refused_in_the_way_that_the_family_knows() -> None:
    for agent, status in (("ZTE Ltd.co", 455), ("HUAWEI", 457), ("CTC/2.0", 457)):
        talk = Dialogue()
        session = talk.setup()
        clock = ("Range: clock=20260101T000000.00Z-", f"User-Agent: {agent}")
        assert talk.ask("PLAY", f"Session: {session}", *clock).status == status


def test_whom_we_have_no_place_for_the_neighbour_gets_and_never_sends_back() -> None:
    rules, viewings = Rules("EdgeServer", neighbour="rtsp://192.0.2.2:8554/"), Viewings(max_count=1)
    first, second = Dialogue(viewings, rules), Dialogue(viewings, rules)
    session = first.setup()
    assert first.ask("DESCRIBE").status == 200, "who has a place may ask"
    moved = "rtsp://192.0.2.2:8554/vod/7.mpg?rendition=R40&sent_on=1"
    for method, line, url in (
        ("DESCRIBE", "Accept: application/sdp", URL + "?rendition=R40"),
        ("SETUP", TCP, URL + "?rendition=R40/trackID=1"),
    ):
        answer = second.ask(method, line, url=url)
        assert (answer.status, answer.headers.get("Location")) == (302, moved)
    assert second.ask("DESCRIBE", url=moved).status == 200
    assert second.ask("SETUP", TCP, url=moved + "/trackID=1").status == 453
    first.ask("TEARDOWN", f"Session: {session}")
    assert second.ask("SETUP", TCP, url=moved + "/trackID=1").status == 200


def test_one_address_has_no_more_sessions_than_one_may_on_all_its_connections() -> None:
    rules, viewings = Rules("EdgeServer", address_max_count=2), Viewings()
    talks = [Dialogue(viewings, rules) for _ in range(3)]
    sessions = [talk.setup() for talk in talks[:2]]
    assert talks[2].ask("SETUP", TCP, url=URL + "/trackID=1").status == 453
    talks[0].ask("TEARDOWN", f"Session: {sessions[0]}")
    assert talks[2].ask("SETUP", TCP, url=URL + "/trackID=1").status == 200


# DESCRIBE and addresses


def test_describe_says_what_a_box_needs() -> None:
    answer = Dialogue().ask("DESCRIBE", "Accept: application/sdp")
    assert answer.status == 200 and answer.headers.get("Server") == "EdgeServer"
    assert answer.headers.get("Content-Base") == URL + "/"
    session = parse_sdp(answer.body)
    assert session.range == "npt=0.000-59.500" and session.name == "安全 用电" and session.deviations == ()
    (track,) = session.media
    assert (track.kind, track.port, track.profile, track.formats) == ("video", 0, "RTP/AVP", ("33",))
    assert track.control == "trackID=1"


def test_banner_and_profile_are_the_stations_choice() -> None:
    answer = Dialogue(rules=Rules("HMS_V1R2", sdp_profile="MP2T/RTP/UDP")).ask("DESCRIBE")
    assert answer.headers.get("Server") == "HMS_V1R2" and b"m=video 0 MP2T/RTP/UDP 33\r\n" in answer.body


@pytest.mark.parametrize(
    "url",
    [
        URL.replace("7.mpg", "8.mpg"),
        URL + "?rendition=R99",
        "rtsp://e/",
        "http://e/vod/7.mpg",
        "rtsp://[e/vod/7.mpg",
        "*",
    ],
)
def test_what_is_not_there_is_404_in_two_languages(url: str) -> None:
    talk = Dialogue()
    answer = talk.ask("DESCRIBE", url=url)
    assert answer.status == 404 and "课件" in answer.body.decode() and b"No such lesson" in answer.body
    assert talk.ask("SETUP", TCP, url=url).status == 404


def test_a_withdrawn_lesson_plays_on_but_not_anew() -> None:
    talk = Dialogue()
    session = talk.setup()
    talk.titles.clear()
    assert talk.ask("PLAY", f"Session: {session}").status == 200
    assert talk.ask("SETUP", "Transport: MP2T/TCP;unicast;interleaved=2-3").status == 404


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        (URL, Address(URL, "7", "R12")),
        (URL + "/", Address(URL, "7", "R12")),
        (URL + "/trackID=1", Address(URL, "7", "R12")),
        (URL + "?rendition=R40", Address(URL + "?rendition=R40", "7", "R40")),
        (URL + "?rendition=R40/trackID=1", Address(URL + "?rendition=R40", "7", "R40")),
        (URL + "/../8.mpg", None),
        (URL.replace("7", "1234567890123"), None),
        (URL + "?rendition=../x", None),
    ],
)
def test_addresses(url: str, wanted: Address | None) -> None:
    assert parse_address(url) == wanted


# SETUP

ORDERS = [
    "MP2T/TCP, MP2T/RTP/TCP, MP2T/RTP/UDP, MP2T/UDP",
    "MP2T/UDP, MP2T/RTP/UDP, MP2T/TCP, MP2T/RTP/TCP",
    "MP2T/RTP/TCP, MP2T/TCP, MP2T/RTP/UDP, MP2T/UDP",
    "MP2T/RTP/UDP, MP2T/UDP, MP2T/TCP, MP2T/RTP/TCP",
]


@pytest.mark.parametrize("order", ORDERS)
def test_the_first_of_the_boxs_list_is_taken(order: str) -> None:
    profiles = order.split(", ")
    rest = {"TCP": "interleaved=0-1", "UDP": "destination=10.0.0.9;client_port=40000-40001"}
    offers = ",".join(f"{each};unicast;{rest[each[-3:]]}" for each in profiles)
    talk = Dialogue()
    answer = talk.ask("SETUP", f"Transport: {offers}")
    (chosen,) = parse_transport(answer.headers.get("Transport") or "")
    assert chosen.profile == profiles[0] and chosen.source == "192.0.2.1"
    if "UDP" in profiles[0]:
        assert chosen.client_port == (40000, 40001) and chosen.server_port == (50000, 50001)
    else:
        assert chosen.interleaved == (0, 1) and chosen.server_port is None
    assert (chosen.ssrc is not None) == ("RTP" in profiles[0]) == talk.open[0].stream.rtp
    assert re.fullmatch(r"[0-9A-F]{16};timeout=180", answer.headers.get("Session") or "")


def test_the_profile_comes_back_letter_by_letter() -> None:
    answer = Dialogue().ask("SETUP", "Transport: rtp/avp/Tcp;unicast;interleaved=4-5")
    assert (answer.headers.get("Transport") or "").startswith("rtp/avp/Tcp;unicast;interleaved=4-5;")


def test_media_never_goes_to_an_address_that_is_not_the_peers() -> None:
    talk = Dialogue()
    answer = talk.ask("SETUP", "Transport: MP2T/UDP;unicast;destination=203.0.113.5;client_port=9000-9001")
    assert answer.status == 200 and "203.0.113.5" not in (answer.headers.get("Transport") or "")
    assert not hasattr(talk.open[0].link, "destination")


@pytest.mark.parametrize(
    "offer",
    [
        "RAW/RAW/UDP;unicast;client_port=1-2",
        "MP2T/DVBC/QAM;unicast;client=1",
        "MP2T/UDP;multicast;client_port=4000-4001",
        "MP2T/UDP;unicast",
        "MP2T/UDP;unicast;client_port=0-1",
        "RTP/SAVP;unicast;client_port=4000-4001",
    ],
)
def test_nothing_that_we_can_serve_is_461(offer: str) -> None:
    assert Dialogue().ask("SETUP", f"Transport: {offer}").status == 461


@pytest.mark.parametrize("line", ["X: y", "Transport: ", "Transport: MP2T/UDP;unicast;client_port=x"])
def test_a_transport_that_is_none_is_400(line: str) -> None:
    assert Dialogue().ask("SETUP", line).status == 400


def test_channels_of_two_sessions_do_not_collide() -> None:
    offer = parse_transport("MP2T/TCP;unicast;interleaved=0-1")
    assert choose(offer, []).channels == (0, 1)  # type: ignore[union-attr]
    assert choose(offer, [0, 1]).channels == (2, 3)  # type: ignore[union-attr]
    assert choose(offer, range(256)) is None


def test_places_are_limited_by_connection_and_by_edge() -> None:
    talk = Dialogue()
    for _ in range(SESSIONS_MAX_COUNT):
        talk.setup("Transport: MP2T/TCP;unicast")
    answer = talk.ask("SETUP", TCP)
    assert answer.status == 453 and "人数已满" in answer.body.decode()
    full = Viewings(max_count=1)
    first, second = Dialogue(full), Dialogue(full)
    session = first.setup()
    assert second.ask("SETUP", TCP).status == 453
    assert second.open == [], "no port and no file was taken for it"
    assert first.ask("TEARDOWN", f"Session: {session}").status == 200
    second.setup()


def test_a_failed_opening_gives_the_place_back() -> None:
    talk = Dialogue()
    talk.opens = NotOpened("no port")
    assert talk.ask("SETUP", UDP).status == 503 and len(talk.viewings) == 0
    talk.opens = None
    talk.setup(UDP)


def test_a_second_setup_changes_the_transport_of_a_session_that_stands() -> None:
    talk = Dialogue()
    session = talk.setup(UDP)
    assert talk.setup(TCP, f"Session: {session}") == session
    assert len(talk.viewings) == 1 and [each.link.profile for each in talk.open] == ["MP2T/RTP/UDP", "MP2T/TCP"]
    talk.ask("PLAY", f"Session: {session}")
    assert talk.ask("SETUP", TCP, f"Session: {session}").status == 455
    assert talk.ask("SETUP", TCP, "Session: other").status == 454


# PLAY


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("npt=beginning-", "npt=0.000-59.500"),
        ("npt=0-", "npt=0.000-59.500"),
        ("npt=now-", "npt=0.000-59.500"),
        ("npt=25-", "npt=20.000-59.500"),
        ("npt=25.000-", "npt=20.000-59.500"),
        ("npt=0:00:31.5-", "npt=30.000-59.500"),
        ("npt=12-31.5", "npt=10.000-31.500"),
        ("npt=12-400", "npt=10.000-59.500"),
        ("npt=end-", "npt=50.000-59.500"),
        ("npt=now-begin", "npt=0.000-59.500"),
        ("npt=-20", "npt=0.000-20.000"),
    ],
)
def test_every_spelling_of_a_start(asked: str, answered: str) -> None:
    talk = Dialogue()
    session = talk.setup()
    answer = talk.ask("PLAY", f"Session: {session}", f"Range: {asked}")
    assert (answer.status, answer.headers.get("Range")) == (200, answered)
    assert kinds(talk.done) == [Send, Start], "the answer goes out before the first media"


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("npt=0.000-", "npt=3.000-62.500"),
        ("npt=24.848-", "npt=23.000-62.500"),
        ("npt=12.9-", "npt=3.000-62.500"),
        ("npt=13-23", "npt=13.000-23.000"),
        ("npt=2-", "npt=3.000-62.500"),
    ],
)
@pytest.mark.parametrize("agent", ["Lavf59.27.100", "libmpv"])
def test_who_counts_from_the_streams_first_time_is_understood_and_answered_so(
    agent: str, asked: str, answered: str
) -> None:
    box = Dialogue()
    session = box.setup()
    answer = box.ask("PLAY", f"Session: {session}", f"Range: {asked}", f"User-Agent: {agent}")
    assert answer.headers.get("Range") == answered


@pytest.mark.parametrize(
    "asked",
    ["npt=59.5-", "npt=9999-", "npt=30-20", "npt=x-", "npt=-", "smpte=0:0:0-", "clock=20260101T000000.00Z-", "5-"],
)
def test_a_range_that_is_none_is_457_and_changes_nothing(asked: str) -> None:
    talk = Dialogue()
    session = talk.setup()
    assert talk.ask("PLAY", f"Session: {session}", f"Range: {asked}").status == 457
    assert Start not in kinds(talk.done) and not talk.open[0].stream.playing


def test_neither_range_nor_scale_is_demanded_and_scale_is_answered_honestly() -> None:
    talk = Dialogue()
    session = talk.setup(UDP)
    answer = talk.ask("PLAY", f"Session: {session}")
    assert answer.status == 200 and "Scale" not in answer.headers
    stream = talk.open[0].stream
    assert answer.headers.get("RTP-Info") == (
        f"url={URL}/trackID=1;seq={stream.sequence};rtptime={stream.rtp_timestamp()}"
    )
    answer = talk.ask("PLAY", f"Session: {session}", "Scale: 0.9", "Range: npt=now-")
    assert answer.headers.get("Scale") == "1" and stream.playing
    assert "RTP-Info" not in raw_play().headers


def raw_play() -> Response:
    talk = Dialogue()
    return talk.ask("PLAY", f"Session: {talk.setup(TCP)}")


def test_play_while_playing_seeks_and_pause_keeps_the_place() -> None:
    talk = Dialogue()
    session = talk.setup()
    stream = talk.open[0].stream
    talk.ask("PLAY", f"Session: {session}", "Range: npt=0-")
    for _ in range(100):
        talk.now += 0.02
        stream.advance(stream.due(talk.now))
    at = stream.offset_bytes
    talk.ask("PLAY", f"Session: {session}")
    assert stream.offset_bytes == at, "playing on"
    answer = talk.ask("PAUSE", f"Session: {session}")
    assert answer.headers.get("Range") == "npt=1.500-" and kinds(talk.done) == [Stop, Send]
    talk.now += 30
    assert talk.ask("GET_PARAMETER", f"Session: {session}", body="position\r\n").body.startswith(b"position: 1.7")
    assert not stream.preamble
    talk.ask("PLAY", f"Session: {session}")
    assert stream.offset_bytes == at and stream.playing and not stream.preamble
    stream.advance(stream.due(talk.now))
    talk.ask("PLAY", f"Session: {session}", "Range: npt=41-")
    assert stream.offset_bytes == Lesson().seek(41)[1] and stream.preamble


# Winding


def watch(talk: Dialogue, seconds: float) -> None:
    stream = talk.open[0].stream
    for _ in range(round(seconds / 0.02)):
        talk.now += 0.02
        while count := stream.due(talk.now):
            stream.advance(count)


def test_winding_plays_key_pictures_and_playing_goes_on_where_they_were() -> None:
    talk = Dialogue()
    session = talk.setup()
    stream = talk.open[0].stream
    assert talk.ask("PLAY", f"Session: {session}", "Range: npt=20-").status == 200
    stream.advance(stream.due(talk.now))
    answer = talk.ask("PLAY", f"Session: {session}", "Scale: 8", "Range: npt=now-")
    assert (answer.headers.get("Scale"), answer.headers.get("Range")) == ("8.0", "npt=20.000-59.500")
    assert kinds(talk.done) == [Send, Wind, Start] and stream.timeline.private and stream.preamble
    watch(talk, 2.5)
    assert talk.ask("GET_PARAMETER", f"Session: {session}", body="position\r\n").body == b"position: 40.000\r\n"
    again = talk.ask("PLAY", f"Session: {session}", "Scale: 8")
    assert again.headers.get("Scale") == "8.0" and kinds(talk.done) == [Send, Start], "it winds on"
    answer = talk.ask("PLAY", f"Session: {session}")
    assert answer.headers.get("Range") == "npt=40.000-59.500" and "Scale" not in answer.headers
    assert kinds(talk.done) == [Send, Wind, Start] and stream.offset_bytes == Lesson().seek(40)[1]


def test_rewinding_reaches_the_beginning_is_told_2102_and_may_play_from_there() -> None:
    talk = Dialogue()
    session = talk.setup()
    talk.ask("PLAY", f"Session: {session}", "Range: npt=40-")
    answer = talk.ask("PLAY", f"Session: {session}", "Scale: -16", "Range: npt=now-begin")
    assert (answer.headers.get("Scale"), answer.headers.get("Range")) == ("-16.0", "npt=40.000-0.000")
    stop, notice = talk.tell(Ended(session))
    assert stop == Stop(session) and messages([notice])[0].headers.get("x-notice") == "2102"  # type: ignore[attr-defined]
    talk.now += REPEAT_NOTICE_S
    (notice,) = talk.tell(Tick())
    assert messages([notice])[0].headers.get("x-notice") == "2102"  # type: ignore[attr-defined]
    talk.now += CLOSE_AFTER_END_S
    assert talk.tell(Tick()) == [], "nobody hangs up"
    assert talk.ask("PLAY", f"Session: {session}", "Scale: 1").headers.get("Range") == "npt=0.000-59.500"


def test_pausing_while_winding_keeps_the_picture_that_is_on_the_screen() -> None:
    talk = Dialogue()
    session = talk.setup()
    talk.ask("PLAY", f"Session: {session}", "Scale: 4", "Range: npt=10-")
    watch(talk, 2.5)
    assert talk.ask("PAUSE", f"Session: {session}").headers.get("Range") == "npt=20.000-"
    talk.now += 30
    assert talk.ask("PLAY", f"Session: {session}").headers.get("Range") == "npt=20.000-59.500"


@pytest.mark.parametrize(
    ("asked", "done"), [("64", 32.0), ("-100", -32.0), ("2", 2.0), ("x", 1.0), ("nan", 1.0), ("0", 1.0)]
)
def test_the_speed_is_what_we_can_do_nearest_to_it(asked: str, done: float) -> None:
    assert speed(asked) == done


# Keep-alive and time


@pytest.mark.parametrize(
    "sign",
    [
        lambda talk, s: talk.ask("GET_PARAMETER", f"Session: {s}"),
        lambda talk, s: talk.ask("GET_PARAMETER", f"Session: {s}", "x-Timeshift_Range"),
        lambda talk, s: talk.ask("SET_PARAMETER", f"Session: {s}", body="x-Heartbeat_Time: 30\r\n"),
        lambda talk, s: talk.ask("OPTIONS", f"Session: {s};timeout=180", url="*"),
        lambda talk, s: talk.tell(Heard(s)),
        lambda talk, s: talk.tell(Interleaved(1, b"\x80\xc9\0\1\0\0\0\1")),
    ],
    ids=["get", "bare-header", "set", "options", "datagram", "rtcp-in-tcp"],
)
def test_each_sign_of_life_counts(sign: object) -> None:
    talk = Dialogue()
    session = talk.setup()
    talk.now += 179
    sign(talk, session)  # type: ignore[operator]
    talk.now += 179
    assert talk.tell(Tick()) == []
    talk.now += 1
    assert talk.talk.next_timer() == talk.now
    assert talk.tell(Tick())[0] == Close(session)
    assert len(talk.viewings) == 0 and talk.counters["sessions timed out"] == 1


def test_a_frame_on_a_foreign_channel_is_no_sign_of_life() -> None:
    talk = Dialogue()
    session = talk.setup()
    talk.now += 100
    talk.tell(Interleaved(9, b""))
    assert talk.viewings.deadline_s(session) == 1180.0


def test_a_connection_that_wants_nothing_is_closed() -> None:
    talk = Dialogue()
    assert talk.talk.next_timer() == 1000.0 + IDLE_S
    talk.now += IDLE_S
    assert talk.tell(Tick()) == [Hangup("idle")]
    assert talk.talk.next_timer() is None and talk.tell(Tick()) == []


def test_the_end_is_told_twice_and_then_the_connection_closes() -> None:
    talk = Dialogue()
    session = talk.setup()
    talk.ask("PLAY", f"Session: {session}")
    commands = talk.tell(Ended(session))
    assert kinds(commands) == [Stop, Send] and commands[0] == Stop(session, goodbye=True)
    (notice,) = messages(commands)
    assert isinstance(notice, Request) and notice.method == "ANNOUNCE" and notice.uri == URL
    assert (notice.headers.get("x-notice"), notice.headers.get("Session")) == ("2101", session)
    assert talk.tell(Ended(session)) == [] and talk.tell(Response(501, "Not Implemented")) == []
    talk.now += REPEAT_NOTICE_S
    assert talk.talk.next_timer() == talk.now
    (again,) = messages(talk.tell(Tick()))
    assert isinstance(again, Request) and again.headers.get("x-notice") == "2101"
    talk.now += CLOSE_AFTER_END_S - REPEAT_NOTICE_S
    assert talk.talk.next_timer() == talk.now
    assert talk.tell(Tick()) == [Close(session), Hangup("end of stream")]
    assert len(talk.viewings) == 0


def test_after_the_end_a_box_may_play_again_from_the_beginning() -> None:
    talk = Dialogue()
    session = talk.setup()
    talk.ask("PLAY", f"Session: {session}")
    stream = talk.open[0].stream
    stream.offset_bytes, stream.touched = LENGTH, True
    talk.tell(Ended(session))
    talk.now += 1
    assert talk.ask("PLAY", f"Session: {session}").headers.get("Range") == "npt=0.000-59.500"
    assert stream.offset_bytes == 0 and stream.preamble
    talk.now += CLOSE_AFTER_END_S
    assert talk.tell(Tick()) == [], "the closing is called off"


# Refusals


@pytest.mark.parametrize(
    ("method", "status"),
    [("ANNOUNCE", 405), ("RECORD", 405), ("REDIRECT", 405), ("PING", 501), ("FOO", 501)],
)
def test_other_methods_are_refused_with_the_list(method: str, status: int) -> None:
    answer = Dialogue().ask(method)
    assert answer.status == status
    assert "PLAY" in (answer.headers.get("Allow") or answer.headers.get("Public") or "")


@pytest.mark.parametrize("method", ["PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER"])
def test_an_unknown_session_is_454(method: str) -> None:
    assert Dialogue().ask(method, "Session: nobody").status == 454


def test_sessions_of_other_connections_cannot_be_touched() -> None:
    shared = Viewings()
    mine, other = Dialogue(shared), Dialogue(shared)
    session = mine.setup()
    assert other.ask("TEARDOWN", f"Session: {session}").status == 454
    assert mine.ask("PLAY", f"Session: {session}").status == 200


def test_odd_bytes_are_tolerated_counted_or_refused() -> None:
    talk = Dialogue()
    assert talk.ask("DESCRIBE", "x-Burst", "x-Retrans").status == 200
    assert talk.counters["deviation bare-header"] == 1
    assert talk.ask("OPTIONS", url="*").status == 200
    assert talk.ask("OPTIONS", "Require: com.comcast.ngod.s1").status == 551
    for text, status in (
        (b"options * RTSP/1.0\nCSeq: 9\n\n", 200),
        (b"OPTIONS * RTSP/2.0\r\nCSeq: 9\r\n\r\n", 505),
        (b"OPTIONS a b RTSP/1.0\r\nCSeq: 9\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\n\r\n", 400),
    ):
        (request,) = Reader().feed(text)
        (answer,) = messages(talk.tell(request))
        assert isinstance(answer, Response) and answer.status == status


def test_bytes_that_are_no_rtsp_are_answered_and_the_connection_ends() -> None:
    talk = Dialogue()
    session = talk.setup()
    commands = talk.tell(Unreadable("expected METHOD URI RTSP/1.0"))
    (answer,) = messages(commands)
    assert isinstance(answer, Response) and answer.status == 400 and "METHOD" in answer.reason
    assert commands[1:] == [Close(session), Hangup("unreadable")]
    assert talk.tell(Tick()) == []


@pytest.mark.parametrize("event", [Lost(), Stuck("1")])
def test_whatever_ends_it_gives_everything_back(event: object) -> None:
    talk = Dialogue()
    sessions = {talk.setup(), talk.setup("Transport: MP2T/TCP;unicast;interleaved=2-3")}
    commands = talk.tell(event)
    assert {each.session_id for each in commands if isinstance(each, Close)} == sessions
    assert isinstance(commands[-1], Hangup) and len(talk.viewings) == 0


def test_draining_says_2103_and_hangs_up() -> None:
    talk = Dialogue()
    session = talk.setup()
    talk.ask("PLAY", f"Session: {session}")
    commands = talk.tell(Draining())
    (notice,) = messages(commands)
    assert isinstance(notice, Request) and notice.headers.get("x-notice") == "2103"
    assert kinds(commands) == [Close, Send, Hangup]
