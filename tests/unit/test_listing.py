"""Listings: what is accepted, the listing hash, the local file."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from sync import Corrupt, TooLong, listing
from sync.ids import check_name
from sync.listing import (
    FILES_MAX,
    OBJECT_MAX_BYTES,
    NamedFile,
    check_names,
    decode_listing,
    encode_listing,
    listing_root,
    make_listing,
)

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
A, B, R, S = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)


def test_root_is_the_hash_of_the_lines_in_the_order_of_bytes() -> None:
    files = [NamedFile("课/一.mp4", A, 12, R, 3), NamedFile("z", B, 0, S, 0), NamedFile("Ä", A, 12, R, 1)]
    lines = f"z\0{B}\0000\0{S}\0000\n" + f"Ä\0{A}\00012\0{R}\0001\n" + f"课/一.mp4\0{A}\00012\0{R}\0003\n"
    made = make_listing("main", 7, NOW, files)
    assert list(made.files) == ["z", "Ä", "课/一.mp4"]
    assert listing_root(made) == hashlib.sha256(lines.encode()).hexdigest()


def test_root_of_nothing_and_over_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listing_root(make_listing("main", 1, NOW, [])) == hashlib.sha256(b"").hexdigest()
    many = make_listing("main", 1, NOW, [NamedFile(f"{i:03}", A, 1, R) for i in range(100)])
    whole = listing_root(many)
    monkeypatch.setattr(listing, "_ROOT_FILES", 7)
    assert listing_root(many) == whole


def test_order_is_that_of_utf8_beyond_the_basic_plane() -> None:
    # U+FF21 sorts after U+1F600 in UTF-16, before it in UTF-8.
    names = ["\U0001f600", "\uff21"]
    made = make_listing("main", 1, NOW, [NamedFile(name, A, 1, R) for name in names])
    assert list(made.files) == sorted(names, key=str.encode) == ["\uff21", "\U0001f600"]


@pytest.mark.parametrize(
    "bad",
    [
        NamedFile("../x", A, 1, R),
        NamedFile("a//b", A, 1, R),
        NamedFile("a/.", A, 1, R),
        NamedFile("a\\b", A, 1, R),
        NamedFile("a\x85b", A, 1, R),
        NamedFile("a\ud800", A, 1, R),
        NamedFile("", A, 1, R),
        NamedFile("课" * 171, A, 1, R),
        NamedFile("x", A[:-1], 1, R + "a"),
        NamedFile("x", A.upper(), 1, R),
        NamedFile("x", A, 1, R[:-1] + "g"),
        NamedFile("x", A, -1, R),
        NamedFile("x", A, OBJECT_MAX_BYTES + 1, R),
        NamedFile("x", A, 1, R, -1),
        NamedFile("x", A, 1, R, 4),
    ],
)
def test_a_field_out_of_bounds_is_refused_made_or_read(bad: NamedFile) -> None:
    with pytest.raises(Corrupt):
        make_listing("main", 1, NOW, [bad])
    text = json.dumps(
        {
            "format": 2,
            "channel": "main",
            "seq": 1,
            "issued": "2026-03-04T05:06:07Z",
            "files": [[bad.path, bad.sha256, bad.length_bytes, bad.recipe_sha256, bad.priority]],
        }
    )
    with pytest.raises(Corrupt):
        decode_listing(text.encode())


def test_names_at_the_bounds_are_taken() -> None:
    for name in ("课" * 170 + "ab", "x" * 512, "...", ".a/..b", "a b", "a/b/c"):
        assert make_listing("main", 1, NOW, [NamedFile(name, A, OBJECT_MAX_BYTES, R, 0)]).files[name].path == name


@pytest.mark.parametrize(
    "name",
    ["a", ".", "..", "a/..", "../a", "..a", "a/..b/c", "/a", "a/", "a//b", "\x7f", "\x80", "é", "\\", "a\n", "\n"],
)
def test_the_quick_check_of_names_agrees_with_the_slow_one(name: str) -> None:
    def refused(check: object) -> bool:
        try:
            check()  # type: ignore[operator]
        except Corrupt:
            return True
        return False

    assert refused(lambda: check_names([name])) == refused(lambda: check_name(name))


def test_two_files_of_one_name_and_two_shapes_of_one_object_are_refused() -> None:
    with pytest.raises(Corrupt, match="none twice"):
        make_listing("main", 1, NOW, [NamedFile("x", A, 1, R), NamedFile("x", B, 1, R)])
    with pytest.raises(Corrupt, match="two ways"):
        make_listing("main", 1, NOW, [NamedFile("x", A, 1, R), NamedFile("y", A, 2, R)])
    with pytest.raises(Corrupt, match="two ways"):
        make_listing("main", 1, NOW, [NamedFile("x", A, 1, R), NamedFile("y", A, 1, S)])
    twice = make_listing("main", 1, NOW, [NamedFile("x", A, 1, R, 0), NamedFile("y", A, 1, R, 3)])
    assert [file.pinned for file in twice.files.values()] == [True, False]


def test_the_number_of_files_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FILES_MAX == 400_000
    monkeypatch.setattr(listing, "FILES_MAX", 2)
    files = [NamedFile(name, A, 1, R) for name in "abc"]
    make_listing("main", 1, NOW, files[:2])
    with pytest.raises(Corrupt, match="at most 2"):
        make_listing("main", 1, NOW, files)


def test_time_is_cut_to_whole_seconds_of_utc_and_needs_a_zone() -> None:
    beijing = timezone(timedelta(hours=8))
    made = make_listing("main", 1, datetime(2026, 3, 4, 13, 6, 7, 999, tzinfo=beijing), [])
    assert made.issued == NOW and made.issued.utcoffset() == timedelta(0)
    with pytest.raises(Corrupt, match="zone"):
        make_listing("main", 1, NOW.replace(tzinfo=None), [])


@pytest.mark.parametrize(("channel", "seq"), [("Main", 1), ("", 1), ("main", 0), ("main", 2**53)])
def test_channel_and_seq_are_bounded(channel: str, seq: int) -> None:
    with pytest.raises(Corrupt):
        make_listing(channel, seq, NOW, [])


def test_the_local_file_says_the_same_after_reading() -> None:
    made = make_listing("main", 2**53 - 1, NOW, [NamedFile("课/一", A, 5, R, 3), NamedFile("b", B, 0, S, 0)])
    assert decode_listing(encode_listing(made)) == made


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"format":2', b'"format":1'),
        (b'"format":2', b'"former":2'),
        (b'"seq":3', b'"seq":0'),
        (b'"seq":3', b'"seq":9007199254740992'),
        (b'"seq":3', b'"seq":"3"'),
        (b"05:06:07Z", b"05:06:7Z"),
        (b"05:06:07Z", b"05:06:60Z"),
        (b'"main"', b'"Main"'),
        (b'["a",', b'["c",'),
        (b'["a",', b'["b",'),
        (b'["a",', b'["\xff",'),
        (b",2],", b",true],"),
    ],
)
def test_a_changed_local_file_is_refused(old: bytes, new: bytes) -> None:
    raw = encode_listing(make_listing("main", 3, NOW, [NamedFile("a", A, 5, R), NamedFile("b", B, 5, S)]))
    assert old in raw
    with pytest.raises(Corrupt):
        decode_listing(raw.replace(old, new, 1))


def test_a_local_file_that_is_too_long_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "LISTING_MAX_BYTES", 10)
    with pytest.raises(TooLong):
        decode_listing(b"[" * 11)
