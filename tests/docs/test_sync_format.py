"""docs/formats/sync.md states the limits that the code enforces."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sync import chunker, ids, manifest, snapshot, trust
from sync.client import SPARE_BYTES
from sync.store import http, wrappers

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "formats" / "sync.md").read_text(encoding="utf-8")
MIB = 1024 * 1024


def row(start: str) -> str:
    (found,) = re.findall(rf"^\| {re.escape(start)}.*$", PAGE, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("`metadata/timestamp.json`", f"| {trust.TIMESTAMP_MAX_BYTES:,} bytes |"),
        ("`metadata/<n>.snapshot.json`", f"| {trust.SNAPSHOT_METADATA_MAX_BYTES:,} bytes |"),
        ("`metadata/<n>.targets.json`", f"| {trust.TARGETS_MAX_BYTES:,} bytes |"),
        ("`metadata/<n>.root.json`", f"| {trust.ROOT_MAX_BYTES:,} bytes |"),
        ("`targets/ch/", f"| {snapshot.HEAD_MAX_BYTES:,} bytes |"),
        ("`snapshots/<hash>`", f"| {snapshot.SNAPSHOT_MAX_BYTES // MIB} MiB |"),
        ("`manifests/<hash>`", f"48 + 32 × {chunker.chunk_count(manifest.OBJECT_MAX_BYTES):,} bytes"),
        ("`chunks/", f"| {chunker.CHUNK_MAX_BYTES // MIB} MiB |"),
        ("channel |", f"1 to {ids.CHANNEL_MAX_BYTES} of"),
        ("name in a snapshot", f"1 to {ids.NAME_MAX_BYTES} bytes"),
        ("files in a snapshot", f"0 to {snapshot.FILES_MAX:,} |"),
        ("object |", f"0 to {manifest.OBJECT_MAX_BYTES // 1024**3} GiB"),
        ("timestamp |", f"| {trust.TIMESTAMP_EXPIRY_DAYS} days |"),
        ("snapshot |", f"| {trust.SNAPSHOT_EXPIRY_DAYS} days |"),
        ("targets |", f"| {trust.TARGETS_EXPIRY_DAYS} days |"),
        ("root |", f"| {trust.ROOT_EXPIRY_DAYS:,} days |"),
        ("0 | 4 |", f"`{manifest.MAGIC.decode()}`"),
        ("4 | 4 |", f"{chunker.CHUNK_MAX_BYTES:,} |"),
    ],
)
def test_limits(start: str, words: str) -> None:
    assert words in row(start)


def test_prose() -> None:
    policy = wrappers.RetryPolicy()
    assert manifest.manifest_bytes(1) == 48 + 32 and "48 + 32 n" in PAGE
    assert f"{trust.ROOT_ROTATIONS_MAX} root rotations" in PAGE
    assert f"({policy.attempts} attempts; pauses of 1, 2, 4 s" in PAGE and policy.first_pause_s == 1
    assert f"never over {policy.longest_pause_s:g} s" in PAGE
    assert f"no byte came for {http.PROGRESS_TIMEOUT_S:g} s" in PAGE
    assert f"{SPARE_BYTES // MIB} MiB more" in PAGE
    assert "1 to 2^53 − 1 |" in row("seq") and snapshot.SEQ_MAX == 2**53 - 1
