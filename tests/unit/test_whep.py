"""WHEP without a network: choosing from offers, RTP numbers, runs of packets, chunks, pacing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from edge_server.egress.whep import inside
from edge_server.egress.whep.chunks import Chunks
from edge_server.egress.whep.datagrams import RUN_MAX_BYTES, RUN_MAX_COUNT, runs
from edge_server.egress.whep.frames import Chunk, Frame, chunk_of
from edge_server.egress.whep.lesson import NotInOrder, open_lesson
from edge_server.egress.whep.negotiate import Credentials, Refused, Side, read_offer, write_answer
from edge_server.egress.whep.outgoing import HISTORY_MAX_PACKETS, Format, Numbers, Outgoing
from edge_server.egress.whep.pacing import Pacing
from edge_server.egress.whep.viewer import AGAIN_MAX_PER_S, BURST_MAX_PACKETS, Viewer
from fixtures.lessons import make_counted_lesson
from media import Unmuxable
from media.avc import nal_units, read_avcc
from runtime.clock import FakeClock
from wire.rtp import OtherRtcp, ReceiverReport, SenderReport, parse_rtcp, parse_rtp, write_rtcp
from wire.rtp_feedback import read_feedback
from wire.sdp import MediaDescription, parse

OFFER = (Path(__file__).parents[1] / "vectors" / "sdp" / "whep_offer_chromium.sdp").read_bytes()
SIDE = Side(
    mine=Credentials("abcd", "p" * 22, (("sha-256", "AA:BB"),), True),
    candidate="1 1 udp 2130706431 192.168.1.2 40000 typ host",
    host="192.168.1.2",
    port=40000,
    stream="stream",
    video_ssrcs=(11, 12),
    sound_ssrc=13,
)
NUMBERS = Numbers(ssrc=0x01020304, again_ssrc=0x05060708, sequence=65530, again_sequence=7, timestamp=0xFFFFFF00)
FORMAT = Format(payload_type=102, clock_hz=90_000, mid="0", mid_extension=4, time_extension=3, again_payload_type=103)


def section(answer: bytes, kind: str) -> MediaDescription:
    return next(each for each in parse(answer).media if each.kind == kind)


@pytest.mark.parametrize(
    ("lesson", "payload_type"),
    [("42e01e", 108), ("4d401e", 116), ("640029", 41)],
    ids=["baseline", "main", "high is answered by the next higher profile"],
)
def test_the_profile_of_the_lesson_is_chosen(lesson: str, payload_type: int) -> None:
    wanted = read_offer(OFFER, profile_level_id=lesson, has_sound=False)
    assert wanted.video.payload_type == payload_type
    assert wanted.video.again_payload_type == payload_type + 1
    assert wanted.sound is None


def test_the_answer_takes_the_pictures_and_the_sound_on_one_transport() -> None:
    wanted = read_offer(OFFER, profile_level_id="4d401e", has_sound=True)
    answer = write_answer(wanted, SIDE)
    video, sound = section(answer, "video"), section(answer, "audio")
    assert video.formats == ("116", "117") and sound.formats == ("111",)
    assert ("sendonly", None) in video.attributes and ("rtcp-mux", None) in sound.attributes
    assert ("group", "BUNDLE 0 1") in parse(answer).attributes
    assert not any(b"VP8" in line or b"transport-cc" in line or b"goog-remb" in line for line in answer.split(b"\n"))
    assert ("setup", "active") in video.attributes


def test_what_is_not_sent_is_rejected() -> None:
    answer = write_answer(read_offer(OFFER, profile_level_id="4d401e", has_sound=False), SIDE)
    assert section(answer, "audio").port == 0
    assert ("group", "BUNDLE 0") in parse(answer).attributes


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (lambda raw: raw.replace(b"H264", b"VP8"), 406),
        (lambda raw: raw.replace(b"packetization-mode=1", b"packetization-mode=0"), 406),
        (lambda raw: raw.replace(b"a=recvonly", b"a=sendonly"), 406),
        (lambda raw: raw.replace(b"a=ice-pwd", b"a=x-pwd"), 400),
        (lambda raw: raw.replace(b"a=fingerprint", b"a=x-fingerprint"), 400),
        (lambda raw: raw.replace(b"a=setup:actpass", b"a=setup:holdconn"), 400),
        (lambda raw: raw.replace(b"a=rtcp-mux\r\n", b""), 400),
        (lambda raw: raw.replace(b"a=mid:0", b"a=mid:" + b"0" * 17), 400),
        (lambda raw: b"hello", 400),
        (lambda raw: b"", 400),
    ],
)
def test_offers_that_cannot_be_answered_are_refused_with_words(spoil: object, status: int) -> None:
    with pytest.raises(Refused) as refused:
        read_offer(spoil(OFFER), profile_level_id="4d401e", has_sound=False)  # type: ignore[operator]
    assert refused.value.status == status
    assert " / " in refused.value.words and not refused.value.words.isascii()


def test_packets_carry_what_was_negotiated() -> None:
    out = Outgoing(FORMAT, NUMBERS, "name")
    made = out.make((b"one", b"two"), 0.01, 2.5, last=True)
    first, second = map(parse_rtp, made)
    assert (first.sequence, second.sequence) == (65530, 65531)
    assert first.timestamp == second.timestamp == (0xFFFFFF00 + 900) & 0xFFFFFFFF, "wraps"
    assert (first.marker, second.marker) == (False, True)
    assert (first.payload, second.payload) == (b"one", b"two")
    assert made[0][12:24] == bytes.fromhex("bede0002") + b"\x40" + b"0" + b"\x32" + bytes.fromhex("0a0000") + b"\0\0"


def test_what_is_asked_for_again_comes_as_a_stream_of_its_own() -> None:
    out = Outgoing(FORMAT, NUMBERS, "name")
    out.make([bytes((n,)) for n in range(10)], 0.0, 0.0, last=True)
    first, last = map(parse_rtp, out.again([65535, 3, 400]))
    assert first.ssrc == NUMBERS.again_ssrc and first.payload_type == 103
    assert (first.sequence, first.payload) == (8, b"\xff\xff" + b"\5")
    assert (last.sequence, last.payload, last.marker) == (9, b"\0\3" + b"\x09", True)


def test_without_such_a_stream_the_same_bytes_come_again() -> None:
    out = Outgoing(Format(payload_type=96, clock_hz=90_000, mid="0", time_extension=3), NUMBERS, "name")
    made = out.make((b"one", b"two"), 0.0, 1.0, last=True)
    out.make((b"three",), 0.04, 2.0, last=True)
    assert out.again([65531]) == made[1:]


def test_history_is_bounded() -> None:
    out = Outgoing(FORMAT, NUMBERS, "name")
    for _ in range(HISTORY_MAX_PACKETS // 8 + 1):
        out.make([b"x"] * 8, 0.0, 0.0, last=True)
    assert out.again([NUMBERS.sequence]) == []
    assert len(out.again([NUMBERS.sequence + 8 & 0xFFFF])) == 1


def test_reports_map_one_moment_of_both_streams_to_one_wall_time() -> None:
    video = Outgoing(FORMAT, NUMBERS, "name")
    sound = Outgoing(Format(payload_type=111, clock_hz=48_000, mid="1"), NUMBERS, "name")
    reports = parse_rtcp(write_rtcp([*video.report(10.0, 1_700_000_000.5), *sound.report(10.0, 1_700_000_000.5)]))
    first, second = (each for each in reports if isinstance(each, SenderReport))
    assert first.ntp == second.ntp == int((1_700_000_000.5 + 2_208_988_800) * 2**32)
    assert first.rtp_timestamp - NUMBERS.timestamp & 0xFFFFFFFF == 900_000
    assert second.rtp_timestamp - NUMBERS.timestamp & 0xFFFFFFFF == 480_000


def test_feedback_is_read() -> None:
    nack = OtherRtcp(205, 1, (1).to_bytes(4, "big") + (9).to_bytes(4, "big") + bytes.fromhex("fffe0005"))
    picture_loss = OtherRtcp(206, 1, (1).to_bytes(4, "big") + (9).to_bytes(4, "big"))
    intra = OtherRtcp(206, 4, (1).to_bytes(4, "big") + bytes(4) + (8).to_bytes(4, "big") + bytes((1, 0, 0, 0)))
    asked = read_feedback(write_rtcp([ReceiverReport(1), nack, picture_loss, intra]))
    assert asked.lost == ((9, 0xFFFE), (9, 0xFFFF), (9, 1))
    assert asked.keyframes == {8, 9} and not asked.goodbye


def test_runs_have_one_size() -> None:
    a, b, c = b"a" * 1200, b"b" * 1200, b"c" * 300
    assert list(runs([a, b, c, a, c, c])) == [[a, b, c], [a, c], [c]]
    assert list(runs([c, a])) == [[c], [a]]
    many = [b"x" * 1200] * 200
    found = list(runs(many))
    assert sum(map(len, found)) == 200
    assert all(len(run) <= RUN_MAX_COUNT and sum(map(len, run)) <= RUN_MAX_BYTES for run in found)


def test_nothing_that_is_used_inside_aiortc_has_gone() -> None:
    """If this fails after an update of aiortc or aioice, mend edge_server/egress/whep/inside.py."""

    async def ask() -> list[str]:
        return inside.lacking()

    assert asyncio.run(ask()) == []


async def test_only_private_addresses_are_offered() -> None:
    with pytest.raises(ValueError, match="neither a loopback nor a private"):
        inside.Peer("8.8.8.8", lambda _: None, lambda: None)


async def test_chunks_are_made_once_and_bounded() -> None:
    made: list[int] = []
    got: asyncio.Queue[object] = asyncio.Queue()

    def make(number: int) -> Chunk:
        made.append(number)
        if number == 9:
            raise Unmuxable("bad")
        return Chunk((), 400)

    async with asyncio.TaskGroup() as group:
        chunks = Chunks(group, kept_max_bytes=1000)
        for _ in range(3):
            assert chunks.take(1, lambda: make(1), got.put_nowait) is None
        first = [await got.get() for _ in range(3)]
        assert first == [Chunk((), 400)] * 3 and made == [1]
        assert chunks.take(1, lambda: make(1), got.put_nowait) == first[0]
        for number in (2, 3, 9):
            chunks.take(number, partial(make, number), got.put_nowait)
            found = await got.get()
            assert isinstance(found, Unmuxable if number == 9 else Chunk)
        assert chunks.kept_bytes <= 1000
        assert chunks.take(1, lambda: make(1), got.put_nowait) is None, "the oldest has gone"


class Tape:
    """A wire that remembers."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, packets: Sequence[bytes]) -> None:
        self.sent += packets

    def times(self) -> list[int]:
        return [parse_rtp(each).timestamp for each in self.sent if not 192 <= each[1] <= 223]


class Flip:
    """A track of ten chunks of a second, each beginning with a keyframe, or only the first."""

    chunks = 10

    def __init__(self, size: int = 1, keyframes: Sequence[int] = tuple(range(10))) -> None:
        self.size, self.keyframes = size, keyframes

    def key(self, number: int) -> int:
        return number

    def begins_s(self, number: int) -> float:
        return float(number)

    def chunk_at(self, time_s: float) -> int:
        return max(each for each in self.keyframes if each <= max(0.0, time_s) + 1e-6)

    def keyframe_after(self, time_s: float) -> float | None:
        return next((float(each) for each in self.keyframes if each > time_s), None)

    def read_chunk(self, number: int) -> Chunk:
        return chunk_of([Frame(number + n / 25, (b"p" * 100,) * self.size) for n in range(25)])


def watching(track: Flip, clock: FakeClock, begin_s: float = 0.0) -> tuple[Viewer, Tape, Pacing]:
    tape, pacing = Tape(), Pacing(clock)
    numbers = Numbers(1, 2, 3, 4, 0)
    out = Outgoing(Format(payload_type=96, clock_hz=1000, mid="0"), numbers, "name")
    viewer = Viewer(
        [(track, out)], lambda key, make, ready: make(), begin_s=begin_s, wake=pacing.wake, failed=lambda error: None
    )
    viewer.start(tape, bytes, bytes, now_s=clock.monotonic(), unix_s=0.0)
    pacing.wake(viewer)
    return viewer, tape, pacing


async def paced(pacing: Pacing, clock: FakeClock, seconds: float) -> None:
    task = asyncio.ensure_future(pacing.run())
    for _ in range(round(seconds / 0.01)):
        await clock.advance(0.01)
    task.cancel()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime(2026, 11, 24, tzinfo=UTC))


async def test_frames_go_out_at_their_time_without_drift(clock: FakeClock) -> None:
    viewer, tape, pacing = watching(Flip(), clock)
    await paced(pacing, clock, 4.0)
    assert 99 <= len(tape.times()) <= 102
    assert tape.times() == [40 * n for n in range(len(tape.times()))]
    await paced(pacing, clock, 6.5)
    assert len(tape.times()) == 250 and viewer.over
    assert len(pacing) == 0


async def test_a_viewer_may_begin_in_the_middle(clock: FakeClock) -> None:
    _, tape, pacing = watching(Flip(keyframes=(0, 4)), clock, begin_s=6.5)
    await paced(pacing, clock, 0.1)
    assert tape.times()[0] == 4000, "at the keyframe before"


async def test_large_frames_do_not_burst(clock: FakeClock) -> None:
    viewer, tape, _ = watching(Flip(size=100), clock)
    again_s = viewer.pump(clock.monotonic())
    assert len(tape.times()) == BURST_MAX_PACKETS
    assert again_s == pytest.approx(0.005)
    markers = 0
    for _ in range(4):
        await clock.advance(0.005)
        viewer.pump(clock.monotonic())
        markers = sum(parse_rtp(each).marker for each in tape.sent if not 192 <= each[1] <= 223)
    assert (len(tape.times()), markers) == (100, 1)


async def test_a_late_time_line_moves_instead_of_bursting(clock: FakeClock) -> None:
    viewer, tape, _ = watching(Flip(), clock)
    viewer.pump(clock.monotonic())
    await clock.advance(5.0)
    viewer.pump(clock.monotonic())
    assert viewer.moved == 1
    assert len(tape.times()) == 2


async def test_lost_pictures_are_waited_for_or_begun_again(clock: FakeClock) -> None:
    near, tape, pacing = watching(Flip(), clock)
    await paced(pacing, clock, 0.5)
    loss = write_rtcp([OtherRtcp(206, 1, bytes(4) + (1).to_bytes(4, "big"))])
    assert not near.take_feedback(loss, clock.monotonic())
    assert near.restarts == 0, "the next keyframe is half a second away"
    far, tape, pacing = watching(Flip(keyframes=(0,)), clock)
    await paced(pacing, clock, 2.0)
    before = tape.times()[-1]
    far.take_feedback(loss, clock.monotonic())
    far.take_feedback(loss, clock.monotonic())
    await paced(pacing, clock, 0.5)
    assert (far.restarts, far.keyframes_wanted) == (1, 2)
    assert tape.times() == sorted(tape.times()), "the browser's time line goes on"
    assert before < tape.times()[-1] <= before + 600


async def test_what_is_sent_again_is_bounded(clock: FakeClock) -> None:
    viewer, tape, pacing = watching(Flip(size=100), clock)
    await paced(pacing, clock, 0.6)
    nack = write_rtcp([OtherRtcp(205, 1, bytes(4) + (1).to_bytes(4, "big") + bytes.fromhex("0003ffff") * 100)])
    sent = len(tape.sent)
    viewer.take_feedback(nack, clock.monotonic())
    assert len(tape.sent) - sent == viewer.again == AGAIN_MAX_PER_S
    assert not viewer.take_feedback(b"\0" * 8, clock.monotonic()), "noise is passed over"


def test_b_frames_are_left_out_when_nothing_needs_them(tmp_path: Path) -> None:
    made = make_counted_lesson(
        tmp_path / "b.mp4", frames=100, title="x", seed=1, size=(160, 96), x264="bframes=2:b-pyramid=none"
    )
    lesson = open_lesson(made.path, "sha")
    assert 0 < lesson.left_out < 100
    frames = [frame for number in range(lesson.chunks) for frame in lesson.read_chunk(number).frames]
    assert len(frames) == 100 - lesson.left_out
    assert [frame.time_s for frame in frames] == sorted(frame.time_s for frame in frames)
    assert frames[0].payloads[0][0] & 31 == 24, "parameter sets in front of the keyframe"
    assert lesson.chunk_at(3.0) == 1 and lesson.begins_s(1) == 2.0
    assert lesson.keyframe_after(0.5) == 2.0 and lesson.keyframe_after(2.0) is None


def test_b_frames_that_others_need_are_refused(tmp_path: Path) -> None:
    made = make_counted_lesson(
        tmp_path / "p.mp4", frames=100, title="x", seed=1, size=(160, 96), x264="bframes=3:b-adapt=0:b-pyramid=normal"
    )
    with pytest.raises(NotInOrder):
        open_lesson(made.path, "sha")


@pytest.mark.parametrize(
    "record", [b"", b"\1", b"\0" * 20, bytes.fromhex("0142e01effe1"), bytes.fromhex("0142e01effe00100")]
)
def test_a_damaged_description_is_an_error_with_words(record: bytes) -> None:
    with pytest.raises(Unmuxable):
        read_avcc(record)


@pytest.mark.parametrize("sample", [b"\0", b"\0\0\0\5abc"])
def test_a_damaged_sample_is_an_error_with_words(sample: bytes) -> None:
    with pytest.raises(Unmuxable):
        nal_units(sample, 4)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda offer: offer.replace(b"a=rtpmap:", b"a=rtpmap:" + b"9" * 4400 + b" H264/90000\r\na=rtpmap:", 1).replace(
            b"SAVPF ", b"SAVPF " + b"9" * 4400 + b" "
        ),
        lambda offer: offer.replace(b"a=extmap:", b"a=extmap:" + b"9" * 4400),
    ],
)
def test_numbers_of_thousands_of_digits_are_no_numbers_of_an_offer(spoil: Callable[[bytes], bytes]) -> None:
    assert spoil(OFFER) != OFFER
    with contextlib.suppress(Refused):
        read_offer(spoil(OFFER), profile_level_id="4d401e", has_sound=True)
