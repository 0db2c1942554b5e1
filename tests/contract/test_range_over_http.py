"""Ranges, preconditions and types of the HTTP egresses, over raw sockets, byte by byte."""

from __future__ import annotations

import asyncio
import email
import email.policy
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from domain.courseware import Catalogue
from edge_server.packager import PACKAGER_VERSION
from tests.web_lab import FRAMES, PAGE, PAGE_HTML, PNG, VIDEO, Lab, ask, ask_on, build, serving, view_of

MODIFIED = "Tue, 24 Nov 2026 04:05:06 GMT"
EARLIER, LATER = "Tue, 24 Nov 2026 04:05:05 GMT", "Tue, 24 Nov 2026 04:05:07 GMT"
URL = f"/media/{VIDEO}/R12.mp4"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    yield build(tmp_path_factory.mktemp("lab"))


@pytest.fixture
async def port(made: Lab) -> AsyncIterator[int]:
    view = made.view
    async with serving(made) as number:
        yield number
    made.view = view


def r12(lab: Lab) -> bytes:
    return lab.objects[lab.path("R12")]


def etag(lab: Lab, name: str = "R12") -> str:
    return f'"{lab.view.active.files[lab.path(name)].sha256[:32]}"'


async def test_the_whole_file(made: Lab, port: int) -> None:
    reply = await ask(port, URL)
    assert (reply.status, reply.body) == (200, r12(made))
    assert reply.fields["content-type"] == "video/mp4"
    assert reply.fields["accept-ranges"] == "bytes"
    assert reply.fields["etag"] == etag(made)
    assert reply.fields["last-modified"] == MODIFIED
    assert reply.fields["cache-control"] == "no-cache"


async def test_every_kind_of_single_range(made: Lab, port: int) -> None:
    whole = r12(made)
    size = len(whole)
    for value, start, stop in [
        ("0-0", 0, 1),
        ("0-", 0, size),
        ("1000-1999", 1000, 2000),
        (f"{size - 1}-", size - 1, size),
        (f"{size - 3}-{size + 5000}", size - 3, size),
        ("-1", size - 1, size),
        (f"-{size * 2}", 0, size),
    ]:
        reply = await ask(port, URL, f"Range: bytes={value}")
        assert (reply.status, reply.body) == (206, whole[start:stop]), value
        assert reply.fields["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert reply.fields["content-type"] == "video/mp4"
        assert reply.fields["etag"] == etag(made)


async def test_several_ranges_as_a_mime_reader_sees_them(made: Lab, port: int) -> None:
    whole = r12(made)
    reply = await ask(port, URL, "Range: bytes=5-9, -7 ,100-100")
    assert reply.status == 206 and "content-range" not in reply.fields
    head = f"Content-Type: {reply.fields['content-type']}\r\n".encode()
    message = email.message_from_bytes(head + reply.body, policy=email.policy.HTTP)
    parts = list(message.iter_parts())
    assert [part["Content-Range"] for part in parts] == [
        f"bytes 5-9/{len(whole)}",
        f"bytes {len(whole) - 7}-{len(whole) - 1}/{len(whole)}",
        f"bytes 100-100/{len(whole)}",
    ]
    assert {part.get_content_type() for part in parts} == {"video/mp4"}
    wanted = [whole[5:10], whole[-7:], whole[100:101]]
    assert all(b"\r\n\r\n" + each + b"\r\n--" in reply.body for each in wanted)


async def test_ranges_that_cannot_be_and_ranges_that_are_none(made: Lab, port: int) -> None:
    size = len(r12(made))
    for value in (f"bytes={size}-", "bytes=-0", f"bytes={size + 9}-{size + 99},-0"):
        reply = await ask(port, URL, f"Range: {value}")
        assert (reply.status, reply.fields["content-range"], reply.body) == (416, f"bytes */{size}", b""), value
        assert reply.fields["etag"] == etag(made)
    for value in ("bytes=9-5", "bytes=x-", "seconds=0-1", "bytes=0-,0-,0-", "bytes=" + ",".join(["0-0"] * 17), "bytes"):
        reply = await ask(port, URL, f"Range: {value}")
        assert (reply.status, len(reply.body)) == (200, size), value


CASES = [
    (("If-Range: {etag}",), 206),
    (("If-Range: W/{etag}",), 200),
    (('If-Range: "0"',), 200),
    ((f"If-Range: {MODIFIED}",), 206),
    ((f"If-Range: {EARLIER}",), 200),
    ((f"If-Range: {LATER}",), 200),
    (("If-Range: tomorrow",), 200),
    (("If-Match: {etag}",), 206),
    (("If-Match: *",), 206),
    (("If-Match: W/{etag}",), 412),
    (('If-Match: "0"',), 412),
    (('If-Match: "0"', "If-Match: {etag}"), 206),  # two lines are one list
    ((f"If-Unmodified-Since: {EARLIER}",), 412),
    ((f"If-Unmodified-Since: {MODIFIED}",), 206),
    (("If-Match: {etag}", f"If-Unmodified-Since: {EARLIER}"), 206),
    (("If-None-Match: {etag}",), 304),
    (("If-None-Match: W/{etag}",), 304),
    (("If-None-Match: *",), 304),
    (('If-None-Match: "0"',), 206),
    (('If-None-Match: "0"', "If-None-Match: {etag}"), 304),
    (('If-None-Match: "0"', f"If-Modified-Since: {LATER}"), 206),
    ((f"If-Modified-Since: {MODIFIED}",), 304),
    ((f"If-Modified-Since: {EARLIER}",), 206),
    (("If-None-Match: {etag}", 'If-Match: "0"'), 412),
    (("If-None-Match: {etag}", 'If-Range: "0"'), 304),
]


async def test_preconditions_and_if_range_on_one_kept_connection(made: Lab, port: int) -> None:
    """All on one connection: a reply that is one byte too long or too short would spoil the next."""
    whole, tag = r12(made), etag(made)

    def run() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            for fields, status in CASES:
                reply = ask_on(connection, URL, "Range: bytes=10-19", *(each.format(etag=tag) for each in fields))
                assert reply.status == status, fields
                assert reply.body == {206: whole[10:20], 200: whole}.get(status, b""), fields
                assert reply.fields["etag"] == tag

    await asyncio.to_thread(run)


async def test_head_promises_what_get_sends(made: Lab, port: int) -> None:
    def run() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            for path in (URL, f"/posters/{VIDEO}.jpg", f"/lessons/{PAGE}/", f"/hls/{VIDEO}/ts/master.m3u8", "/"):
                head = ask_on(connection, path, "Range: bytes=0-9", method="HEAD")
                get = ask_on(connection, path)
                assert (head.status, head.body) == (200, b"") and get.status == 200
                different = {"date", "transfer-encoding"}
                assert {k: v for k, v in head.fields.items() if k not in different} == {
                    k: v for k, v in get.fields.items() if k not in different
                }, path

    await asyncio.to_thread(run)


async def test_a_download_outlives_its_file_and_its_snapshot(made: Lab, port: int, tmp_path: Path) -> None:
    """The clean-up removes the object while a slow box is in the middle of it."""
    big = bytes(range(256)) * (64 * 1024)  # 16 MiB: more than any socket buffer
    item = next(each for each in made.view.catalogue.courseware if each.item_id == VIDEO)
    made.view = view_of(tmp_path, made.view.catalogue, {item.renditions[1].path: big}, seq=8)
    file = made.view.active.files[item.renditions[1].path].file

    def begin() -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        connection.settimeout(5)
        connection.connect(("127.0.0.1", port))
        connection.sendall(f"GET {URL} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(1) == b"H"
        return connection

    def finish(connection: socket.socket) -> bytes:
        with connection:
            return b"".join(iter(lambda: connection.recv(1 << 20), b""))

    connection = await asyncio.to_thread(begin)
    file.unlink()
    made.view = view_of(tmp_path, Catalogue(), {}, seq=9)
    assert (await ask(port, URL)).status == 404
    _, _, body = (await asyncio.to_thread(finish, connection)).partition(b"\r\n\r\n")
    assert body == big


async def test_a_file_that_is_shorter_than_promised_is_not_served(made: Lab, port: int, tmp_path: Path) -> None:
    item = next(each for each in made.view.catalogue.courseware if each.item_id == VIDEO)
    made.view = view_of(tmp_path, made.view.catalogue, {item.renditions[1].path: bytes(1000)}, seq=8)
    made.view.active.files[item.renditions[1].path].file.write_bytes(bytes(999))
    assert (await ask(port, URL)).status == 404


async def test_a_client_that_leaves_does_no_harm(
    made: Lab, port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    item = next(each for each in made.view.catalogue.courseware if each.item_id == VIDEO)
    made.view = view_of(tmp_path, made.view.catalogue, {item.renditions[1].path: bytes(8 << 20)}, seq=8)

    def leave() -> None:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(f"GET {URL} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                connection.recv(1000)

    await asyncio.to_thread(leave)
    reply = await ask(port, URL, "Range: bytes=0-9")
    assert reply.status == 206
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


async def test_pages_and_pictures(made: Lab, port: int) -> None:
    page = await ask(port, f"/lessons/{PAGE}/")
    assert (page.status, page.body, page.fields["content-type"]) == (200, PAGE_HTML, "text/html; charset=utf-8")
    assert "script-src 'none'" in page.fields["content-security-policy"]
    assert (await ask(port, f"/lessons/{PAGE}/index.html")).body == PAGE_HTML
    picture = await ask(port, f"/lessons/{PAGE}/img/%E6%B0%B4%E6%B8%A0.png")
    assert (picture.status, picture.body, picture.fields["content-type"]) == (200, PNG, "image/png")
    drawing = await ask(port, f"/lessons/{PAGE}/plan.svg")
    assert drawing.fields["content-type"] == "image/svg+xml"
    assert "script-src 'none'" in drawing.fields["content-security-policy"]
    assert drawing.fields["x-content-type-options"] == "nosniff"
    moved = await ask(port, f"/lessons/{PAGE}")
    assert (moved.status, moved.fields["location"]) == (301, f"/lessons/{PAGE}/")
    poster = await ask(port, f"/posters/{VIDEO}.jpg", "Range: bytes=0-2")
    assert (poster.status, poster.body, poster.fields["content-type"]) == (206, b"\xff\xd8\xff", "image/jpeg")


@pytest.mark.parametrize(
    "path",
    [
        "/lessons/{page}/../secret.txt",
        "/lessons/{page}/..%2fsecret.txt",
        "/lessons/{page}/%2e%2e/secret.txt",
        "/lessons/{page}/..%5csecret.txt",
        "/lessons/{page}/img/../../secret.txt",
        "/lessons/{page}/%2fetc%2fpasswd",
        "/lessons/{page}//etc/passwd",
        "/lessons/{page}/secret.txt",
        "/lessons/{page}/img",
        "/lessons/{page}/img/",
        "/lessons/{page}/index.html%00.png",
        "/lessons/{video}/",
        "/lessons/{video}",
        "/lessons/9",
        "/lessons/%0d%0aSet-Cookie:x",
        "/posters/{page}.jpg",
        "/media/{video}/R20.mp4",
        "/media/{video}/..%2fR12.mp4",
        "/media/{page}/R12.mp4",
        "/hls/{page}/ts/master.m3u8",
        "/hls/{video}/dash/master.m3u8",
        "/hls/{video}/ts/R20/index.m3u8",
        "/hls/{video}/ts/R12/{v}/seg-00000.ts",
        "/hls/{video}/ts/R12/{v}/seg-00004.ts",
        "/hls/{video}/ts/R12/{v}/seg-1.ts",
        "/hls/{video}/ts/R12/{v}/00001.ts",
        "/hls/{video}/ts/R12/{v}/seg-seg-00001.ts",
        "/hls/{video}/ts/R12/{v}/seg-00001.m4s",
        "/hls/{video}/ts/R12/{v}/init.mp4",
        "/hls/{video}/fmp4/R12/{v}/seg-00001.ts",
        "/hls/{video}/ts/R12/00000000-1/seg-00001.ts",
        "/hls/{video}/ts/R40/{v}/seg-00001.ts",
        "/hls/{video}",
        "/hls/{video}/",
        "/hls/{video}/ts",
        "/hls/{video}/fmp4/R12/{v}/seg-00004.m4s",
        "/hls/{video}/fmp4/R12/{v}/seg-%D9%A0%D9%A0%D9%A0%D9%A0%D9%A1.m4s",
        "/hls/{video}/fmp4/R12/{v}/pic-00000.m4s",
        "/hls/{video}/fmp4/R12/{v}/video-00001.m4s",
        "/hls/{video}/fmp4/subtitles/en/index.m3u8",
        "/hls/{video}/ts/R20/pictures.m3u8",
        "/hls/{video}/ts/R12/{v}/pic-00009.ts",
        "/hls/{video}/ts/R12/{v}/pictures.mp4",
        "/dash/{video}",
        "/dash/{page}/manifest.mpd",
        "/dash/{video}/R12/{v}/video-00000.m4s",
        "/dash/{video}/R12/{v}/audio-00004.m4s",
        "/dash/{video}/R12/{v}/words.mp4",
        "/dash/{video}/subtitles/en.vtt",
    ],
)
async def test_what_is_not_offered_is_not_there(made: Lab, port: int, path: str) -> None:
    reply = await ask(port, path.format(page=PAGE, video=VIDEO, v=f"{made.sha8('R12')}-{PACKAGER_VERSION}"))
    assert reply.status == 404
    assert b"not an asset" not in reply.body and b"root:" not in reply.body


async def check_pieces(port: int, base: str, names: list[str], media_type: str) -> list[bytes]:
    """Ask for immutable pieces, and for a part of the last but one."""
    replies = [await ask(port, f"{base}/{name}") for name in names]
    for reply in replies:
        assert reply.status == 200 and reply.fields["content-type"] == media_type
        assert reply.fields["cache-control"] == "public, max-age=31536000, immutable"
        assert reply.fields["access-control-allow-origin"] == "*"
    assert len({reply.fields["etag"] for reply in replies}) == len(replies), "each piece is another thing"
    part = await ask(port, f"{base}/{names[-2]}", "Range: bytes=188-375")
    assert (part.status, part.body) == (206, replies[-2].body[188:376])
    tail = await ask(port, f"{base}/{names[-2]}", "Range: bytes=-5000")
    assert (tail.status, tail.body) == (206, replies[-2].body[-5000:])
    return [reply.body for reply in replies]


async def test_segments_are_the_transport_stream_cut_in_pieces(made: Lab, port: int) -> None:
    packaged = made.shelf.packaged(made.view.active.files[made.path("R12")])
    base = f"/hls/{VIDEO}/ts/R12/{made.sha8('R12')}-{PACKAGER_VERSION}"
    bodies = await check_pieces(port, base, [f"seg-{number:05d}.ts" for number in (1, 2, 3)], "video/mp2t")
    assert b"".join(bodies) == packaged.ts.read_bytes()


@pytest.mark.parametrize(
    ("folder", "first", "kind", "media_type"),
    [
        ("hls/{video}/fmp4", "init.mp4", "seg", "video/mp4"),
        ("hls/{video}/fmp4", "pictures.mp4", "pic", "video/mp4"),
        ("dash/{video}", "video.mp4", "video", "video/mp4"),
        ("dash/{video}", "audio.mp4", "audio", "audio/mp4"),
    ],
)
async def test_segments_of_fmp4_end_with_bytes_of_the_mp4(
    made: Lab, port: int, folder: str, first: str, kind: str, media_type: str
) -> None:
    base = f"/{folder.format(video=VIDEO)}/R12/{made.sha8('R12')}-{PACKAGER_VERSION}"
    names = [first, *(f"{kind}-{number:05d}.m4s" for number in (1, 2, 3))]
    init, *bodies = await check_pieces(port, base, names, media_type)
    assert init[4:8] == b"ftyp"
    for body in bodies:
        at = body.index(b"mdat")
        assert int.from_bytes(body[at - 4 : at], "big") == len(body) - at + 4
        assert body[at + 4 : at + 20] in r12(made) and body[-16:] in r12(made)


async def test_playlists_are_asked_for_again_and_cost_nothing_when_unchanged(made: Lab, port: int) -> None:
    for path in ("master.m3u8", "R12/index.m3u8", "R12/pictures.m3u8"):
        first = await ask(port, f"/hls/{VIDEO}/fmp4/{path}")
        assert first.status == 200 and first.body.startswith(b"#EXTM3U\n")
        assert first.fields["content-type"] == "application/vnd.apple.mpegurl"
        assert first.fields["cache-control"] == "no-cache"
        assert first.fields["access-control-allow-origin"] == "*"
        again = await ask(port, f"/hls/{VIDEO}/fmp4/{path}", f"If-None-Match: {first.fields['etag']}")
        assert (again.status, again.fields["etag"]) == (304, first.fields["etag"])
        part = await ask(port, f"/hls/{VIDEO}/fmp4/{path}", "Range: bytes=0-4")
        assert (part.status, part.body) == (206, first.body[:5])


async def test_derived_files_that_are_gone_are_not_made_on_the_way(made: Lab, port: int, tmp_path: Path) -> None:
    shelf, made.shelf = made.shelf, type(made.shelf)(tmp_path)
    try:
        async with serving(made) as other:
            segment = f"ts/R12/{made.sha8('R12')}-{PACKAGER_VERSION}/seg-00001.ts"
            for path in ("ts/master.m3u8", "fmp4/R12/index.m3u8", segment):
                assert (await ask(other, f"/hls/{VIDEO}/{path}")).status == 404
            assert (await ask(other, URL, "Range: bytes=0-9")).status == 206
    finally:
        made.shelf = shelf
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))


async def test_the_catalogue_over_http(made: Lab, port: int) -> None:
    first = await ask(port, "/api/v1/catalogue")
    assert first.status == 200 and f'"duration_s":{FRAMES / 25}'.encode() in first.body
    again = await ask(port, "/api/v1/catalogue", f"If-None-Match: W/{first.fields['etag']}")
    assert (again.status, again.body) == (304, b"")
