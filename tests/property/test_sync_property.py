"""Whatever is published in whatever order, an edge that pulls now and then ends with the same names and bytes."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sync import Corrupt
from sync.chunker import chunk_count
from sync.ids import check_name
from sync.manifest import Manifest, decode_manifest, encode_manifest, manifest_bytes
from sync.snapshot import NamedFile, decode_head, decode_snapshot, encode_snapshot, head_of, make_snapshot
from tests.sync_lab import NOW, Lab

NAMES = st.sampled_from(["a", "b", "a/b", "课件/一", "课件/二", "z z", "Ä"])
CONTENTS = st.binary(max_size=40)
STEPS = st.one_of(
    st.tuples(st.just("publish"), st.dictionaries(NAMES, CONTENTS, max_size=4), st.sets(NAMES, max_size=3)),
    st.tuples(st.just("pull")),
    st.tuples(st.just("refresh")),
    st.tuples(st.just("lose"), st.integers(0, 5)),
    st.tuples(st.just("stray"), CONTENTS),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_any_sequence_converges(steps: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_play(Path(folder), steps))


async def _play(root: Path, steps: list[tuple[object, ...]]) -> None:
    lab, now = Lab(root), NOW
    truth: dict[str, bytes] = {}
    released, pulled = 0, 0
    for step in [*steps, ("publish", {"last": b"last"}, set()), ("pull",)]:
        now += timedelta(seconds=1)
        match step:
            case ("publish", dict(add), set(remove)):
                gone = {name for name in remove if name in truth and name not in add}
                before = dict(truth)
                truth = {name: data for name, data in truth.items() if name not in gone} | add
                snapshot = lab.publisher.publish("main", add=add, remove=gone, now=now)
                released += released == 0 or truth != before
                assert snapshot.seq == released
            case ("pull",) if released:
                report = await lab.sync(now=now)
                assert report.changed == (pulled != released)
                pulled = released
                assert lab.served() == (released, truth)
                assert lab.store.verify() == ()
            case ("refresh",):
                lab.publisher.refresh(now)
            case ("lose", int(n)):
                ids = list(lab.store.objects.ids())
                if ids:
                    lab.store.objects.remove(ids[n % len(ids)])
            case ("stray", bytes(data)):
                lab.store.objects.path("0" * 64).parent.mkdir(exist_ok=True)
                (lab.root / "edge" / "staging" / ("0" * 64 + ".part")).write_bytes(data)
            case _:
                assert step == ("pull",)


HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
GOOD_NAMES = st.text(min_size=1, max_size=40).filter(lambda name: _is_good(name))


def _is_good(name: str) -> bool:
    try:
        return check_name(name) == name
    except Corrupt:
        return False


FILES = st.builds(NamedFile, GOOD_NAMES, HASHES, st.integers(0, 2**36), HASHES)


@given(st.lists(FILES, max_size=20, unique_by=(lambda f: f.path, lambda f: f.sha256)), st.integers(1, 2**53 - 1))
def test_snapshot_and_head_round_trip(files: list[NamedFile], seq: int) -> None:
    snapshot = make_snapshot("main", seq, NOW, files)
    raw = encode_snapshot(snapshot)
    assert decode_snapshot(raw) == snapshot and encode_snapshot(decode_snapshot(raw)) == raw
    assert list(snapshot.files) == sorted((f.path for f in files), key=str.encode)
    assert decode_head(head_of(snapshot, raw)).seq == seq


@given(HASHES, st.integers(0, 2**30), st.data())
def test_manifest_round_trip(sha256: str, length: int, data: st.DataObject) -> None:
    count = chunk_count(length)
    manifest = Manifest(sha256, length, tuple(data.draw(st.lists(HASHES, min_size=count, max_size=count))))
    raw = encode_manifest(manifest)
    assert len(raw) == manifest_bytes(length)
    assert decode_manifest(raw, sha256=sha256, length_bytes=length) == manifest


@given(st.binary(max_size=300))
def test_garbage_is_refused_in_an_orderly_way(raw: bytes) -> None:
    for read in (decode_snapshot, decode_head, lambda raw: decode_manifest(raw, sha256="0" * 64, length_bytes=5)):
        try:
            read(raw)
        except Corrupt:
            continue


@given(st.text(max_size=30))
def test_good_names_stay_inside_any_folder(name: str) -> None:
    if _is_good(name):
        folder = Path("/srv/somewhere")
        inside = folder / name
        assert ".." not in inside.parts and inside.is_relative_to(folder) and str(inside) == f"{folder}/{name}"
