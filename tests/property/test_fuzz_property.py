"""A few of ``make fuzz``'s messages for every door; and what the million once let through."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.courseware import CatalogueError, decode_catalogue
from edge_server.portal.huawei import guide
from edge_server.sessions.accounts import AccountBook, AccountError
from edge_server.sessions.boxes import BoxBook, BoxError
from edge_server.sessions.last_seen import read_seen
from stb_emulator.observe import PlayError
from stb_emulator.observe.line import Reply
from stb_emulator.players.page import read_page
from stb_emulator.portals.m3u import parse_guide, parse_playlist
from sync import Untrusted
from sync.trust.memory import keep_anchor
from tests.fuzz import Door
from tests.fuzz.doors import DOORS
from tests.fuzz.mutate import Mutator
from tests.fuzz.run import WATCH, Result, cost_s, run
from wire import ctc, m3u8, zte

NOT_UTF8 = b'{"\xff":"\xed\xa0\x80"}'
DEEP = b'{"a":' * 100_000


@pytest.mark.parametrize("name", DOORS)
def test_every_door_holds(name: str, tmp_path: Path) -> None:
    result = run(DOORS[name](tmp_path), 100, growth=False)
    assert not result.faults and result.messages == 100


def failing(with_word: bytes) -> Callable[[bytes], object]:
    def take(data: bytes) -> None:
        if with_word in data:
            raise KeyError(with_word)

    return take


def test_the_run_sees_what_it_is_there_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A door that fails, hangs, swallows memory or takes its length squared is none that holds."""
    assert run(Door("x", (b"abc=1",), failing(b"b")), 50, growth=False).faults
    assert not run(Door("x", (b"abc=1",), failing(b"\x00nobody\x00")), 50, growth=False).faults
    kept: list[bytes] = []
    leaky = run(Door("x", (b"abc",), lambda data: kept.append(bytes(1 << 16))), 400, growth=False)
    assert any(each.startswith("memory") for each in leaky.faults)
    monkeypatch.setattr("tests.fuzz.run.GROWTH_MAX_S", 2.0)
    monkeypatch.setattr("tests.fuzz.run.STEEP_FROM_S", 0.002)
    squared = Door("x", (b"aa=1",), lambda data: re.search(rb"a+b", data), most_bytes=1 << 12)
    assert any(each.startswith("steep") for each in run(squared, 5).faults)
    endless = Door("x", (b"a",), lambda data: [None for _ in iter(int, 1) if False])
    monkeypatch.setattr(WATCH, "TICK_S", 0.2)
    with WATCH:
        result = Result("x")
        cost_s(endless, b"a", result)
    assert any(each.startswith("hangs") for each in result.faults)


def test_the_same_number_makes_the_same_messages() -> None:
    made = [[Mutator([b"abc", b"123"], [], most_bytes=99, seed=7).message() for _ in range(5)] for _ in range(2)]
    assert made[0] == made[1]


@pytest.mark.parametrize("text", [NOT_UTF8, DEEP, b'{"boxes":"\xff"}'])
def test_records_that_are_not_utf8_or_too_deep_are_refused_and_the_last_good_ones_stay(
    tmp_path: Path, text: bytes
) -> None:
    boxes, accounts = tmp_path / "boxes.json", tmp_path / "accounts.json"
    book = BoxBook(boxes)
    boxes.write_bytes(text)
    assert book.find("00:1A:79:AA:BB:CC") is None and book.problem is not None
    with pytest.raises(BoxError):
        BoxBook(boxes)
    accounts.write_bytes(text)
    accounts.chmod(0o600)
    with pytest.raises(AccountError):
        AccountBook(accounts)
    assert read_seen(boxes) == {}
    with pytest.raises(CatalogueError):
        decode_catalogue(text)


@pytest.mark.parametrize("body", [NOT_UTF8, DEEP, b'{"a":' + b"9" * 9000 + b"}", b"\xff"])
def test_a_guide_asked_in_no_json_is_asked_for_nothing(body: bytes) -> None:
    assert not isinstance(guide.read_object(body).get("a"), int)


def test_metadata_of_another_role_is_no_anchor(tmp_path: Path) -> None:
    signed = b'{"_type":"targets","version":1,"spec_version":"1.0.31","expires":"2030-01-01T00:00:00Z","targets":{}}'
    targets = b'{"signatures":[],"signed":' + signed + b"}"
    with pytest.raises(Untrusted):
        keep_anchor(tmp_path, targets)


def test_a_word_without_end_in_a_playlist_does_not_take_its_length_squared() -> None:
    text = b"#EXTM3U\n#EXTINF:-1 " + b"a" * 1_000_000 + b',x="1"\nhttp://e/1.ts\n'
    assert len(parse_playlist(text, "http://e/")[0]) == 1


@pytest.mark.parametrize("word", ["A", "A=b", 'A="', "A=b A"])
def test_an_attribute_list_without_end_does_not_take_its_length_squared(word: str) -> None:
    """64 KiB of one letter once took half a minute."""
    for line in ("#EXT-X-STREAM-INF:", "#EXT-X-MEDIA:"):
        text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nx\n" + line + word * (65_536 // len(word)) + '"\nx\n'
        with contextlib.suppress(m3u8.PlaylistError):
            m3u8.parse(text)


@pytest.mark.parametrize("word", ["0", " ", "a ", "action ", "A=b", "jsSetChannelInfo(", "<form "])
def test_a_page_without_end_does_not_take_its_length_squared(word: str) -> None:
    """64 KiB of digits in a tag, or of blanks in a call, once took minutes."""
    long = word * (65_536 // len(word))
    for page in (f"<form {long}><input {long}>", f"jsSetChannelInfo({long} x)", f"Channel','{long}'"):
        ctc.parse_inputs(page)
        zte.parse_form_action(page)
        zte.parse_channel_infos(page)
        with contextlib.suppress(ctc.CtcError):
            ctc.parse_channel_list(page)


def test_a_guide_or_page_in_no_known_charset_is_refused() -> None:
    with pytest.raises(PlayError):
        parse_guide(b'<?xml version="1.0" encoding="utf-99"?><tv/>')
    with pytest.raises(PlayError):
        read_page(Reply("http://e/", 200, {"Content-Type": "text/html"}, {}, b"<meta charset=\x00gbk><p>x</p>"))


def test_a_number_between_odd_blanks_is_read_or_refused() -> None:
    """What ``str.strip`` takes for a blank (U+001C) is none for ``int``."""
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:\x1c7\n#EXTINF:1,\na.ts\n"
    with contextlib.suppress(m3u8.PlaylistError):
        read = m3u8.parse(text)
        assert isinstance(read, m3u8.MediaPlaylist) and read.media_sequence == 7


@pytest.mark.parametrize("text", [b"#EXTM3U\n#EXTINF:-1,x\nhttp://[e/1.ts\n", b'#EXTM3U x-tvg-url="http://[e"\n'])
def test_a_playlist_with_an_address_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(PlayError):
        parse_playlist(text, "http://e/")
