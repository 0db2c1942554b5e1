"""What old boxes disagree about in RTSP: punches, banners, signs of life, seeks and trick play (stb_protocols §4)."""

from datetime import UTC, datetime

import msgspec
import pytest

from stb_emulator.boxes import RtspFace, load_all
from stb_emulator.observe import PlayError
from stb_emulator.players.rtsp.commands import Command, Deviated, Done, Ended, Moved, Paused, Punch, Receive, Send
from stb_emulator.players.rtsp.conversation import Conversation
from stb_emulator.players.rtsp.punching import dialect_of, huawei_answer, nat_answer, other_server, zte_punch
from stb_emulator.players.rtsp.seeking import moment_address, place
from wire.rtsp import Headers, Request, Response

URL = "rtsp://127.0.0.1/vod/7.mpg"
SDP = b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=%s\r\nt=0 0\r\na=range:npt=0-10\r\nm=video 0 MP2T/RTP/UDP 33\r\n"
UDP = "MP2T/RTP/UDP;unicast;client_port=40000-40001;server_port=50000-50001"
TCP = "MP2T/TCP;unicast;interleaved=0-1"
# stb_protocols §4.6
ZTE = bytes.fromhex("5a585631305354427fffffff0a0000099c40afc9") + bytes(64)
RENEW = bytes.fromhex("000100001234abcd")


def face(**habits: object) -> RtspFace:
    own = load_all()["ctc_hw_old"].rtsp
    assert own
    return msgspec.structs.replace(own, **habits)


def talking(own: RtspFace) -> Conversation:
    return Conversation(URL, own, ports=(40000, 40001), address="10.0.0.9", rtsp_port=45001)


def answer(
    talk: Conversation, now: float, *more: tuple[str, str], status: int = 200, body: bytes = b""
) -> list[Command]:
    """Answer the newest request."""
    return talk.response(Response(status, "X", Headers([("CSeq", str(talk.asked)), *more]), body), now)


def text(commands: list[Command]) -> str:
    return "".join(c.data.decode() for c in commands if isinstance(c, Send))


def to_setup(talk: Conversation, *more: tuple[str, str], name: bytes = b"x") -> str:
    talk.start(0)
    return text(answer(talk, 1, *more, body=SDP % name))


def to_playing(talk: Conversation, *more: tuple[str, str], transport: str = UDP) -> list[Command]:
    to_setup(talk)
    commands = answer(talk, 2, ("Session", "ABC"), ("Transport", transport), *more)
    answer(talk, 3)
    return commands


def test_the_zte_packet_is_the_published_one() -> None:
    assert zte_punch("ABC", "10.0.0.9", 40000, 45001) == ZTE
    assert zte_punch("305419896", "10.0.0.9", 40000, 45001)[8:12] == bytes.fromhex("12345678")


def test_a_zte_box_punches_both_ports_three_times_and_again() -> None:
    talk = talking(face(punch="zte"))
    commands = to_playing(talk)
    punches = [c for c in commands if isinstance(c, Punch)]
    assert punches == [Punch(ZTE, 50000), Punch(ZTE, 50001, control=True)] * 3
    assert isinstance(commands[0], Receive) and text(commands).startswith("PLAY "), "it plays without waiting"
    assert talk.next_timer() == 32
    assert talk.tick(32) == [Punch(ZTE, 50000), Punch(ZTE, 50001, control=True)]
    assert talk.next_timer() == 33


def test_inside_the_connection_nothing_is_punched() -> None:
    assert not [c for c in to_playing(talking(face(punch="zte")), transport=TCP) if isinstance(c, Punch)]


def test_a_zte_box_punches_the_server_that_rtp_info_names() -> None:
    talk = talking(face(punch="zte"))
    to_setup(talk)
    answer(talk, 2, ("Session", "ABC"), ("Transport", UDP))
    assert answer(talk, 3, ("RTP-Info", "url=rtsp://10.0.0.2:6000/x;seq=1")) == [Punch(ZTE, 6000, host="10.0.0.2")] * 3
    assert other_server("url=rtsp://127.0.0.1:6000/x", URL) is None


def test_a_huawei_box_waits_for_the_answer_to_its_packet() -> None:
    talk = talking(face(nat="x-NAT_Address", punch="huawei"))
    assert "\r\nx-NAT_Address: 10.0.0.9:40000\r\n" in to_setup(talk)
    commands = answer(talk, 2, ("Session", "A"), ("Transport", UDP), ("x-NAT", "on;ssrc=305441741"))
    assert commands[1:] == [Punch(RENEW, 50000)] * 2
    assert talk.punched(7, 2.5) == [Deviated("punch-ssrc")]
    assert text(talk.punched(0x1234ABCD, 3)).startswith("PLAY ")
    assert talk.punched(0x1234ABCD, 3.1) == [], "the second answer"
    answer(talk, 4)
    assert talk.tick(34)[0] == Punch(bytes.fromhex("000400001234abcd"), 50000)


def test_a_huawei_box_that_is_not_answered_says_so_and_plays() -> None:
    talk = talking(face(punch="huawei"))
    to_setup(talk)
    answer(talk, 2, ("Session", "A"), ("Transport", UDP), ("x-NAT", "on;ssrc=5"))
    assert talk.tick(3.9) == []
    first, *rest = talk.tick(4)
    assert first == Deviated("no-punch-answer") and text(rest).startswith("PLAY ")


@pytest.mark.parametrize("value", ["off", "on", "on;ssrc=x", "on;ssrc=99999999999", ""])
def test_without_a_number_a_huawei_box_does_not_punch(value: str) -> None:
    assert nat_answer(Headers([("x-NAT", value)])) is None
    commands = to_playing(talking(face(punch="huawei")), ("x-NAT", value))
    assert not [c for c in commands if isinstance(c, Punch)]


def test_only_a_response_is_an_answer() -> None:
    assert huawei_answer(bytes.fromhex("000200001234abcd")) == 0x1234ABCD
    assert huawei_answer(RENEW) is None
    assert huawei_answer(b"\x47" * 188) is None


@pytest.mark.parametrize(
    ("banner", "name", "rules"),
    [
        ("HMS_V1R2", "", "huawei"),
        ("ZMSS_ChinaTelcom2.2", "", "zte"),
        ("ZXUSS100 1.0", "", "zte"),
        ("ZXCDN 1.0", "", "zte"),
        ("HMS_V1R2", "LIVE555 streams", "plain"),
        ("GStreamer RTSP server", "x", None),
        ("", "", None),
    ],
)
def test_banners_that_boxes_know(banner: str, name: str, rules: str | None) -> None:
    assert dialect_of(banner, name) == rules


def test_a_banner_overrules_the_box_unless_it_does_not_look() -> None:
    zte = [("Server", "ZMSS_ChinaTelcom2.2")]
    own = face(punch="huawei", keep_alive="SET_PARAMETER")
    talk = talking(own)
    to_setup(talk, *zte)
    commands = answer(talk, 2, ("Session", "ABC"), ("Transport", UDP), *zte)
    assert Punch(ZTE, 50000) in commands
    answer(talk, 3)
    kept = text(talk.tick(33))
    assert kept.startswith("GET_PARAMETER ") and "\r\nx-Timeshift_Range\r\n" in kept
    blind = talking(msgspec.structs.replace(own, sniff=False))
    to_setup(blind, *zte)
    assert not [c for c in answer(blind, 2, ("Session", "A"), ("Transport", UDP), *zte) if isinstance(c, Punch)]
    plain = talking(face(nat="x-NAT_Address", punch="zte"))
    assert "x-NAT_Address" not in to_setup(plain, name=b"Session streamed by LIVE555")


def test_a_zte_box_tells_its_address_with_describe_and_setup() -> None:
    own = face(nat="x-NAT", describe_headers={"x-zmssRtxSdp": "yes"}, bare_headers=("x-Burst",), options_first=True)
    talk = talking(own)
    assert text(talk.start(0)).startswith("OPTIONS ")
    described = text(answer(talk, 1))
    assert "\r\nx-NAT: 10.0.0.9:40000\r\nx-zmssRtxSdp: yes\r\nx-Burst\r\n\r\n" in described
    assert "\r\nx-NAT: 10.0.0.9:40000\r\n" in text(answer(talk, 2, body=SDP % b"x"))


def test_every_sign_of_life() -> None:
    talk = talking(face(keep_alive="punch", punch="zte", keep_alive_s=5.0))
    to_playing(talk)
    assert talk.tick(8) == [Punch(ZTE, 50000), Punch(ZTE, 50001, control=True)]
    talk = talking(face(keep_alive="rtcp"))
    received = to_playing(talk)[0]
    assert isinstance(received, Receive) and received.reports
    assert talk.next_timer() is None
    talk = talking(face(keep_alive="rtcp", transport_order=0))
    received = to_playing(talk, transport=TCP)[0]
    assert isinstance(received, Receive) and not received.reports
    assert text(talk.tick(33)).startswith("GET_PARAMETER "), "bare TS has no RTCP"
    talk = talking(face(keep_alive="SET_PARAMETER", keep_alive_s=30.0))
    to_playing(talk, ("x-KeepAliveInterval", "12"))
    assert talk.next_timer() == 15
    kept = text(talk.tick(15))
    assert kept.startswith("SET_PARAMETER ") and kept.endswith("\r\n\r\nx-Heartbeat_Time: 1\r\n")


def test_who_leaves_waits_for_no_sign_of_life_any_more() -> None:
    talk = talking(face(keep_alive="GET_PARAMETER", keep_alive_s=5.0))
    to_playing(talk)
    talk.tick(8)
    asked = talk.asked
    talk.teardown(8.1)
    assert talk.response(Response(200, "OK", Headers([("CSeq", str(asked))])), 8.2) == []
    assert talk.response(Response(200, "OK", Headers([("CSeq", "99")])), 8.2) == [Deviated("cseq")]
    assert answer(talk, 8.3) == [Done()]


def test_one_transport_alone_and_a_play_without_range() -> None:
    own = face(only_transport="MP2T/RTP/UDP", client_address="client_address", play_range=False)
    talk = talking(own)
    setup = to_setup(talk)
    wanted = "Transport: MP2T/RTP/UDP;unicast;client_address=10.0.0.9;client_port=40000-40001;mode=PLAY"
    assert f"\r\n{wanted}\r\n" in setup
    play = text(answer(talk, 2, ("Session", "A"), ("Transport", UDP)))
    assert "Range" not in play and "Scale" not in play


@pytest.mark.parametrize(
    ("style", "seconds", "written"),
    [
        ("npt", 63.4, "npt=63-"),
        ("npt-millis", 63.4, "npt=63.400-"),
        ("npt", 4.9, "npt=beginning-"),
        ("npt", 5, "npt=5-"),
    ],
)
def test_places(style: str, seconds: float, written: str) -> None:
    own = face(seek_style=style)
    assert place(seconds, own) == written
    talk = talking(own)
    to_playing(talk)
    moved = text(talk.seek(seconds, 4))
    assert moved.startswith("PLAY ") and f"\r\nScale: 1\r\nRange: {written}\r\n" in moved
    assert talk.seek(9, 4.1) == [], "no key works while a PLAY is unanswered"
    assert answer(talk, 5, ("Scale", "1.0")) == [Moved(1.0)]


@pytest.mark.parametrize("status", [455, 457])
def test_a_refused_seek_stops_the_box(status: int) -> None:
    talk = talking(face())
    to_playing(talk)
    talk.shift(datetime(2026, 11, 24, 8, tzinfo=UTC), 4)
    with pytest.raises(PlayError, match=str(status)):
        answer(talk, 5, status=status)


MOMENT, LATER = datetime(2026, 11, 24, 16, 0, 5, tzinfo=UTC), datetime(2026, 11, 24, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    ("habits", "query"),
    [
        ({}, "playseek=20261124160005-20261124170000"),
        ({"time_zone_min": 480}, "playseek=20261125000005-20261125010000"),
        ({"time_query": "Playseek", "time_zone_min": 480}, "Playseek=20261125000005-20261125010000"),
        (
            {"time_query": "tvdr", "time_style": "14-gmt", "time_zone_min": 480},
            "tvdr=20261124160005GMT-20261124170000GMT",
        ),
        ({"time_style": "iso-compact"}, "playseek=20261124T160005Z-20261124T170000Z"),
        ({"time_style": "iso"}, "playseek=2026-11-24T16:00:05Z-2026-11-24T17:00:00Z"),
        ({"time_style": "unix"}, "playseek=1795536005-1795539600"),
    ],
)
def test_moments(habits: dict[str, object], query: str) -> None:
    assert moment_address("rtsp://x/live/1.mpg", MOMENT, LATER, face(**habits)) == f"rtsp://x/live/1.mpg?{query}"
    assert moment_address("rtsp://x/a?b=c", MOMENT, LATER, face(**habits)) == f"rtsp://x/a?b=c&{query}"


def test_a_moment_as_range_is_always_utc() -> None:
    talk = talking(face(time_zone_min=480))
    to_playing(talk)
    assert "\r\nRange: clock=20261124T160005.00Z-\r\n" in text(talk.shift(MOMENT, 4))


def notice(code: str) -> Request:
    return Request("ANNOUNCE", URL, Headers([("x-notice", code)]))


def test_trick_play_and_what_the_server_announces() -> None:
    talk = talking(face(scales=(8, -8)))
    to_playing(talk)
    with pytest.raises(ValueError, match="no key for 32x"):
        talk.trick(32, 4)
    assert "\r\nScale: 8\r\nRange: npt=now-\r\n" in text(talk.trick(8, 4))
    assert talk.request(notice("2101"), 4.5) == [], "the old place's end is not heard while PLAY is unanswered"
    assert answer(talk, 5, ("Scale", "8.0")) == [Moved(8.0)]
    assert talk.request(notice("2102"), 5.5) == [], "the beginning is met by rewinding only"
    assert "\r\nScale: -8\r\nRange: npt=now-begin\r\n" in text(talk.trick(-8, 6))
    answer(talk, 7)
    restart = text(talk.request(notice("2102 Beginning-of-Stream"), 8))
    assert restart.startswith("PLAY ") and "\r\nScale: 1\r\nRange: npt=beginning-\r\n" in restart
    assert talk.request(notice("2102"), 8.1) == [], "the server says it twice"
    assert answer(talk, 9) == [Moved(1.0)]
    assert talk.request(Request("ANNOUNCE", URL, Headers([("Notice", "2103")])), 10) == [Ended("ANNOUNCE 2103")]


def test_pause_and_resume() -> None:
    talk = talking(face())
    assert talk.pause(0) == [], "nothing to pause yet"
    to_playing(talk)
    assert text(talk.pause(4)).startswith("PAUSE ")
    assert answer(talk, 5) == [Paused()]
    assert "\r\nRange: npt=now-\r\n" in text(talk.resume(6))
