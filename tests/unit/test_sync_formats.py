"""The pure part of sync: names, chunks, manifests, snapshots, heads, plans (layouts: docs/formats/sync.md)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from sync import Corrupt
from sync.chunker import CHUNK_MAX_BYTES, chunk_count, spans
from sync.ids import check_channel, check_name, sha256_hex
from sync.manifest import (
    OBJECT_MAX_BYTES,
    Manifest,
    decode_manifest,
    encode_manifest,
    implied_manifest,
    manifest_bytes,
    manifest_of,
)
from sync.plan import plan
from sync.snapshot import (
    FILES_MAX,
    HEAD_MAX_BYTES,
    NamedFile,
    Snapshot,
    decode_head,
    decode_snapshot,
    encode_snapshot,
    head_of,
    make_snapshot,
)

ISSUED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
H = "0123456789abcdef" * 4


def named(path: str, data: bytes = b"x") -> NamedFile:
    return NamedFile(path, sha256_hex(data), len(data), sha256_hex(encode_manifest(manifest_of(data))))


def snapshot(*files: NamedFile) -> Snapshot:
    return make_snapshot("main", 7, ISSUED, files)


@pytest.mark.parametrize("name", ["a", "a/b.txt", "课件/第一课.mp4", "a b", "..a", "a..", "...", "-", "x" * 512])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/.", "./a"),
        *("a\x00", "a\nb", "a\x7f", "a\x85b", "a\\b", "\ud800", "x" * 513, "课" * 171),
    ],
)
def test_bad_names(name: str) -> None:
    with pytest.raises(Corrupt):
        check_name(name)


@pytest.mark.parametrize("channel", ["", "Main", "a/b", "..", "-a", "a.b", "a" * 65, "a\n", "频道"])
def test_bad_channels(channel: str) -> None:
    with pytest.raises(Corrupt):
        check_channel(channel)


@pytest.mark.parametrize("length", [0, 1, 2**22 - 1, 2**22, 2**22 + 1, 3 * 2**22])
def test_chunks_cover_the_object_once(length: int) -> None:
    cuts = list(spans(length))
    assert len(cuts) == chunk_count(length)
    assert sum(stop - start for start, stop in cuts) == length
    assert all(0 < stop - start <= CHUNK_MAX_BYTES for start, stop in cuts)
    assert [start for start, _ in cuts] == [n * CHUNK_MAX_BYTES for n in range(len(cuts))]


def test_manifest_layout_byte_by_byte() -> None:
    raw = encode_manifest(Manifest(H, CHUNK_MAX_BYTES + 1, ("aa" * 32, "bb" * 32)))
    assert raw[:4] == b"RMF1"
    assert raw[4:8] == (4 * 1024 * 1024).to_bytes(4, "big")
    assert raw[8:16] == (4 * 1024 * 1024 + 1).to_bytes(8, "big")
    assert raw[16:48].hex() == H
    assert raw[48:] == b"\xaa" * 32 + b"\xbb" * 32
    assert decode_manifest(raw, sha256=H, length_bytes=CHUNK_MAX_BYTES + 1).chunks == ("aa" * 32, "bb" * 32)


@pytest.mark.parametrize("length", [0, 1, CHUNK_MAX_BYTES])
def test_manifest_of_one_chunk_is_implied(length: int) -> None:
    data = b"z" * length
    assert implied_manifest(sha256_hex(data), length) == manifest_of(data)
    assert len(encode_manifest(manifest_of(data))) == manifest_bytes(length)


def test_manifest_of_more_chunks_is_not_implied() -> None:
    assert implied_manifest(H, CHUNK_MAX_BYTES + 1) is None


GOOD_MANIFEST = encode_manifest(Manifest(H, 5, ("aa" * 32,)))


@pytest.mark.parametrize("at", range(48))
def test_manifest_with_a_wrong_head_is_refused(at: int) -> None:
    bad = bytearray(GOOD_MANIFEST)
    bad[at] ^= 1
    with pytest.raises(Corrupt):
        decode_manifest(bytes(bad), sha256=H, length_bytes=5)


@pytest.mark.parametrize("raw", [b"", GOOD_MANIFEST[:-1], GOOD_MANIFEST + b"x", GOOD_MANIFEST[:48]])
def test_manifest_of_wrong_length_is_refused(raw: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_manifest(raw, sha256=H, length_bytes=5)


def test_manifest_of_an_impossible_length_is_refused() -> None:
    for length in (-1, OBJECT_MAX_BYTES + 1):
        with pytest.raises(Corrupt):
            decode_manifest(GOOD_MANIFEST, sha256=H, length_bytes=length)


def test_snapshot_layout() -> None:
    files = [named("b", b"2"), named("课", b"3"), named("a", b"1")]
    raw = encode_snapshot(snapshot(*files))
    plain = json.loads(raw)
    assert list(plain) == ["format", "channel", "seq", "issued", "files"]
    assert (plain["format"], plain["channel"], plain["seq"], plain["issued"]) == (1, "main", 7, "2026-03-01T12:00:00Z")
    assert plain["files"] == [[f.path, f.sha256, f.length_bytes, f.manifest_sha256] for f in (files[2], *files[:2])]
    assert decode_snapshot(raw) == snapshot(*files)
    assert encode_snapshot(decode_snapshot(raw)) == raw


def test_issue_time_is_utc_in_whole_seconds() -> None:
    odd = ISSUED.astimezone(timezone(timedelta(hours=8))) + timedelta(microseconds=5)
    assert make_snapshot("main", 1, odd, ()).issued == ISSUED
    with pytest.raises(Corrupt):
        make_snapshot("main", 1, ISSUED.replace(tzinfo=None), ())


def spoilt(**changes: object) -> bytes:
    plain = json.loads(encode_snapshot(snapshot(named("a"), named("b"))))
    return json.dumps({**plain, **changes}).encode()


ROW_A = ["a", sha256_hex(b"x"), 1, H]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        spoilt(format=2),
        spoilt(format="1"),
        spoilt(channel="../x"),
        spoilt(seq=0),
        spoilt(seq=2**53),
        spoilt(seq=1.5),
        spoilt(seq=True),
        spoilt(issued="2026-03-01 12:00:00"),
        spoilt(issued="2026-3-1T12:00:00Z"),
        spoilt(issued="2026-02-30T12:00:00Z"),
        spoilt(files=None),
        spoilt(files=[["b", *ROW_A[1:]], ROW_A]),
        spoilt(files=[ROW_A, ROW_A]),
        spoilt(files=[ROW_A[:3]]),
        spoilt(files=[["../a", *ROW_A[1:]]]),
        spoilt(files=[["a", "A" * 64, 1, H]]),
        spoilt(files=[["a", H, -1, H]]),
        spoilt(files=[["a", H, OBJECT_MAX_BYTES + 1, H]]),
        spoilt(files=[["a", H, 1, "short"]]),
        spoilt(files=[["a", H, 1, H], ["b", H, 2, H]]),
    ],
)
def test_bad_snapshots(raw: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_snapshot(raw)


def test_too_many_files() -> None:
    rows = (NamedFile(str(n), H, 1, H) for n in range(FILES_MAX + 1))
    with pytest.raises(Corrupt, match="at most 200000"):
        make_snapshot("main", 1, ISSUED, rows)


def test_head_layout_and_bounds() -> None:
    made = snapshot(named("a"))
    encoded = encode_snapshot(made)
    raw = head_of(made, encoded)
    plain = json.loads(raw)
    assert plain == {
        "format": 1,
        "channel": "main",
        "seq": 7,
        "issued": "2026-03-01T12:00:00Z",
        "snapshot_sha256": sha256_hex(encoded),
        "snapshot_length_bytes": len(encoded),
    }
    assert decode_head(raw).issued_at == ISSUED
    assert decode_head(json.dumps({**plain, "later": "unknown members are ignored"}).encode()).seq == 7
    longest = head_of(make_snapshot("c" * 64, 2**53 - 1, ISSUED, ()), encoded)
    assert len(longest) <= HEAD_MAX_BYTES
    for change in (
        {"seq": 0},
        {"snapshot_length_bytes": 0},
        {"snapshot_length_bytes": 2**40},
        {"snapshot_sha256": "x"},
    ):
        with pytest.raises(Corrupt):
            decode_head(json.dumps({**plain, **change}).encode())
    with pytest.raises(Corrupt):
        decode_head(json.dumps({**plain, "pad": "x" * HEAD_MAX_BYTES}).encode())


def test_plan_asks_for_each_missing_object_once() -> None:
    made = snapshot(named("a", b"same"), named("b", b"same"), named("c", b"held"), named("d", b"new!!"))
    todo = plan(made, lambda sha256: sha256 == sha256_hex(b"held"))
    assert [file.path for file in todo.wanted] == ["a", "d"]
    assert todo.wanted_bytes == 4 + 5
