"""docs/formats/sync.md states the limits that the code enforces."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sync import card, framing, head, ids, listing, places, recipe, release, trust, want
from sync.bundle import label
from sync.pull import SPARE_BYTES
from sync.road import answers, http
from sync.road.retrying import RetryPolicy
from sync.trust import bridge

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "formats" / "sync.md").read_text(encoding="utf-8")
FLAT = " ".join(PAGE.split())
MIB = 1024 * 1024
OFFLINE = f"| {trust.KEYS_PER_OFFLINE_ROLE}, {trust.OFFLINE_THRESHOLD} | off line"
GAP = f"{want.GAP_MAX_BYTES // 1024} KiB"
BINS = f"{2**trust.BIN_BITS} hash bins by TAP 15 (succinct roles, prefix `{trust.BIN_PREFIX}`, {trust.BIN_BITS} bits)"


def row(start: str) -> str:
    (found,) = re.findall(rf"^\| {re.escape(start)}.*$", PAGE, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("`metadata/timestamp.json`", f"| {trust.TIMESTAMP_MAX_BYTES:,} bytes |"),
        ("`metadata/<n>.snapshot.json`", f"| {trust.SNAPSHOT_METADATA_MAX_BYTES:,} bytes |"),
        ("`metadata/<n>.targets.json`", f"| {trust.TARGETS_MAX_BYTES:,} bytes |"),
        ("`metadata/<n>.ch-<x>.json`", f"| {trust.TARGETS_MAX_BYTES:,} bytes |"),
        ("`metadata/<n>.root.json`", f"| {trust.ROOT_MAX_BYTES:,} bytes |"),
        ("`targets/ch/", f"| {head.HEAD_MAX_BYTES:,} bytes |"),
        ("`releases/<hash>`", f"| {release.RELEASE_MAX_BYTES // MIB} MiB |"),
        ("`skips/<hash>`", f"| {head.SKIPS_MAX_BYTES:,} bytes |"),
        ("`cards/ab/", f"| {card.CARD_MAX_BYTES // MIB} MiB |"),
        ("`packs/ab/", f"| {places.PACK_MAX_BYTES // MIB} MiB |"),
        ("channel |", f"1 to {ids.CHANNEL_MAX_BYTES} of"),
        ("area |", f"0 to {ids.CHANNEL_MAX_BYTES} characters"),
        ("name | 1", f"1 to {ids.NAME_MAX_BYTES} bytes"),
        ("files in a listing", f"0 to {listing.FILES_MAX:,} |"),
        ("object |", f"0 to {recipe.OBJECT_MAX_BYTES // 1024**3} GiB"),
        ("timestamp |", f"{trust.TIMESTAMP_EXPIRY_DAYS} days; in a bundle {trust.BUNDLE_EXPIRY_DAYS} days"),
        ("snapshot |", f"| {trust.SNAPSHOT_EXPIRY_DAYS} days |"),
        ("targets |", f"{OFFLINE} | {trust.TARGETS_EXPIRY_DAYS} days |"),
        ("root |", f"{OFFLINE} | {trust.ROOT_EXPIRY_DAYS:,} days |"),
        ("ch-0 … ch-f", f"| {trust.BIN_EXPIRY_DAYS} days |"),
        ("ranges of packs", f"at most {want.RANGE_MAX_BYTES // MIB} MiB, two at a time, gaps of up to {GAP} read"),
    ],
)
def test_limits(start: str, words: str) -> None:
    assert words in row(start)


@pytest.mark.parametrize(
    "words",
    [
        f"starts within the first {answers.SKIP_MAX_BYTES // MIB} MiB",
        f"to {BINS}",
        f"{trust.ROOT_ROTATIONS_MAX} root rotations",
        f"{bridge.PATIENCE_S:g} s for a metadata file",
        f'`"{release.MAGIC.decode()}"`, u32 n',
        f'`"{card.MAGIC.decode()}"`, u32 n',
        f"raw length of the header (≤ {framing.HEADER_MAX_BYTES // MIB} MiB, at most {framing.VALUES_MAX:,} commas)",
        f"streams (≤ {recipe.STREAMS_MAX}), runs (≤ 2^{recipe.RUNS_MAX.bit_length() - 1}), "
        f"units (≤ 2^{recipe.UNITS_MAX.bit_length() - 1}), tables (≤ {recipe.TABLES_MAX}), "
        f"skeleton bytes (≤ {recipe.SKELETON_MAX_BYTES // MIB} MiB)",
        f"length of each unit (1 … {recipe.UNIT_MAX_BYTES // MIB} MiB)",
        f"({RetryPolicy().attempts} attempts without a byte; pauses of 1 s doubling to 300 s",
        f"no byte came for {http.PROGRESS_TIMEOUT_S:g} s",
        f"{SPARE_BYTES // MIB} MiB more",
        f"`format` ({label.LABEL_FORMAT}), `bundle` (name of the set)",
    ],
)
def test_prose(words: str) -> None:
    assert words in FLAT


def test_numbers() -> None:
    assert "1 to 2^53 − 1 |" in row("seq") and listing.SEQ_MAX == 2**53 - 1
    assert listing.EVICTABLE == listing.PRIORITY_MAX == 3 and "0–2 are pinned" in row("priority")
