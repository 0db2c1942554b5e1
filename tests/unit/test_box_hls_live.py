"""Following a live list by RFC 8216 §6.3.3 and §6.3.4; and the player on lists that a server moves."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from runtime.clock import SystemClock
from stb_emulator.boxes import CmcdFace, load_all
from stb_emulator.observe import Observation, Offer, Stage
from stb_emulator.players import Key, Press
from stb_emulator.players.hls.following import Following, begin_at, place_of, whole
from stb_emulator.seat import Seat
from tests.peers.scripted import HttpFiles, listening, make_media
from wire.m3u8 import MediaPlaylist, parse

M3U8 = "application/vnd.apple.mpegurl"


def listed(first: int, count: int, *more: str, target: int = 4) -> MediaPlaylist:
    rows = [f"#EXTINF:{target},\n{n}.ts" for n in range(first, first + count)]
    head = ["#EXTM3U", f"#EXT-X-TARGETDURATION:{target}", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    playlist = parse("\n".join([*head, *rows, *more]))
    assert isinstance(playlist, MediaPlaylist)
    return playlist


def test_a_live_list_is_begun_three_targets_before_its_end() -> None:
    assert begin_at(listed(10, 6)) == 13
    assert begin_at(listed(10, 3)) == 10
    assert begin_at(listed(10, 1)) == 10
    assert begin_at(parse("#EXTM3U\n#EXT-X-TARGETDURATION:4\n" + "#EXTINF:2,\ns.ts\n" * 10)) == 4  # type: ignore[arg-type]


def test_new_segments_are_taken_once_in_order() -> None:
    following = Following()
    taken = [d.sequence for d in following.take(listed(10, 6), 0)]
    taken += [d.sequence for d in following.take(listed(11, 6), 4)]
    taken += [d.sequence for d in following.take(listed(11, 6), 8)]
    taken += [d.sequence for d in following.take(listed(13, 6, "#EXT-X-ENDLIST"), 10)]
    assert taken == list(range(13, 19)) and following.expired == 0


def test_when_to_look_again() -> None:
    """One target duration after a list that had changed, half of one after a list that had not."""
    following = Following()
    following.take(listed(1, 5), 100)
    assert following.reload_at == 104
    following.take(listed(1, 5), 104)
    assert following.reload_at == 106 and following.unmoved == 1
    following.take(listed(1, 5), 106)
    assert following.reload_at == 108 and following.unmoved == 1.5
    following.take(listed(2, 5), 108)
    assert following.reload_at == 112 and following.unmoved == 0


def test_segments_that_left_the_list_are_counted_and_break_the_time_line() -> None:
    following = Following()
    following.take(listed(1, 5), 0)
    dues = following.take(listed(9, 5), 4)
    assert following.expired == 3 and [(d.sequence, d.breaks) for d in dues[:2]] == [(9, True), (10, False)]


def test_a_server_that_forgot_its_numbers_is_begun_anew() -> None:
    following = Following()
    following.take(listed(100, 5), 0)
    dues = following.take(listed(0, 5), 4)
    assert following.went_back and [d.sequence for d in dues] == [2, 3, 4] and dues[0].breaks


def test_discontinuities_and_heads() -> None:
    playlist = parse(
        '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="a"\n#EXTINF:2,\n1\n#EXTINF:2,\n2\n'
        '#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="b"\n#EXTINF:2,\n3\n#EXTINF:2,\n4\n#EXT-X-ENDLIST\n'
    )
    assert isinstance(playlist, MediaPlaylist)
    dues = whole(playlist)
    assert [(d.map_uri, d.breaks) for d in dues] == [("a", False), ("a", False), ("b", True), ("b", False)]
    assert [place_of(dues, s) for s in (0.0, 1.9, 2.0, 7.5, 99.0)] == [(0, 0.0), (0, 0.0), (1, 2.0), (3, 6.0), (3, 6.0)]


class Moving(HttpFiles):
    """A list of parts, each on its own time line, that shows ``window`` of them, ``step`` more at each look."""

    def __init__(self, parts: list[bytes], window: int = 4, step: int = 1) -> None:
        super().__init__({f"/{n}.ts": ("video/mp2t", data) for n, data in enumerate(parts)})
        self.looks, self.count, self.window, self.step = 0, len(parts), window, step
        self.ends = True
        self.kind = ""

    def answer(self, path: str, headers: dict[str, str]) -> bytes:
        if path == "/live.m3u8":
            last = min(self.count, 1 + self.looks * self.step)
            first = max(0, last - self.window)
            rows = [f"#EXT-X-DISCONTINUITY\n#EXTINF:1.0,\n{n}.ts" for n in range(first, last)]
            head = [
                "#EXTM3U",
                "#EXT-X-TARGETDURATION:1",
                f"#EXT-X-MEDIA-SEQUENCE:{first}",
                *[self.kind] * bool(self.kind),
            ]
            end = ["#EXT-X-ENDLIST"] if self.ends and last == self.count else []
            self.files[path] = (M3U8, "\n".join([*head, *rows, *end]).encode())
            self.looks += 1
        return super().answer(path, headers)


@pytest.fixture(scope="module")
def parts() -> list[bytes]:
    """Four lessons of one second, with numbers that go on."""
    return [make_media("mpegts", 25, skip=range(25 * n)) for n in range(4)]


async def _watch(
    files: HttpFiles, *, seconds: float | None = None, live: bool = True, box: str = "new_hls_ts"
) -> Observation:
    async with listening(files) as port:
        seat = Seat(portal_url="http://127.0.0.1", clock=SystemClock(), silence_s=4, seconds=seconds)
        url = f"http://127.0.0.1:{port}/live.m3u8"
        offer = Offer(item_id="x", title="", column="", family="video", url=url, live=live)
        return await seat.play_url(load_all()[box], offer)


@pytest.mark.parametrize("kind", ["", "#EXT-X-PLAYLIST-TYPE:EVENT"])
async def test_a_list_that_moves_is_played_to_its_end_over_all_time_lines(parts: list[bytes], kind: str) -> None:
    files = Moving(parts, 9 if kind else 2, step=2)
    files.kind = kind
    row = await _watch(files)
    assert (row.ok, row.reason) == (True, "")
    assert row.frames == 100 and row.transport == "HLS live" and files.looks == 3
    assert row.played_s == pytest.approx(4.0, abs=0.3) and row.continuity_errors == 0


async def test_the_wanted_seconds_are_counted_over_time_lines(parts: list[bytes]) -> None:
    files = Moving(parts)
    files.looks, files.ends = 9, False
    row = await _watch(files, seconds=2.5)
    assert (row.ok, row.reason) == (True, "")
    assert 2.5 <= row.played_s < 3.5


async def test_segments_that_expired_are_a_fault(parts: list[bytes]) -> None:
    row = await _watch(Moving(parts, 1, step=2))
    assert (row.ok, row.stage) == (False, Stage.PLAY) and "1 segments had left" in row.reason
    files = Moving(parts, 4, step=2)
    del files.files["/1.ts"]
    gone = await _watch(files)
    assert "1 segments had left" in gone.reason and gone.frames == 75


async def test_a_list_that_stands_still_is_reported(parts: list[bytes]) -> None:
    files = Moving(parts[:2], 2, step=1)
    files.ends = False
    row = await _watch(files, seconds=30)
    assert (row.ok, row.stage) == (False, Stage.FETCH) and "has not moved" in row.reason
    assert any("late" in each for each in row.warnings)


async def test_on_demand_with_new_time_lines(parts: list[bytes]) -> None:
    files = Moving(parts)
    files.looks = 9
    row = await _watch(files, live=False)
    assert (row.ok, row.reason) == (True, "") and row.frames == 100 and row.announced_s == 4.0


async def test_a_new_initialization_section_opens_a_new_decoder() -> None:
    """Two lessons of different sizes: the second cannot be decoded with the head of the first."""
    files, rows = HttpFiles({}), []
    for name, size in (("a", (320, 240)), ("b", (480, 272))):
        flags = {"movflags": "+frag_keyframe+empty_moov+default_base_moof"}
        data = make_media("mp4", 25, size=size, options=flags)
        at = data.index(b"moof") - 4
        files.files |= {f"/{name}-init.mp4": ("video/mp4", data[:at]), f"/{name}.m4s": ("video/mp4", data[at:])}
        rows.append(f'#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="{name}-init.mp4"\n#EXTINF:1.0,\n{name}.m4s')
    text = "\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:1", *rows, "#EXT-X-ENDLIST"])
    files.files["/live.m3u8"] = (M3U8, text.encode())
    row = await _watch(files, box="new_hls_fmp4")
    assert (row.ok, row.reason) == (True, "") and row.frames == 50


async def test_a_lesson_of_known_length_without_an_end_is_cut_off(parts: list[bytes]) -> None:
    files = Moving(parts)
    files.looks, files.ends = 9, False
    async with listening(files) as port:
        seat = Seat(portal_url="http://127.0.0.1", clock=SystemClock(), silence_s=4)
        url = f"http://127.0.0.1:{port}/live.m3u8"
        offer = Offer(item_id="x", title="", column="", family="video", url=url, announced_s=4.0)
        row = await seat.play_url(load_all()["new_hls_ts"], offer)
    assert not row.ok and "truncated" in row.reason


async def _press(files: HttpFiles, *presses: Press, seconds: float | None = 0.5, live: bool = False) -> Observation:
    async with listening(files) as port:
        clock = SystemClock()
        seat = Seat(portal_url="http://127.0.0.1", clock=clock, silence_s=4, seconds=seconds, presses=presses)
        url = f"http://127.0.0.1:{port}/live.m3u8"
        offer = Offer(item_id="x", title="", column="", family="video", url=url, live=live)
        return await seat.play_url(load_all()["new_hls_ts"], offer)


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, bytes]]:
    """Eight segments of one second that ffmpeg cut from one stream."""
    folder = tmp_path_factory.mktemp("lesson")
    (folder / "a.ts").write_bytes(make_media("mpegts", 200))
    words = ["ffmpeg", "-v", "error", "-i", str(folder / "a.ts"), "-c", "copy", "-f", "hls", "-hls_time", "1"]
    words += ["-hls_playlist_type", "vod", "-hls_flags", "program_date_time", str(folder / "live.m3u8")]
    subprocess.run(words, check=True)
    kinds = {".ts": "video/mp2t", ".m3u8": M3U8}
    return {f"/{p.name}": (kinds[p.suffix], p.read_bytes()) for p in folder.iterdir() if p.name != "a.ts"}


@pytest.mark.stranger("ffmpeg")
async def test_seek_pause_and_keys_that_do_not_exist(lesson: dict[str, tuple[str, bytes]]) -> None:
    files = HttpFiles(dict(lesson))
    seek, back = Press(Key.SEEK, 1.0, to_s=5.5), Press(Key.SEEK, 0.5, to_s=-7.0)
    row = await _press(files, seek, Press(Key.PAUSE, 0.4, hold_s=0.2), Press(Key.TRICK, 0.2, scale=8), back)
    assert (row.ok, row.reason) == (True, "")
    went = [(each.key, each.at_s, each.proof) for each in row.pressed if each.has_key]
    assert went == [(Key.SEEK, 5.0, "frame_code"), (Key.PAUSE, None, ""), (Key.SEEK, 1.0, "frame_code")]
    assert [each.key for each in row.pressed if not each.has_key] == [Key.TRICK]


@pytest.mark.stranger("ffmpeg")
async def test_a_seek_that_leads_elsewhere_is_a_fault(lesson: dict[str, tuple[str, bytes]]) -> None:
    files = HttpFiles(dict(lesson))
    text = lesson["/live.m3u8"][1].decode().replace("DURATION:1", "DURATION:2").replace("#EXTINF:1.0", "#EXTINF:2.0")
    files.files["/live.m3u8"] = (M3U8, text.encode())
    row = await _press(files, Press(Key.SEEK, 1.0, to_s=6.5))
    assert not row.ok and "6.5" in row.reason


@pytest.mark.stranger("ffmpeg")
async def test_a_moment_of_a_channel_and_one_that_has_left_the_list(lesson: dict[str, tuple[str, bytes]]) -> None:
    files = HttpFiles(dict(lesson))
    text = lesson["/live.m3u8"][1].decode()
    began = datetime.fromisoformat(next(x for x in text.splitlines() if "DATE-TIME" in x).split(":", 1)[1])
    text = text.replace("#EXT-X-ENDLIST\n", "").replace("#EXT-X-PLAYLIST-TYPE:VOD\n", "")
    files.files["/live.m3u8"] = (M3U8, text.encode())
    shift = Press(Key.SHIFT, 0.5, moment=began + timedelta(seconds=1.2))
    past = Press(Key.SHIFT, 0.2, moment=began - timedelta(hours=1))
    row = await _press(files, shift, past, live=True)
    assert (row.ok, row.reason) == (True, "")
    first, second = row.pressed
    assert first.at_s == pytest.approx((began + timedelta(seconds=1)).timestamp(), abs=0.1) and first.proof == "wire"
    assert not second.has_key and "reach" in second.answered


async def test_what_the_player_says_of_itself_reaches_the_server(parts: list[bytes]) -> None:
    files = Moving(parts)
    files.looks = 9
    box = msgspec.structs.replace(load_all()["new_hls_ts"], cmcd=CmcdFace(form="query"))
    async with listening(files) as port:
        seat = Seat(portal_url="http://127.0.0.1", clock=SystemClock(), silence_s=4)
        url = f"http://127.0.0.1:{port}/live.m3u8"
        row = await seat.play_url(box, Offer(item_id="x", title="", column="", family="video", url=url))
    assert row.ok, row.reason
    said = [dict(parse_qsl(urlsplit(target).query))["CMCD"] for _, target, _, _ in files.asked]
    assert "ot=m" in said[0] and "su" in said[0].split(",")
    assert all('cid="x"' in each and "sf=h" in each for each in said)
    assert "d=1000" in said[1] and 'nor="1.ts"' in said[1] and "bl=0" in said[1] and "ot=av" in said[1]
