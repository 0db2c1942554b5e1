"""One byte flipped in every published file in turn: refused, or not needed; never believed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync import SyncError, Untrusted
from tests.sync_lab import BIG, Lab, served

OLD = {"catalogue.json": b'{"format":1}', "old.txt": b"kept from the first release"}
NEW = {"catalogue.json": b'{"format":1}', "new.txt": b"comes with the second", "课件/long.bin": BIG, "empty": b""}

NEEDED = {
    "metadata/timestamp.json",
    "metadata/3.snapshot.json",
    "metadata/2.ch-d.json",
}
"""Beside these: the newest head, snapshot object, the manifest of the long file and the chunks of the new files."""


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Path]]:
    """A publisher at its second release, and an edge that holds the first."""
    root = tmp_path_factory.mktemp("tamper")
    lab = Lab(root)
    lab.publish(OLD)
    yield lab, root / "edge"


async def test_one_flipped_byte_anywhere(releases: tuple[Lab, Path], tmp_path: Path) -> None:
    lab, _ = releases
    await lab.sync()
    old_files = {f.relative_to(lab.publisher.published) for f in lab.publisher.published.rglob("*") if f.is_file()}
    lab.publish(NEW, remove=("old.txt",))
    published = lab.publisher.published
    files = sorted(f for f in published.rglob("*") if f.is_file())
    refused: set[str] = set()
    harmless: set[str] = set()
    for file in files:
        name = str(file.relative_to(published))
        good = file.read_bytes()
        for at in sorted({0, len(good) // 3, len(good) // 2, len(good) - 1}):
            for bit in (0x01, 0x20):
                with file.open("r+b") as spoilt:
                    spoilt.seek(at)
                    spoilt.write(bytes([good[at] ^ bit]))
                edge = tmp_path / "edge"
                shutil.copytree(lab.root / "edge", edge, symlinks=True)
                trial = Lab(tmp_path, lab.publisher)
                trial.anchor = lab.anchor
                try:
                    await trial.sync()
                except SyncError as error:
                    assert str(error)
                    refused.add(name)
                    assert served(edge) == (1, OLD), f"{name} at {at}"
                    for sha256 in trial.store.objects.ids():
                        assert trial.store.objects.has(sha256)
                    assert trial.store.verify() == (), f"{name} at {at}: a damaged object came in"
                else:
                    harmless.add(name)
                    assert served(edge) == (2, NEW), f"{name} at {at}"
                with file.open("r+b") as mended:
                    mended.seek(at)
                    mended.write(good[at : at + 1])
                await trial.sync()
                assert served(edge) == (2, NEW)
                shutil.rmtree(edge)
    assert refused.isdisjoint(harmless)
    needed = {
        *NEEDED,
        *(str(f) for f in {file.relative_to(published) for file in files} - old_files if f.parts[0] != "manifests"),
        f"manifests/{lab.publisher.files('main')['课件/long.bin'].manifest_sha256}",
    }
    assert refused == needed
    assert harmless == {str(file.relative_to(published)) for file in files} - needed


async def test_one_flipped_byte_where_a_first_pull_begins(releases: tuple[Lab, Path], tmp_path: Path) -> None:
    """An edge that holds nothing yet: what is refused leaves it empty, and the anchor is not fetched from the line."""
    lab, _ = releases
    published, newest = lab.publisher.published, lab.publisher.snapshot("main")
    assert newest is not None
    for file in sorted((published / "metadata").iterdir()):
        good = file.read_bytes()
        file.write_bytes(good[:-2] + bytes([good[-2] ^ 1]) + good[-1:])
        trial = Lab(tmp_path / file.name, lab.publisher)
        trial.anchor = lab.anchor
        try:
            await trial.sync()
        except SyncError:
            assert trial.served() == (0, {}) and list(trial.store.objects.ids()) == []
        else:
            assert trial.served()[0] == newest.seq
            assert file.name != "timestamp.json"
        file.write_bytes(good)


@pytest.mark.parametrize("name", ["timestamp.json", "3.snapshot.json", "2.ch-d.json"])
async def test_the_case_of_a_signature_is_not_free(tmp_path: Path, name: str) -> None:
    """Hexadecimal in capitals means the same number, so the signature would still verify."""
    lab = Lab(tmp_path)
    lab.publish(OLD)
    await lab.sync()
    lab.publish(NEW, remove=("old.txt",))
    file = lab.publisher.published / "metadata" / name
    clean = file.read_bytes()
    start = clean.index(b'"', clean.index(b'"sig"') + 5) + 1
    letter = next(at for at in range(start, len(clean)) if clean[at] in b"abcdef")
    file.write_bytes(clean[:letter] + clean[letter : letter + 1].upper() + clean[letter + 1 :])
    with pytest.raises(Untrusted):
        await lab.sync()
    assert lab.served() == (1, OLD)
    file.write_bytes(clean)
    await lab.sync()
    assert lab.served() == (2, NEW)
