"""Keys of the remote control: each does what it should at a server that obeys, and each fault of a server is seen."""

from __future__ import annotations

import msgspec
import pytest

from runtime.clock import SystemClock
from stb_emulator.boxes import Box, load_all
from stb_emulator.observe import Observation, Offer
from stb_emulator.observe.decoder import Decoder
from stb_emulator.observe.leg import Leg
from stb_emulator.observe.pressing import end_fault
from stb_emulator.observe.tally import Tally
from stb_emulator.observe.timeline import BufferModel
from stb_emulator.players import Key, Press
from stb_emulator.players.rtsp.receiver import Receiver, Shape
from stb_emulator.seat import Seat
from tests.peers.rtsp_keys import RtspKeys
from tests.peers.scripted import HttpFiles, listening, make_media

SECONDS = 12.0
PAUSE = (Press(Key.PAUSE, 1.0, hold_s=0.3),)
SEEK = (Press(Key.SEEK, 1.0, to_s=7.4),)
TRICK = (Press(Key.TRICK, 1.0, hold_s=0.9, scale=2), Press(Key.TRICK, 0.5, hold_s=0.6, scale=-2))
END = (Press(Key.SEEK, 1.0, to_s=-3.0),)


@pytest.fixture(scope="module")
def ts() -> bytes:
    return make_media("mpegts", 300, options={"mpegts_flags": "+pat_pmt_at_frames"})


@pytest.fixture(scope="module")
def mp4() -> bytes:
    return make_media("mp4", 300, options={"movflags": "+faststart"})


def _box() -> Box:
    box = load_all()["ctc_hw_c20"]
    assert box.rtsp and "MP2T/RTP/TCP" in box.rtsp.transports
    return box


async def _rtsp(
    server: RtspKeys, presses: tuple[Press, ...], *, box: Box | None = None, to_the_end: bool = False
) -> Observation:
    async with listening(server) as port:
        seconds = None if to_the_end else 1.0
        seat = Seat(
            portal_url="http://127.0.0.1",
            clock=SystemClock(),
            silence_s=2,
            seconds=seconds,
            presses=presses,
            to_the_end=to_the_end,
        )
        offer = Offer(item_id="7", title="七", column="", family="video", url=f"rtsp://127.0.0.1:{port}/7")
        return await seat.play_url(box or _box(), offer)


async def test_after_a_pause_no_picture_is_missing(ts: bytes) -> None:
    row = await _rtsp(RtspKeys(ts, SECONDS), PAUSE)
    assert (row.ok, row.reason) == (True, "")
    assert row.frame_code and row.frame_code.perfect and row.frame_code.read >= 50
    assert [(p.key, p.has_key, p.asked) for p in row.pressed] == [(Key.PAUSE, True, "PAUSE, PLAY")]
    assert row.pressed[0].first_picture_ms is not None


async def test_a_seek_leads_to_the_key_picture_before_the_place(ts: bytes) -> None:
    row = await _rtsp(server := RtspKeys(ts, SECONDS), SEEK)
    assert (row.ok, row.reason) == (True, "")
    (pressed,) = row.pressed
    assert (pressed.asked, pressed.at_s, pressed.proof) == ("PLAY Range: npt=7.400-", 7.0, "frame_code")
    assert "\r\nRange: npt=7.400-\r\n" in server.asked[-2]
    assert row.lost == row.continuity_errors == row.decode_errors == 0


async def test_winding_goes_on_in_steps_in_its_direction(ts: bytes) -> None:
    row = await _rtsp(RtspKeys(ts, SECONDS), TRICK)
    assert (row.ok, row.reason) == (True, "")
    assert [(p.key, p.scale) for p in row.pressed] == [
        (Key.TRICK, 2),
        (Key.PLAY, 1),
        (Key.TRICK, -2),
        (Key.PLAY, 1),
    ]
    forwards, on, backwards, again = row.pressed
    assert forwards.frames >= 3 and backwards.frames >= 2
    assert on.at_s is not None and forwards.at_s is not None and on.at_s > forwards.at_s
    assert again.at_s is not None and backwards.at_s is not None and again.at_s < backwards.at_s


async def test_a_lesson_left_to_end_is_announced_as_ended(ts: bytes) -> None:
    row = await _rtsp(RtspKeys(ts, SECONDS), END, to_the_end=True)
    assert (row.ok, row.reason) == (True, "")
    assert row.ended == "ANNOUNCE 2101 End-of-Stream" and row.pressed[0].frames == 75


async def test_a_box_without_the_key_says_so_and_plays_on(ts: bytes) -> None:
    box = _box()
    assert box.rtsp
    plain = msgspec.structs.replace(box, rtsp=msgspec.structs.replace(box.rtsp, scales=()))
    row = await _rtsp(RtspKeys(ts, SECONDS), TRICK, box=plain)
    assert row.ok and [(p.key, p.has_key) for p in row.pressed] == [(Key.TRICK, False)] * 2
    assert "no key" in row.pressed[0].answered


@pytest.mark.parametrize(
    ("odd", "presses", "word"),
    [
        ({"loses": 1}, PAUSE, "continuity"),
        ({"mute": True}, PAUSE, "no data"),
        ({"elsewhere": 4}, SEEK, "seek to 7.4 s came out at 11.0 s"),
        ({"elsewhere": -5}, SEEK, "seek to 7.4 s came out at 2.0 s"),
        ({"says": 1.0}, SEEK, "seek to 7.4 s was answered with 1.0 s"),
        ({"refuses": 457}, SEEK, "457"),
        ({"mute": True}, SEEK, "no data"),
        ({"backwards": True}, TRICK, "0 pictures went forwards"),
        ({"no_scale": True}, TRICK, "asked for 2x, answered 1x"),
    ],
)
async def test_what_a_server_does_wrong_is_seen(ts: bytes, odd: dict[str, object], presses: tuple, word: str) -> None:
    row = await _rtsp(RtspKeys(ts, SECONDS, **odd), presses)
    assert not row.ok and word in row.reason, row.reason


async def test_an_end_that_nobody_announces_fails(ts: bytes) -> None:
    row = await _rtsp(RtspKeys(ts, SECONDS, no_end=True), END, to_the_end=True)
    assert not row.ok and "did not announce the end" in row.reason


async def test_a_key_after_the_end_was_not_pressed(ts: bytes) -> None:
    row = await _rtsp(RtspKeys(ts, SECONDS), (Press(Key.SEEK, 30.0, to_s=2.0),))
    assert not row.ok and "seek was not pressed" in row.reason


async def _http(files: HttpFiles, presses: tuple[Press, ...], *, to_the_end: bool = False) -> Observation:
    async with listening(files) as port:
        seat = Seat(
            portal_url="http://127.0.0.1",
            clock=SystemClock(),
            silence_s=2,
            seconds=None if to_the_end else 1.0,
            presses=presses,
            to_the_end=to_the_end,
        )
        url = f"http://127.0.0.1:{port}/v.mp4"
        offer = Offer(item_id="7", title="七", column="", family="video", url=url, announced_s=SECONDS)
        return await seat.play_url(load_all()["pc_progressive"], offer)


@pytest.mark.parametrize(("presses", "to_the_end"), [(PAUSE, False), (SEEK, False), (END, True)])
async def test_keys_of_a_browser(mp4: bytes, presses: tuple[Press, ...], to_the_end: bool) -> None:
    files = HttpFiles({"/v.mp4": ("video/mp4", mp4)})
    row = await _http(files, presses, to_the_end=to_the_end)
    assert (row.ok, row.reason) == (True, "")
    if presses is SEEK:
        assert row.pressed[0].at_s == 7.0 and row.pressed[0].asked == f"Range: {files.asked[-1][2]['range']}"
    if presses is END:
        assert row.ended == "EOF" and row.pressed[0].frames == 75


async def test_a_browser_has_no_winding(mp4: bytes) -> None:
    row = await _http(HttpFiles({"/v.mp4": ("video/mp4", mp4)}), TRICK)
    assert row.ok and [p.has_key for p in row.pressed] == [False, False]


async def test_a_server_that_sends_other_bytes_fails_the_seek(mp4: bytes) -> None:
    class Wrong(HttpFiles):
        def answer(self, path: str, headers: dict[str, str]) -> bytes:
            whole = super().answer(path, headers)
            if "range" not in headers:
                return whole
            head, _, body = whole.partition(b"\r\n\r\n")
            return head + b"\r\n\r\n" + mp4[: len(body)]

    row = await _http(Wrong({"/v.mp4": ("video/mp4", mp4)}), SEEK)
    assert not row.ok and row.pressed[0].key is Key.SEEK


async def test_a_server_that_ignores_range_fails_the_seek(mp4: bytes) -> None:
    class Deaf(HttpFiles):
        def answer(self, path: str, headers: dict[str, str]) -> bytes:
            return super().answer(path, {})

    row = await _http(Deaf({"/v.mp4": ("video/mp4", mp4)}), SEEK)
    assert not row.ok and "200 to a Range request" in row.reason


def test_the_end_is_judged_only_of_boxes_that_could_go_there() -> None:
    able, unable = (Tally([Leg(BufferModel(1.0, 1.0))]) for _ in range(2))
    able.press(Key.SEEK, 0.0, "PLAY")
    unable.no_key(Key.SEEK, 0.0, "no keys")
    assert end_fault(able) is not None and end_fault(unable) is None


async def test_old_datagrams_that_come_late_do_not_belong_to_the_new_place(ts: bytes) -> None:
    decoder = Decoder(want_s=None, buffer=lambda: BufferModel(1.0, 1.0), silence_s=5, now=SystemClock().monotonic)
    receiver = Receiver(Shape(False, 33, "mpegts", datagrams=True), decoder, lambda: None)
    pieces = [ts[at : at + 1316] for at in range(0, len(ts), 1316)]
    for piece in pieces[:30]:
        receiver.take(piece, 0.0)
    pressing = decoder.tally.press(Key.SEEK, 0.0, "PLAY")
    receiver.doubt()
    receiver.take(pieces[30], 0.0)
    decoder.cut(pressing)
    receiver.divide(None)
    for piece in pieces[31:90]:
        receiver.take(piece, 9.0)
    begin = RtspKeys(ts, SECONDS).starts[7]
    for at in range(begin, len(ts), 1316):
        receiver.take(ts[at : at + 1316], 9.0)
    receiver.finish()
    tally = await decoder.finish()
    code = tally.leg.numbers.result()
    assert code is not None and code.first == 175 and code.perfect
    assert tally.continuity_errors == 0
