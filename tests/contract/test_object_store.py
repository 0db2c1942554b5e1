"""What every object store promises; the tests do not know which implementation they are run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync import Corrupt, Missing
from sync.chunker import CHUNK_MAX_BYTES
from sync.ids import sha256_hex
from sync.manifest import Manifest, manifest_of
from sync.store import ObjectStore
from sync.store.disk import DiskObjects
from sync.store.memory import MemoryObjects

THREE_CHUNKS = b"".join(bytes([n]) * CHUNK_MAX_BYTES for n in (1, 2)) + b"the rest"
SMALL = b"one lesson"


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return DiskObjects(tmp_path / "objects", tmp_path / "staging") if request.param == "disk" else MemoryObjects()


def chunk(data: bytes, index: int) -> bytes:
    return data[index * CHUNK_MAX_BYTES : (index + 1) * CHUNK_MAX_BYTES]


def take_in(store: ObjectStore, data: bytes) -> str:
    manifest = manifest_of(data)
    incoming = store.begin(manifest)
    for index in range(incoming.held_chunks, len(manifest.chunks)):
        incoming.append(chunk(data, index))
    incoming.commit()
    incoming.close()
    return manifest.sha256


@pytest.mark.parametrize("data", [b"", SMALL, THREE_CHUNKS, b"x" * CHUNK_MAX_BYTES])
def test_what_goes_in_comes_out(store: ObjectStore, data: bytes) -> None:
    sha256 = take_in(store, data)
    with store.open(sha256) as file:
        assert file.read() == data
    assert store.has(sha256) and list(store.ids()) == [sha256]
    assert store.staged_bytes(sha256) == 0


def test_nothing_is_visible_before_commit(store: ObjectStore) -> None:
    incoming = store.begin(manifest_of(SMALL))
    incoming.append(SMALL)
    assert not store.has(sha256_hex(SMALL)) and list(store.ids()) == []
    incoming.close()
    with pytest.raises(Missing):
        store.open(sha256_hex(SMALL))


def test_interrupted_object_goes_on_where_it_stopped(store: ObjectStore) -> None:
    manifest = manifest_of(THREE_CHUNKS)
    first = store.begin(manifest)
    first.append(chunk(THREE_CHUNKS, 0))
    first.append(chunk(THREE_CHUNKS, 1))
    first.close()
    assert store.staged_bytes(manifest.sha256) == 2 * CHUNK_MAX_BYTES
    again = store.begin(manifest)
    assert again.held_chunks == 2
    again.append(chunk(THREE_CHUNKS, 2))
    again.commit()
    with store.open(manifest.sha256) as file:
        assert file.read() == THREE_CHUNKS


@pytest.mark.parametrize("wrong", [b"", b"one lessoN", SMALL + b"!", SMALL[:-1]])
def test_wrong_chunk_is_refused_and_not_kept(store: ObjectStore, wrong: bytes) -> None:
    incoming = store.begin(manifest_of(SMALL))
    with pytest.raises(Corrupt):
        incoming.append(wrong)
    assert incoming.held_chunks == 0
    incoming.append(SMALL)
    incoming.commit()
    assert store.has(sha256_hex(SMALL))


def test_a_chunk_too_many_is_refused(store: ObjectStore) -> None:
    incoming = store.begin(manifest_of(SMALL))
    incoming.append(SMALL)
    with pytest.raises(Corrupt):
        incoming.append(SMALL)
    incoming.close()


def test_commit_of_half_an_object_is_refused(store: ObjectStore) -> None:
    incoming = store.begin(manifest_of(THREE_CHUNKS))
    incoming.append(chunk(THREE_CHUNKS, 0))
    with pytest.raises(Corrupt):
        incoming.commit()
    assert list(store.ids()) == [] and store.staged_bytes(sha256_hex(THREE_CHUNKS)) == 0


def test_chunks_that_fit_a_lying_manifest_do_not_make_the_object(store: ObjectStore) -> None:
    lie = Manifest(sha256_hex(b"promised"), len(SMALL), (sha256_hex(SMALL),))
    incoming = store.begin(lie)
    incoming.append(SMALL)
    with pytest.raises(Corrupt):
        incoming.commit()
    assert not store.has(lie.sha256) and store.staged_bytes(lie.sha256) == 0


def test_remove_and_prune(store: ObjectStore) -> None:
    sha256 = take_in(store, SMALL)
    store.remove(sha256)
    store.remove(sha256)
    assert not store.has(sha256)
    for data in (b"kept", b"dropped"):
        incoming = store.begin(manifest_of(data))
        incoming.append(data)
        incoming.close()
        incoming.close()
    store.prune_staged(lambda staged: staged == sha256_hex(b"kept"))
    assert store.staged_bytes(sha256_hex(b"kept")) == 4 and store.staged_bytes(sha256_hex(b"dropped")) == 0


@pytest.mark.parametrize("bad", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
def test_what_is_not_an_id_never_becomes_a_path(store: ObjectStore, bad: str) -> None:
    for ask in (store.has, store.open, store.remove, store.staged_bytes):
        with pytest.raises(Corrupt):
            ask(bad)
    with pytest.raises(Corrupt):
        store.begin(Manifest(bad, 0, ()))


def test_free_space_is_a_number(store: ObjectStore) -> None:
    before = store.free_bytes()
    assert before is not None and before > 0


def test_disk_keeps_objects_read_only_and_resumes_past_torn_chunks(tmp_path: Path) -> None:
    store = DiskObjects(tmp_path / "objects", tmp_path / "staging")
    sha256 = take_in(store, SMALL)
    assert store.path(sha256).stat().st_mode & 0o777 == 0o444
    manifest = manifest_of(THREE_CHUNKS)
    incoming = store.begin(manifest)
    incoming.append(chunk(THREE_CHUNKS, 0))
    incoming.append(chunk(THREE_CHUNKS, 1))
    incoming.close()
    part = tmp_path / "staging" / f"{manifest.sha256}.part"
    with part.open("r+b") as file:  # as after a power cut: the length is there, the bytes are not
        file.seek(CHUNK_MAX_BYTES + 5)
        file.write(b"torn")
    again = store.begin(manifest)
    assert again.held_chunks == 1 and part.stat().st_size == CHUNK_MAX_BYTES
    again.append(chunk(THREE_CHUNKS, 1))
    again.append(chunk(THREE_CHUNKS, 2))
    again.commit()
    assert store.path(manifest.sha256).read_bytes() == THREE_CHUNKS
