import msgspec
import pytest

from runtime.clock import SystemClock
from stb_emulator.boxes import Box, load_all
from stb_emulator.observe import Observation, Offer, Stage
from stb_emulator.players.rtsp.commands import Deviated, Ended, Reconnect, Send
from stb_emulator.players.rtsp.conversation import Conversation
from stb_emulator.players.rtsp.h264 import Depacketizer, parameter_sets
from stb_emulator.seat import Seat
from tests.peers.scripted import RtspScript, listening, make_media
from wire.rtp import RtpPacket
from wire.rtsp import Headers, Request, Response


@pytest.fixture(scope="module")
def ts() -> bytes:
    return make_media("mpegts", 50)


def _box(*transports: str) -> Box:
    box = load_all()["cu_hw_old"]
    assert box.rtsp
    rtsp = msgspec.structs.replace(box.rtsp, extra_transports=transports)
    return msgspec.structs.replace(box, rtsp=rtsp)


async def _play(script: RtspScript, box: Box | None = None, *, silence_s: float = 2.0) -> Observation:
    async with listening(script) as port:
        seat = Seat(portal_url="http://127.0.0.1", clock=SystemClock(), silence_s=silence_s)
        url = f"rtsp://127.0.0.1:{port}/vod/7.mpg"
        offer = Offer(item_id="7", title="七", column="", family="video", url=url)
        return await seat.play_url(box or _box("RTP/AVP", "RTP/AVP/TCP"), offer)


@pytest.mark.parametrize("profile", ["MP2T/TCP", "MP2T/RTP/TCP", "MP2T/RTP/UDP", "MP2T/UDP", "RTP/AVP", "RTP/AVP/TCP"])
async def test_every_transport_plays_every_frame(ts: bytes, profile: str) -> None:
    row = await _play(script := RtspScript(ts, 2.0, answer=profile))
    assert (row.ok, row.stage, row.reason) == (True, Stage.DONE, "")
    assert row.transport == profile
    assert row.frames == 50 and row.frame_code and row.frame_code.perfect and row.frame_code.last == 49
    assert [t.split(" ")[0] for t in script.asked] == ["DESCRIBE", "SETUP", "PLAY", "TEARDOWN"]
    assert row.lost == row.continuity_errors == row.decode_errors == 0


async def test_the_box_speaks_its_own_dialect(ts: bytes) -> None:
    script = RtspScript(ts, 2.0, answer="MP2T/TCP")
    assert (await _play(script, _box())).ok
    describe, setup, play, _ = script.asked
    assert "\r\nx-Burst\r\nx-Retrans\r\n" in describe
    assert setup.startswith("SETUP rtsp://127.0.0.1:") and "/vod/7.mpg/trackID=1 " in setup
    profiles = [t.split(";")[0] for t in script.transport.split(",")]
    assert profiles == ["MP2T/TCP", "MP2T/RTP/TCP", "MP2T/RTP/UDP", "MP2T/UDP"]
    assert script.transport.startswith("MP2T/TCP;unicast;interleaved=0-1,")
    assert "MP2T/UDP;unicast;destination=127.0.0.1;client_port=" in script.transport
    assert "\r\nRange: npt=0-\r\n" in play and "\r\nScale: 1\r\n" in play and "\r\nSession: 5A17\r\n" in play


@pytest.mark.parametrize(
    ("odd", "stage", "word"),
    [
        ({"setup": b"RTSP/1.0 461 Unsupported Transport\r\nCSeq: {cseq}\r\n\r\n"}, Stage.SETUP, "461"),
        ({"play": b"RTSP/1.0 454 Session Not Found\r\nCSeq: {cseq}\r\n\r\n"}, Stage.PLAY, "454"),
        ({"describe": b"RTSP/1.0 404 Not Found\r\nCSeq: {cseq}\r\n\r\n"}, Stage.DESCRIBE, "404"),
        (
            {
                "setup": b"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nSession: 1\r\n"
                b"Transport: RAW/RAW/UDP;unicast;client_port=1-2\r\n\r\n"
            },
            Stage.SETUP,
            "not offered",
        ),
        (
            {
                "setup": b"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nSession: 1\r\n"
                b"Transport: mp2t/tcp;unicast;interleaved=0-1\r\n\r\n"
            },
            Stage.SETUP,
            "not offered",
        ),
        (
            {"setup": b"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nTransport: MP2T/TCP;unicast;interleaved=0-1\r\n\r\n"},
            Stage.SETUP,
            "no Session",
        ),
        (
            {"setup": b"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nSession: 1\r\nTransport: MP2T/TCP;unicast\r\n\r\n"},
            Stage.SETUP,
            "interleaved",
        ),
        ({"describe": b"\0\1\2 garbage that is no RTSP\r\n\r\n"}, Stage.DESCRIBE, "unreadable"),
        ({"describe": b"", "hang_up": True}, Stage.DESCRIBE, "closed"),
        (
            {"describe": b"RTSP/1.0 200 OK\r\nCSeq: 99\r\nContent-Length: 0\r\n\r\n" * 1, "hang_up": True},
            Stage.DESCRIBE,
            "",
        ),
        (
            {"describe": b"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nContent-Length: 3\r\n\r\nv=1"},
            Stage.DESCRIBE,
            "SDP",
        ),
        (
            {"describe": b"RTSP/1.0 302 Moved\r\nCSeq: {cseq}\r\nLocation: http://127.0.0.1/\r\n\r\n"},
            Stage.DESCRIBE,
            "redirect",
        ),
        (
            {"describe": b"RTSP/1.0 302 Moved\r\nCSeq: {cseq}\r\nLocation: rtsp://192.0.2.1/x\r\n\r\n"},
            Stage.DESCRIBE,
            "not loopback",
        ),
    ],
)
async def test_misbehaviour_has_its_stage(ts: bytes, odd: dict, stage: Stage, word: str) -> None:
    if odd.get("describe") == b"":
        odd = {**odd, "describe": b"\r\n"}
    row = await _play(RtspScript(ts, 2.0, answer="MP2T/TCP", **odd))
    assert (row.ok, row.stage) == (False, stage)
    assert word in row.reason


async def test_redirects_are_bounded(ts: bytes) -> None:
    script = RtspScript(ts, 2.0, answer="MP2T/TCP")
    async with listening(script) as port:
        url = f"rtsp://127.0.0.1:{port}/again"
        script.odd["describe"] = f"RTSP/1.0 302 Moved\r\nCSeq: {{cseq}}\r\nLocation: {url}\r\n\r\n".encode()
        seat = Seat(portal_url="http://127.0.0.1", clock=SystemClock())
        offer = Offer(item_id="7", title="", column="", family="video", url=url)
        row = await seat.play_url(load_all()["cu_hw_old"], offer)
    assert "more than 3 redirects" in row.reason
    assert len(script.asked) == 4


@pytest.mark.parametrize(
    ("odd", "word"),
    [({"lose": [5]}, "1 packets lost"), ({"lose": [5, 6, 9]}, "3 packets lost"), ({"twice": [4]}, "twice")],
)
@pytest.mark.parametrize("profile", ["MP2T/RTP/UDP", "MP2T/RTP/TCP"])
async def test_lost_and_repeated_packets_fail_the_lesson(ts: bytes, odd: dict, word: str, profile: str) -> None:
    row = await _play(RtspScript(ts, 2.0, answer=profile, **odd))
    assert (row.ok, row.stage) == (False, Stage.PLAY)
    assert word in row.reason


async def test_lost_bare_ts_is_seen_by_its_counters(ts: bytes) -> None:
    row = await _play(RtspScript(ts, 2.0, answer="MP2T/UDP", lose=[7]))
    assert (row.ok, row.stage) == (False, Stage.PLAY)
    assert row.continuity_errors > 0


async def test_reordered_packets_are_put_right(ts: bytes) -> None:
    row = await _play(RtspScript(ts, 2.0, answer="MP2T/RTP/UDP", swap=[3, 8]))
    assert row.ok, row.reason
    assert row.reordered == 2


async def test_a_server_that_stalls_is_noticed(ts: bytes) -> None:
    row = await _play(RtspScript(ts, 2.0, answer="MP2T/RTP/TCP", only=8, silent_end=True), silence_s=0.4)
    assert (row.ok, row.stage) == (False, Stage.PLAY)
    assert "no data for 0.4 s" in row.reason


async def test_an_early_end_is_a_wrong_duration(ts: bytes) -> None:
    row = await _play(RtspScript(ts, 5.0, answer="MP2T/TCP"))
    assert (row.ok, row.stage) == (False, Stage.TIMING)
    assert "announced 5.00 s" in row.reason


async def test_a_lesson_beyond_the_box_fails() -> None:
    row = await _play(RtspScript(make_media("mpegts", 5, size=(1280, 720)), 0.2, answer="MP2T/TCP"))
    assert (row.ok, row.stage) == (False, Stage.DECODE)


async def test_a_container_that_the_box_cannot_unpack_fails(ts: bytes) -> None:
    box = _box()
    deaf = msgspec.structs.replace(box, caps=msgspec.structs.replace(box.caps, containers=("mp4",)))
    row = await _play(RtspScript(ts, 2.0, answer="MP2T/TCP"), deaf)
    assert (row.ok, row.stage) == (False, Stage.DECODE)
    assert "does not unpack mpegts" in row.reason


def _conversation() -> Conversation:
    face = load_all()["ctc_hw_old"].rtsp
    assert face
    return Conversation("rtsp://127.0.0.1/vod/7.mpg", face, ports=(40000, 40001), address="127.0.0.1")


SDP = b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\na=range:npt=0-10\r\nm=video 0 MP2T/RTP/UDP 33\r\n"


def _to_playing(talk: Conversation) -> None:
    talk.start(0)
    talk.response(Response(200, "OK", Headers([("CSeq", "1")]), SDP), 1)
    chosen = "MP2T/RTP/UDP;unicast;client_port=40000-40001;server_port=50000-50001"
    talk.response(Response(200, "OK", Headers([("CSeq", "2"), ("Session", "9"), ("Transport", chosen)])), 2)
    talk.response(Response(200, "OK", Headers([("CSeq", "3")])), 3)


def test_keep_alive_at_the_box_own_period_then_options_after_501() -> None:
    talk = _conversation()
    _to_playing(talk)
    assert talk.next_timer() == 33
    assert talk.tick(32.9) == []
    (first,) = talk.tick(33)
    assert isinstance(first, Send) and first.data.startswith(b"GET_PARAMETER ") and b"Session: 9\r\n" in first.data
    talk.response(Response(501, "Not Implemented", Headers([("CSeq", "4")])), 34)
    (second,) = talk.tick(63)
    assert isinstance(second, Send) and second.data.startswith(b"OPTIONS ")
    with pytest.raises(Exception, match="454"):
        talk.response(Response(454, "Session Not Found", Headers([("CSeq", "5")])), 64)


def test_silence_after_a_request_is_bounded() -> None:
    talk = _conversation()
    talk.start(0)
    assert talk.next_timer() == 10
    with pytest.raises(Exception, match="no answer to DESCRIBE"):
        talk.tick(10)


def test_announce_ends_and_is_not_answered_other_methods_are_deviations() -> None:
    talk = _conversation()
    _to_playing(talk)
    assert talk.request(Request("ANNOUNCE", "rtsp://x/", Headers([("x-notice", "2102")])), 4) == []
    assert talk.request(Request("ANNOUNCE", "rtsp://x/", Headers([("x-notice", "2101 End")])), 5) == [
        Ended("ANNOUNCE 2101 End")
    ]
    assert talk.request(Request("OPTIONS", "*"), 6) == [Deviated("server-method-OPTIONS")]


def test_teardown_waits_two_seconds_at_most() -> None:
    talk = _conversation()
    _to_playing(talk)
    (command,) = talk.teardown(5)
    assert isinstance(command, Send) and command.data.startswith(b"TEARDOWN ")
    assert talk.next_timer() == 7
    talk.tick(7)
    assert talk.state.name == "DONE"


def test_redirect_and_relative_control() -> None:
    talk = _conversation()
    talk.start(0)
    moved = Response(302, "Moved", Headers([("CSeq", "1"), ("Location", "rtsp://127.0.0.1:8554/b")]))
    assert talk.response(moved, 1) == [Reconnect("rtsp://127.0.0.1:8554/b")]


def _rtp(payload: bytes, stamp: int, *, marker: bool = False) -> RtpPacket:
    return RtpPacket(96, 0, stamp, 1, marker, payload)


def test_h264_single_aggregated_and_fragmented_units() -> None:
    box = Depacketizer()
    assert box.feed(_rtp(b"\x67SPS", 100)) == []
    assert box.feed(_rtp(b"\x78\x00\x04\x68PPS\x00\x02\x06S", 100)) == []
    assert box.feed(_rtp(b"\x7c\x85abc", 100)) == []
    assert box.feed(_rtp(b"\x7c\x05def", 100)) == []
    whole = b"\0\0\0\1\x67SPS\0\0\0\1\x68PPS\0\0\0\1\x06S\0\0\0\1\x65abcdefghi"
    assert box.feed(_rtp(b"\x7c\x45ghi", 100, marker=True)) == [(whole, 0)]
    assert box.feed(_rtp(b"\x41P", 3700, marker=True)) == [(b"\0\0\0\1\x41P", 3600)]
    assert box.damaged == 0


def test_h264_time_wraps_and_damage_is_counted() -> None:
    box = Depacketizer()
    box.feed(_rtp(b"\x65a", 0xFFFFFF00, marker=True))
    assert box.feed(_rtp(b"\x41b", 0x00000100, marker=True)) == [(b"\0\0\0\1\x41b", 0x200)]
    box.feed(_rtp(b"\x7c\x05middle without start", 0x200))
    box.feed(_rtp(b"\x78\x00\xffcut", 0x200))
    box.feed(_rtp(b"", 0x200))
    assert box.damaged == 3


def test_parameter_sets_come_from_the_sdp() -> None:
    assert parameter_sets("96 packetization-mode=1;sprop-parameter-sets=Z0I=,aM4=") == b"\0\0\0\1gB\0\0\0\1h\xce"
    assert parameter_sets("96 packetization-mode=1") == b""
