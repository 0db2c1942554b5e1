import json

import msgspec
import pytest

from runtime.clock import SystemClock
from stb_emulator.boxes import Box, load_all
from stb_emulator.lab.matrix import run
from stb_emulator.lab.report import page
from stb_emulator.observe import Observation, PlayError, Stage
from stb_emulator.observe.line import Guard
from stb_emulator.players.hls import choose_variant
from stb_emulator.portals.web import parse_catalogue
from stb_emulator.seat import Seat
from tests.peers.scripted import HttpFiles, listening, make_media
from wire.m3u8 import MasterPlaylist, Variant

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)
PAGE = (
    "<!DOCTYPE html><html><head><meta charset='utf-8'><title>课</title></head><p>安全用电</p><img src='a.png'></html>"
)


@pytest.fixture(scope="module")
def mp4() -> bytes:
    return make_media("mp4", 50, options={"movflags": "+faststart"})


@pytest.fixture(scope="module")
def ts() -> bytes:
    return make_media("mpegts", 50)


@pytest.fixture(scope="module")
def fragmented() -> tuple[bytes, bytes]:
    data = make_media("mp4", 50, options={"movflags": "+frag_keyframe+empty_moov+default_base_moof"})
    at = data.index(b"moof") - 4
    return data[:at], data[at:]


def _files(mp4: bytes, ts: bytes, fragmented: tuple[bytes, bytes]) -> HttpFiles:
    item = {"id": "v1", "title": "视频<课>", "class": "education", "family": "video", "duration_s": 2.0, "poster": None}
    play = {"progressive": "/v.mp4", "hls_fmp4": "/f.m3u8", "hls_ts": "/t.m3u8"}
    text = {"id": "p1", "title": "图文", "class": "service", "family": "picture_text", "page": "/page/"}
    columns = [{"id": "c", "title": "栏", "items": [{**item, "play": play}, text]}]
    catalogue = {"format": 1, "seq": 1, "columns": columns}
    head = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n"
    m3u8 = "application/vnd.apple.mpegurl"
    return HttpFiles(
        {
            "/api/v1/catalogue": ("application/json", json.dumps(catalogue).encode()),
            "/v.mp4": ("video/mp4", mp4),
            "/t.m3u8": (m3u8, f"{head}#EXTINF:2.0,\ns.ts\n#EXT-X-ENDLIST\n".encode()),
            "/s.ts": ("video/mp2t", ts),
            "/f.m3u8": (m3u8, f'{head}#EXT-X-MAP:URI="i.mp4"\n#EXTINF:2.0,\ns.m4s\n#EXT-X-ENDLIST\n'.encode()),
            "/i.mp4": ("video/mp4", fragmented[0]),
            "/s.m4s": ("video/mp4", fragmented[1]),
            "/page/": ("text/html; charset=utf-8", PAGE.encode()),
            "/page/a.png": ("image/png", PNG),
        }
    )


@pytest.fixture
def files(mp4: bytes, ts: bytes, fragmented: tuple[bytes, bytes]) -> HttpFiles:
    return _files(mp4, ts, fragmented)


def _seat(port: int, **more: object) -> Seat:
    return Seat(portal_url=f"http://127.0.0.1:{port}", clock=SystemClock(), silence_s=1.0, **more)  # type: ignore[arg-type]


async def _watch(files: HttpFiles, box: str, item: str = "v1", **more: object) -> Observation:
    async with listening(files) as port:
        return await _seat(port, **more).watch(load_all()[box], item)


NEW = ["new_hls_fmp4", "new_hls_ts", "pc_progressive"]


@pytest.mark.parametrize("box", NEW)
async def test_new_boxes_play_every_frame(files: HttpFiles, box: str) -> None:
    row = await _watch(files, box)
    assert (row.ok, row.reason) == (True, "")
    assert row.frames == 50 and row.frame_code and row.frame_code.perfect
    assert row.startup_ms is not None and row.first_picture_ms is not None
    assert row.bytes > 10_000


@pytest.mark.parametrize("box", NEW)
async def test_only_the_wanted_seconds_are_played(files: HttpFiles, box: str) -> None:
    row = await _watch(files, box, seconds=0.8)
    assert (row.ok, row.reason) == (True, "")
    assert row.played_s >= 0.8


@pytest.mark.parametrize("box", NEW)
async def test_the_page_of_a_picture_text_lesson(files: HttpFiles, box: str) -> None:
    row = await _watch(files, box, "p1")
    assert (row.ok, row.reason, row.frames) == (True, "", 1)
    assert row.bytes == len(PAGE.encode()) + len(PNG)


@pytest.mark.parametrize(
    ("change", "stage", "word"),
    [
        ({"/page/a.png": None}, Stage.FETCH, "404"),
        ({"/page/a.png": ("image/png", PNG[:40])}, Stage.DECODE, "a.png"),
        ({"/page/": ("text/html; charset=gbk", PAGE.encode())}, Stage.CONTENT, "header says gbk"),
        ({"/page/": ("text/html", "<meta charset='utf-8'>安全".encode("gbk"))}, Stage.CONTENT, "is not utf-8"),
        ({"/page/": ("text/html", b"<p>no charset")}, Stage.CONTENT, "no charset"),
        ({"/page/": ("text/html; charset=utf-8", b"<img src='a.png'>")}, Stage.CONTENT, "no text"),
        ({"/page/": ("text/plain", PAGE.encode())}, Stage.CONTENT, "not HTML"),
        ({"/page/a.png": ("image/png", PNG + b"\0" * 310_000)}, Stage.CONTENT, "at most 300"),
    ],
)
async def test_bad_pages_are_told_apart(files: HttpFiles, change: dict, stage: Stage, word: str) -> None:
    for path, file in change.items():
        if file is None:
            del files.files[path]
        else:
            files.files[path] = file
    row = await _watch(files, "pc_progressive", "p1")
    assert (row.ok, row.stage) == (False, stage)
    assert word in row.reason


def _screens(files: HttpFiles, *bodies: str) -> None:
    """Let the page be the first of screens in GBK."""
    head = '<html><head><meta http-equiv="Content-Type" content="text/html; charset=GBK"></head>'
    for number, body in enumerate(bodies, start=1):
        path = "/page/" if number == 1 else f"/page/{number}.html"
        files.files[path] = ("text/html; charset=gbk", f"{head}{body}<a href='back'>返回</a></html>".encode("gbk"))


ONE = "第 1 页，共 3 页 €<img src='a.png'><a rel='next' href='2.html'>下一页</a>".replace("€", "&#8364;")
TWO = "第 2 页，共 3 页<img src='b.png'><img src='a.png'><a rel='next' href='3.html'>下一页</a>"
THREE = "第 3 页，共 3 页"


async def test_all_screens_of_a_lesson_are_walked(files: HttpFiles) -> None:
    _screens(files, ONE, TWO, THREE)
    files.files["/page/b.png"] = ("image/png", PNG)
    row = await _watch(files, "pc_progressive", "p1")
    assert (row.ok, row.reason, row.frames) == (True, "", 2)
    assert row.transport == "HTTP page gbk, 3 screens"
    bodies = [files.files[path][1] for path in ("/page/", "/page/2.html", "/page/3.html")]
    assert row.bytes == sum(map(len, bodies)) + 2 * len(PNG), "a picture is fetched once"


@pytest.mark.parametrize(
    ("screens", "word"),
    [
        ((ONE, TWO.replace("3.html", "2.html"), THREE), "ring"),
        ((ONE, THREE.replace("3 页，", "2 页，")), "has no next"),
        ((ONE, TWO.replace("第 2", "第 3"), THREE), "says that it is screen 3"),
        ((ONE, "没有页码", THREE), "does not say which"),
        ((ONE, TWO, THREE + "<a rel='next' href='4.html'>下一页</a>", THREE), "has a next"),
        ((ONE, TWO), "404"),
    ],
)
async def test_screens_that_do_not_follow_each_other(files: HttpFiles, screens: tuple[str, ...], word: str) -> None:
    _screens(files, *screens)
    files.files["/page/b.png"] = ("image/png", PNG)
    row = await _watch(files, "pc_progressive", "p1")
    assert not row.ok and word in row.reason


async def test_the_weight_of_each_screen_counts(files: HttpFiles) -> None:
    """Two screens of 200 kB each are fine, one of 400 kB is not."""
    _screens(files, ONE, TWO.replace("<img src='a.png'>", ""), THREE)
    for name in ("a", "b"):
        files.files[f"/page/{name}.png"] = ("image/png", PNG + bytes(200_000))
    assert (await _watch(files, "pc_progressive", "p1")).ok
    _screens(files, ONE, TWO, THREE)
    row = await _watch(files, "pc_progressive", "p1")
    assert not row.ok and "at most 300" in row.reason


def _text(files: HttpFiles, path: str, old: str, new: str) -> None:
    kind, data = files.files[path]
    assert old.encode() in data
    files.files[path] = (kind, data.replace(old.encode(), new.encode()))


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("#EXT-X-ENDLIST\n", "", "truncated"),
        ("#EXTM3U", "<html>", "unreadable playlist"),
        ("s.ts", "gone.ts", "404"),
        ("#EXTINF:2.0,\ns.ts\n", "", "no segments"),
        ("#EXTINF:2.0", "#EXTINF:9.0", "target duration"),
    ],
)
async def test_bad_playlists(files: HttpFiles, old: str, new: str, word: str) -> None:
    _text(files, "/t.m3u8", old, new)
    row = await _watch(files, "new_hls_ts")
    assert (row.ok, row.stage) == (False, Stage.FETCH)
    assert word in row.reason


async def test_a_segment_too_few_is_a_wrong_duration(files: HttpFiles) -> None:
    _text(files, "/t.m3u8", "#EXTINF:2.0,\ns.ts\n", "#EXTINF:2.0,\ns.ts\n#EXTINF:2.0,\ns.ts\n")
    row = await _watch(files, "new_hls_ts")
    assert not row.ok


async def test_damaged_segments_do_not_pass(files: HttpFiles, ts: bytes) -> None:
    files.files["/s.ts"] = ("video/mp2t", ts[: 188 * 50] + ts[188 * 51 :])
    row = await _watch(files, "new_hls_ts")
    assert (row.ok, row.stage, row.continuity_errors) == (False, Stage.PLAY, 1)
    files.files["/s.ts"] = ("video/mp2t", ts[:1000])
    assert "188" in (await _watch(files, "new_hls_ts")).reason


async def test_a_broken_segment_is_fetched_again(files: HttpFiles, ts: bytes) -> None:
    cut = f"HTTP/1.1 200 OK\r\nContent-Length: {len(ts)}\r\n\r\n".encode() + ts[:5000]
    files.odd["/s.ts"] = [cut, b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"]
    row = await _watch(files, "new_hls_ts")
    assert (row.ok, row.reason) == (True, "")
    assert len(row.warnings) == 2


async def test_a_broken_download_goes_on_where_it_was(files: HttpFiles, mp4: bytes) -> None:
    files.odd["/v.mp4"] = [
        f'HTTP/1.1 200 OK\r\nContent-Length: {len(mp4)}\r\nETag: "v1"\r\n\r\n'.encode() + mp4[:20_000]
    ]
    row = await _watch(files, "pc_progressive")
    assert (row.ok, row.reason, row.bytes) == (True, "", len(mp4))
    second = [headers for _, target, headers, _ in files.asked if target == "/v.mp4"][1]
    assert second["range"] == "bytes=20000-" and second["if-range"] == '"v1"'


async def test_ranges_that_lie_are_found(files: HttpFiles, mp4: bytes) -> None:
    half = min(len(mp4) // 2, 256 * 1024)
    whole = f"HTTP/1.1 200 OK\r\nContent-Length: {len(mp4)}\r\n\r\n".encode() + mp4
    last = half + min(16384, len(mp4) - half) - 1
    lie = f"HTTP/1.1 206 OK\r\nContent-Length: 5\r\nContent-Range: bytes {half}-{last}/{len(mp4)}\r\n\r\nwrong".encode()
    shifted = f"HTTP/1.1 206 OK\r\nContent-Length: 1\r\nContent-Range: bytes 0-0/{len(mp4)}\r\n\r\nx".encode()
    for answers, word in (([whole, whole], "ignores Range"), ([whole, lie], "differ"), ([whole, shifted], "asked for")):
        files.odd["/v.mp4"] = answers
        row = await _watch(files, "pc_progressive")
        assert (row.ok, row.stage) == (False, Stage.FETCH)
        assert word in row.reason


async def test_a_silent_server_is_left(files: HttpFiles, mp4: bytes) -> None:
    async def quiet(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()

    async with listening(quiet) as port:
        row = await _seat(port).watch(load_all()["pc_progressive"], "v1")
    assert (row.ok, row.stage) == (False, Stage.BROWSE)
    assert "no data for 1 s" in row.reason


async def test_garbage_is_not_decoded(files: HttpFiles) -> None:
    files.files["/v.mp4"] = ("video/mp4", b"\0" * 100_000)
    row = await _watch(files, "pc_progressive")
    assert (row.ok, row.stage) == (False, Stage.DECODE)


async def test_a_missing_frame_is_seen_in_the_numbers(files: HttpFiles) -> None:
    files.files["/v.mp4"] = ("video/mp4", make_media("mp4", 50, skip=(20,), options={"movflags": "+faststart"}))
    row = await _watch(files, "pc_progressive")
    assert (row.ok, row.stage) == (False, Stage.CONTENT)
    assert row.frame_code is not None and row.frame_code.gaps == 1


async def test_an_address_on_another_host_is_refused(files: HttpFiles) -> None:
    _text(files, "/api/v1/catalogue", '"/v.mp4"', '"http://192.0.2.7/v.mp4"')
    row = await _watch(files, "pc_progressive")
    assert "192.0.2.7" in row.reason and "--allow" in row.reason


async def test_the_matrix_has_every_box_and_every_lesson(files: HttpFiles) -> None:
    boxes = [load_all()[n] for n in NEW]
    shown: list[Observation] = []
    async with listening(files) as port:
        rows, parity = await run(_seat(port), boxes, only=(), concurrency=3, on_row=lambda row, *_: shown.append(row))
    assert [(r.box, r.lesson) for r in rows] == [(b, i) for b in NEW for i in ("v1", "p1")]
    assert all(r.ok for r in rows), [r.reason for r in rows if not r.ok]
    assert len(shown) == 6
    html = page(rows, {b.name: b for b in boxes}, parity, portal="http://x/?<script>", made="now")
    assert "视频&lt;课&gt;" in html and "<script" not in html and "http://x/?&lt;script&gt;" in html
    assert parity.ok and parity.items == ("v1", "p1")
    assert "6/6" in html and "src=" not in html and "href=" not in html


async def test_a_lesson_that_one_box_lacks_is_a_failed_row(files: HttpFiles) -> None:
    _text(files, "/api/v1/catalogue", '"hls_ts": "/t.m3u8"', '"hls_ts": ""')
    async with listening(files) as port:
        rows, parity = await run(
            _seat(port), [load_all()["new_hls_ts"]], only=("v1", "v9"), concurrency=2, on_row=lambda *_: None
        )
    assert [(r.lesson, r.ok, r.stage) for r in rows] == [("v1", False, Stage.BROWSE), ("v9", False, Stage.BROWSE)]
    assert "not listed" in rows[1].reason
    assert [(each.kind, each.item_id) for each in parity.differences] == [("unplayable", "v1")]


def _caps(**values: object) -> Box:
    box = load_all()["new_hls_ts"]
    return msgspec.structs.replace(box, caps=msgspec.structs.replace(box.caps, **values))


def test_the_best_variant_within_the_box() -> None:
    ladder = MasterPlaylist(
        (
            Variant("high", 4_000_000, codecs="avc1.64002a,mp4a.40.2", resolution=(1920, 1080)),
            Variant("low", 1_200_000, codecs="avc1.4d401e,mp4a.40.2", resolution=(720, 576)),
            Variant("new", 9_000_000, codecs="hvc1.1.6.L93.B0", resolution=(1280, 720)),
        )
    )
    assert choose_variant(ladder, _caps().caps).uri == "high"
    assert choose_variant(ladder, _caps(max_level=30).caps).uri == "low"
    assert choose_variant(ladder, _caps(max_width=1280).caps).uri == "low"
    assert choose_variant(ladder, _caps(max_bit_rate_bps=2_000_000).caps).uri == "low"
    assert choose_variant(ladder, _caps(video=("h264", "hevc")).caps).uri == "new"
    with pytest.raises(PlayError):
        choose_variant(ladder, _caps(max_bit_rate_bps=1_000_000).caps)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format":2,"columns":[]}',
        '{"格式":1}'.encode("gbk"),
        b'{"format":1,"columns":[{"id":"x"}]}',
    ],
)
def test_bad_catalogues_fail_at_browse(body: bytes) -> None:
    with pytest.raises(PlayError) as caught:
        parse_catalogue(body, "http://127.0.0.1/", load_all()["new_hls_ts"])
    assert caught.value.stage is Stage.BROWSE


def test_the_guard_knows_loopback_and_its_list() -> None:
    guard = Guard(["edge.example", "192.0.2.1"])
    assert all(
        guard.permits(h) for h in ("127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8", "EDGE.example", "192.0.2.1")
    )
    assert not any(
        guard.permits(h) for h in ("10.0.0.1", "edge.example.org", "", "localhost.evil", "0x7f000001", "192.0.2.2")
    )
