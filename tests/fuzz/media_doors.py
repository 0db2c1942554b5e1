# ruff: noqa: E501 (a playlist's or guide's line is one line here, however long)
"""Doors of ``media`` and of the emulator: files, playlists, guides and pages that somebody gave."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from fixtures.lessons import make_counted_lesson
from media import MediaError
from media.mp4 import read_mp4
from media.payload import NotMp4, read_payload
from media.ts_check import check
from stb_emulator.observe import PlayError
from stb_emulator.observe.line import Reply
from stb_emulator.players.page import read_page
from stb_emulator.portals.m3u import parse_guide, parse_playlist
from tests.fuzz import Door
from tests.fuzz.wire_doors import vectors
from tests.unit.test_mp4 import remuxed

MOVFLAGS = ("faststart", "frag_keyframe+empty_moov+default_base_moof", "frag_keyframe")


@cache
def _lessons() -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as folder:
        made = make_counted_lesson(Path(folder) / "a.mp4", frames=12, title="课", seed=5, size=(32, 32))
        return tuple(remuxed(made.path, Path(folder) / "b.mp4", movflags=each).read_bytes() for each in MOVFLAGS)


def _mp4() -> Door:
    def take(data: bytes) -> None:
        index = read_mp4(memoryview(data))
        assert index.file_bytes == len(data) and 0 <= index.duration_s < float("inf")

    return Door("mp4-index", _lessons(), take, (MediaError,), 256 * 1024, (b"moov", b"trak", b"stsz", b"moof", b"trun"))


def _payload() -> Door:
    return Door(
        "mp4-payload",
        _lessons(),
        lambda data: read_payload(memoryview(data)),
        (NotMp4,),
        256 * 1024,
        (b"moov", b"trak", b"stco", b"co64", b"traf"),
    )


def _ts_check() -> Door:
    return Door(
        "ts-check", vectors("mpegts", ".bin", ".ts"), check, (), 256 * 1024, (b"G@\x00\x10", b"\x00\x00\x01\xe0")
    )


def _playlist() -> Door:
    seeds = (
        b'#EXTM3U x-tvg-url="/epg.xml.gz" catchup="append"\n#EXTINF:-1 tvg-id="900001" group-title="A;B",\xe8\xaf\xbe\n/live/1.ts\n'
        b"#EXTINF:245,x\nhttp://e/hls/3/R12/index.m3u8\n",
        b'#EXTM3U\n#EXTINF:0 tvg-id="a" tvg-name="",\xe5\xae\x89, \xe5\x85\xa8\nrtsp://e/live/1.mpg\n',
    )
    return Door("box-playlist", seeds, lambda data: parse_playlist(data, "http://e/"), (PlayError,), 1 << 20)


def _guide() -> Door:
    seeds = (
        b'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE tv><tv><channel id="1"><display-name>A</display-name></channel>'
        b'<programme channel="1" start="20261124080000 +0800" stop="20261124090000 +0800"><title>x</title></programme></tv>',
    )
    return Door("box-guide", seeds, parse_guide, (PlayError,), 1 << 20, (b'<!ENTITY a "bbbbbbbb">', b"&a;"))


def _page() -> Door:
    html = "<html><head><meta charset='gbk'><title>课</title></head><body><p>字</p><img src='a.jpg'></body></html>"

    def take(data: bytes) -> None:
        kind, _, body = data.partition(b"\n")
        read_page(Reply("http://e/", 200, {"Content-Type": kind.decode("latin-1")}, {}, body))

    seeds = (b"text/html; charset=gbk\n" + html.encode("gbk"), b"text/html\n" + html.encode("gbk"))
    return Door("box-page", seeds, take, (PlayError,), 256 * 1024)


MEDIA: Mapping[str, Callable[[], Door]] = {
    "mp4-index": _mp4,
    "mp4-payload": _payload,
    "ts-check": _ts_check,
    "box-playlist": _playlist,
    "box-guide": _guide,
    "box-page": _page,
}
