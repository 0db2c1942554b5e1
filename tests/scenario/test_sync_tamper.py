"""One byte flipped in every published file in turn: refused, or not needed; never believed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync import SyncError, Untrusted
from tests.sync_lab import Lab, served

OLD = {"catalogue.json": b'{"format":1}', "old.txt": b"kept from the first release"}
NOISE = random.Random(5).randbytes(300_000)
NEW = {"catalogue.json": b'{"format":1}', "new.txt": b"comes with the second", "课件/long.bin": NOISE, "empty": b""}
WITHDRAWN = {"catalogue.json": OLD["catalogue.json"]}
NOT_NEEDED = ("cards", "skips")
"""The second release brings its recipes along, and is one step from the first."""


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Path]]:
    """A publisher at its second release, and an edge that holds the first."""
    root = tmp_path_factory.mktemp("tamper")
    lab = Lab(root)
    lab.publish(OLD)
    yield lab, root / "edge"


def spoil(file: Path, at: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(data)


@pytest.mark.timeout(90)
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
        places = sorted({0, len(good) // 3, len(good) // 2, len(good) - 1})
        for at, bit in zip(places, (0x01, 0x20, 0x01, 0x20), strict=False):
            spoil(file, at, bytes([good[at] ^ bit]))
            edge = tmp_path / "edge"
            shutil.copytree(lab.root / "edge", edge, symlinks=True)
            trial = Lab(tmp_path, lab.publisher)
            trial.anchor = lab.anchor
            try:
                await trial.sync()
            except SyncError as error:
                assert str(error)
                refused.add(name)
                signed = name.startswith("packs")  # then the release was believed, and what it withdraws is gone
                assert served(edge)[1] == (WITHDRAWN if signed else OLD), f"{name} at {at}"
                assert trial.store.verify() == (), f"{name} at {at}: a damaged object came in"
            else:
                harmless.add(name)
                assert served(edge)[1] == NEW, f"{name} at {at}"
            spoil(file, at, good[at : at + 1])
            await trial.sync()
            assert served(edge)[1] == NEW
            shutil.rmtree(edge)
    new = {file.relative_to(published) for file in files} - old_files
    needed = {"metadata/timestamp.json", *(str(file) for file in new if file.parts[0] not in NOT_NEEDED)}
    assert refused == needed
    assert harmless == {str(file.relative_to(published)) for file in files} - needed


async def test_one_flipped_byte_where_a_first_pull_begins(releases: tuple[Lab, Path], tmp_path: Path) -> None:
    """An edge that holds nothing yet: what is refused leaves it empty, and the anchor is not fetched from the line."""
    lab, _ = releases
    published = lab.publisher.published
    for file in sorted((published / "metadata").iterdir()):
        good = file.read_bytes()
        file.write_bytes(good[:-2] + bytes([good[-2] ^ 1]) + good[-1:])
        trial = Lab(tmp_path / file.name, lab.publisher)
        trial.anchor = lab.anchor
        try:
            await trial.sync()
        except SyncError:
            assert trial.served() == (0, {}) and list(trial.store.holding.ids()) == []
        else:
            assert trial.served()[1] == NEW
            assert file.name != "timestamp.json"
        file.write_bytes(good)


async def test_the_case_of_a_signature_is_not_free(tmp_path: Path) -> None:
    """Hexadecimal in capitals means the same number, so the signature would still verify."""
    lab = Lab(tmp_path)
    lab.publish(OLD)
    await lab.sync()
    before = set((lab.publisher.published / "metadata").iterdir())
    lab.publish(NEW, remove=("old.txt",))
    metadata = lab.publisher.published / "metadata"
    (snapshot,) = (file for file in set(metadata.iterdir()) - before if file.name.endswith(".snapshot.json"))
    (one_bin,) = (file for file in set(metadata.iterdir()) - before if ".ch-" in file.name)
    changed = [metadata / "timestamp.json", snapshot, one_bin]  # in the order in which they are read
    for file in changed:
        clean = file.read_bytes()
        start = clean.index(b'"', clean.index(b'"sig"') + 5) + 1
        letter = next(at for at in range(start, len(clean)) if clean[at] in b"abcdef")
        file.write_bytes(clean[:letter] + clean[letter : letter + 1].upper() + clean[letter + 1 :])
        with pytest.raises(Untrusted):
            await lab.sync()
        assert lab.served()[1] == OLD
        file.write_bytes(clean)
    await lab.sync()
    assert lab.served()[1] == NEW
