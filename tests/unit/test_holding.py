"""One copy of everything: filling objects in place, seeds, damage, rot, and what is left after a crash."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sync import Corrupt, Missing, NoSpace
from sync.holding import Cursor, Holding, Incomplete
from sync.holding.spans import UnitReader, batches, write_pieces
from sync.ids import sha256_hex
from sync.recipe import Recipe, encode_recipe

VIDEO, AUDIO = 0, 1


def unit_bytes(data: bytes, recipe: Recipe, ordinal: int) -> bytes:
    offsets, lengths = recipe.extents(ordinal)
    return b"".join(data[o : o + n] for o, n in zip(offsets.tolist(), lengths.tolist(), strict=True))


def lesson(
    seconds: int, *, title: bytes = b"title", seed: int = 1, skip: range = range(0), slice_bytes: int = 500
) -> tuple[bytes, Recipe]:
    """A film of two streams: head, then for each second ten slices, each after 4 bytes, and between them sound; a tail.

    ``skip`` names seconds whose pictures are others.
    """
    parts = [title * 30]
    rows: list[tuple[int, int, int]] = []
    units: dict[int, list[int]] = {VIDEO: [], AUDIO: []}
    for second in range(seconds):
        source = random.Random(seed * 1000 + second + (500_000 if second in skip else 0))
        pictures = [source.randbytes(slice_bytes + 10 * number) for number in range(10)]
        sound = [random.Random(f"{seed} {second} {number}").randbytes(40) for number in range(5)]
        for number in range(10):
            rows.append((4 if rows else len(parts[0]) + 4, VIDEO, len(pictures[number])))
            parts += [len(pictures[number]).to_bytes(4, "big"), pictures[number]]
            if number % 2:
                rows.append((0, AUDIO, 40))
                parts.append(sound[number // 2])
        units[VIDEO].append(sum(map(len, pictures)))
        units[AUDIO].append(200)
    data = b"".join([*parts, b"the end"])
    return data, recipe_of(data, rows, units)


def recipe_of(data: bytes, rows: list[tuple[int, int, int]], units: dict[int, list[int]]) -> Recipe:
    """Join runs (skip, stream, length) and units (lengths by stream); hashes and play order come from the data."""
    streams: dict[int, bytes] = {}
    places: dict[int, list[tuple[int, int]]] = {}
    skeleton, at = b"", 0
    for skip, stream, length in rows:
        skeleton += data[at : at + skip]
        at += skip
        places.setdefault(stream, []).append((at, length))
        streams[stream] = streams.get(stream, b"") + data[at : at + length]
        at += length
    skeleton += data[at:]
    cut = []
    for stream, lengths in units.items():
        position = 0
        for length in lengths:
            left, row = position, 0
            while left >= places[stream][row][1]:
                left -= places[stream][row][1]
                row += 1
            start = places[stream][row][0]
            piece = streams[stream][position : position + length]
            cut.append((start + left, stream, length, bytes.fromhex(sha256_hex(piece))))
            position += length
    cut.sort()
    return Recipe(
        sha256=sha256_hex(data),
        length_bytes=len(data),
        skeleton=skeleton,
        tables=(),
        run_skip=np.array([row[0] for row in rows], np.uint32),
        run_stream=np.array([row[1] for row in rows], np.uint8),
        run_length=np.array([row[2] for row in rows], np.uint32),
        unit_stream=np.array([each[1] for each in cut], np.uint8),
        unit_length=np.array([each[2] for each in cut], np.uint32),
        unit_hashes=b"".join(each[3] for each in cut),
    )


def text(data: bytes) -> Recipe:
    return recipe_of(data, [], {})


@pytest.fixture
def holding(tmp_path: Path) -> Iterator[Holding]:
    holding = Holding(tmp_path / "edge")
    yield holding
    holding.close()


def take(holding: Holding, data: bytes, recipe: Recipe) -> None:
    part = holding.begin(recipe)
    for ordinal in part.missing():
        part.write(ordinal, unit_bytes(data, recipe, ordinal))
    part.commit()


def spoil(holding: Holding, sha256: str, offset: int, data: bytes = b"\xff\x00\xff") -> None:
    path = holding.path(sha256)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    path.chmod(0o444)


def test_an_object_is_filled_in_any_order_and_becomes_visible_whole(holding: Holding, tmp_path: Path) -> None:
    data, recipe = lesson(6)
    part = holding.begin(recipe)
    order = part.missing()
    assert order == list(range(12))
    random.Random(3).shuffle(order)
    for ordinal in order:
        assert not holding.has(recipe.sha256)
        part.write(ordinal, unit_bytes(data, recipe, ordinal))
    assert part.missing() == []
    part.commit()
    assert holding.path(recipe.sha256).read_bytes() == data
    assert holding.path(recipe.sha256).stat().st_mode & 0o777 == 0o444
    assert list(holding.ids()) == [recipe.sha256]
    assert [entry.name for entry in (tmp_path / "edge" / "staging").iterdir()] == ["meta"]
    raw = encode_recipe(recipe)
    assert holding.raw_recipe(sha256_hex(raw)) == raw


@pytest.mark.parametrize("data", [b"", b"a page"])
def test_an_object_without_units(holding: Holding, data: bytes) -> None:
    take(holding, data, text(data))
    with holding.open(sha256_hex(data)) as file:
        assert file.read() == data


def test_a_wrong_unit_is_refused_and_the_right_one_still_taken(holding: Holding) -> None:
    data, recipe = lesson(2)
    part = holding.begin(recipe)
    good = unit_bytes(data, recipe, 1)
    for bad in (good[:-1], good + b"x", good[:-1] + bytes([good[-1] ^ 1]), unit_bytes(data, recipe, 0)):
        with pytest.raises(Corrupt):
            part.write(1, bad)
    assert part.missing() == [0, 1, 2, 3]
    part.write(1, good)
    assert part.missing() == [0, 2, 3]
    part.close()


def test_commit_before_everything_is_there(holding: Holding) -> None:
    data, recipe = lesson(2)
    part = holding.begin(recipe)
    part.write(0, unit_bytes(data, recipe, 0))
    with pytest.raises(Incomplete) as error:
        part.commit()
    assert (error.value.sha256, error.value.missing) == (recipe.sha256, 3)
    part.close()
    assert not holding.has(recipe.sha256)


def test_an_interrupted_object_goes_on_where_it_was(holding: Holding) -> None:
    data, recipe = lesson(6)
    part = holding.begin(recipe)
    for ordinal in (0, 5, 7):
        part.write(ordinal, unit_bytes(data, recipe, ordinal))
    part.close()  # as after kill -9: nothing was flushed
    again = holding.begin(recipe)
    assert again.missing() == [1, 2, 3, 4, 6, 8, 9, 10, 11]
    for ordinal in again.missing():
        again.write(ordinal, unit_bytes(data, recipe, ordinal))
    again.commit()
    assert holding.path(recipe.sha256).read_bytes() == data


def test_a_journal_that_lies_costs_the_units_it_lied_about(holding: Holding, tmp_path: Path) -> None:
    """After a power cut the journal can be ahead of the data."""
    data, recipe = lesson(6)
    part = holding.begin(recipe)
    for ordinal in part.missing():
        part.write(ordinal, unit_bytes(data, recipe, ordinal))
    part.close()
    file = tmp_path / "edge" / "staging" / f"{recipe.sha256}.part"
    offsets, lengths = recipe.extents(4)
    with file.open("r+b") as out:
        out.seek(int(offsets[3]) - 4)  # the skeleton before it too
        out.write(bytes(int(lengths[3]) + 4))
    again = holding.begin(recipe)
    assert again.missing() == []
    with pytest.raises(Incomplete):
        again.commit()
    assert again.missing() == [4]
    again.write(4, unit_bytes(data, recipe, 4))
    again.commit()
    assert holding.path(recipe.sha256).read_bytes() == data


@pytest.mark.parametrize("journal", [b"", bytes(500), b"x" * 31, None])
def test_without_a_believable_journal_the_units_are_hashed(
    holding: Holding, tmp_path: Path, journal: bytes | None
) -> None:
    data, recipe = lesson(6)
    part = holding.begin(recipe)
    for ordinal in range(7):
        part.write(ordinal, unit_bytes(data, recipe, ordinal))
    part.close()
    file = tmp_path / "edge" / "staging" / f"{recipe.sha256}.units"
    if journal is None:
        file.unlink()
    else:
        file.write_bytes(journal)
    again = holding.begin(recipe)
    assert again.missing() == [7, 8, 9, 10, 11]
    again.close()
    third = holding.begin(recipe)
    assert third.missing() == [7, 8, 9, 10, 11]
    third.close()


def test_litter_at_the_end_of_a_journal_is_no_unit(holding: Holding, tmp_path: Path) -> None:
    data, recipe = lesson(2)
    part = holding.begin(recipe)
    part.write(2, unit_bytes(data, recipe, 2))
    part.close()
    file = tmp_path / "edge" / "staging" / f"{recipe.sha256}.units"
    file.write_bytes(file.read_bytes() + bytes(12) + b"\xff\xff\xff\xff" + b"\0\0")
    again = holding.begin(recipe)
    assert again.missing() == [0, 1, 3]
    again.write(0, unit_bytes(data, recipe, 0))
    again.close()
    third = holding.begin(recipe)
    assert third.missing() == [1, 3]
    third.close()


def test_a_recipe_that_lies_leaves_nothing_behind(holding: Holding, tmp_path: Path) -> None:
    data, recipe = lesson(2)
    wrong = Recipe(**{**vars(recipe), "sha256": sha256_hex(b"other")})
    part = holding.begin(wrong)
    for ordinal in part.missing():
        part.write(ordinal, unit_bytes(data, recipe, ordinal))
    with pytest.raises(Corrupt, match="do not make up"):
        part.commit()
    assert [entry.name for entry in (tmp_path / "edge" / "staging").iterdir()] == ["meta"]
    assert list(holding.ids()) == []


def test_units_of_held_objects_are_copied(holding: Holding) -> None:
    old, old_recipe = lesson(40)
    new, new_recipe = lesson(40, title=b"another title", skip=range(10, 12))
    take(holding, old, old_recipe)
    part = holding.begin(new_recipe)
    copied = part.fill_from(holding)
    missing = part.missing()
    assert len(missing) == 2 and copied == part.held_bytes
    for ordinal in missing:
        part.write(ordinal, unit_bytes(new, new_recipe, ordinal))
    part.commit()
    assert holding.path(new_recipe.sha256).read_bytes() == new
    assert holding.damaged() == ()


def test_a_damaged_seed_is_not_believed_and_another_copy_is_found(holding: Holding) -> None:
    first, first_recipe = lesson(10)
    second, second_recipe = lesson(10, title=b"second")
    third, third_recipe = lesson(10, title=b"third")
    take(holding, first, first_recipe)
    take(holding, second, second_recipe)
    offset = int(second_recipe.extents(6)[0][2])
    spoil(holding, second_recipe.sha256, offset)
    part = holding.begin(third_recipe)
    part.fill_from(holding)
    assert part.missing() == []
    assert holding.damaged() == (second_recipe.sha256,)
    part.commit()
    assert holding.path(third_recipe.sha256).read_bytes() == third
    holding.remove(first_recipe.sha256)
    holding.remove(third_recipe.sha256)
    again = holding.begin(first_recipe)
    again.fill_from(holding)
    assert again.missing() == [6]
    again.close()


def test_a_seed_that_was_cut_off_or_is_gone(holding: Holding) -> None:
    old, old_recipe = lesson(10)
    _, new_recipe = lesson(10, title=b"new")
    take(holding, old, old_recipe)
    path = holding.path(old_recipe.sha256)
    path.chmod(0o644)
    os.truncate(path, len(old) // 2)
    part = holding.begin(new_recipe)
    part.fill_from(holding)
    missing = part.missing()
    assert 8 <= len(missing) <= 12
    path.unlink()
    assert part.fill_from(holding) == 0
    assert part.missing() == missing
    part.close()


@pytest.mark.parametrize("units", [{2}, {0, 7, 11}, set(range(12)), set()])
def test_healing_needs_only_the_bad_units(holding: Holding, units: set[int]) -> None:
    data, recipe = lesson(6)
    take(holding, data, recipe)
    for ordinal in units:
        spoil(holding, recipe.sha256, int(recipe.extents(ordinal)[0][1]))
    spoil(holding, recipe.sha256, 5)  # the head of the file, no unit
    (damage,) = holding.verify()
    assert (damage.sha256, damage.reason) == (recipe.sha256, "altered")
    assert holding.damaged() == (recipe.sha256,)
    part = holding.reopen_damaged(recipe)
    assert not holding.has(recipe.sha256) and holding.find([recipe.unit_hash(1)]) == [[]]
    assert set(part.missing()) == units
    for ordinal in part.missing():
        part.write(ordinal, unit_bytes(data, recipe, ordinal))
    part.commit()
    assert holding.path(recipe.sha256).read_bytes() == data
    assert holding.verify() == () and holding.damaged() == ()
    assert holding.find([recipe.unit_hash(1)]) == [[(recipe.sha256, 1)]]


def test_a_damaged_object_that_was_cut_off(holding: Holding) -> None:
    data, recipe = lesson(6)
    with pytest.raises(Missing):
        holding.reopen_damaged(recipe)
    take(holding, data, recipe)
    path = holding.path(recipe.sha256)
    path.chmod(0o644)
    os.truncate(path, 100)
    part = holding.reopen_damaged(recipe)
    assert len(part.missing()) == 12
    part.drop()
    assert not holding.has(recipe.sha256)


def test_verification_in_slices(holding: Holding) -> None:
    objects = {}
    for number in range(5):
        data, recipe = lesson(300, seed=number)
        take(holding, data, recipe)
        objects[recipe.sha256] = recipe
    bad = sorted(objects)[3]
    spoil(holding, bad, 1_000_000)
    found, cursor, slices = [], None, 0
    while True:
        damages, cursor = holding.verify_some(1024 * 1024, cursor)
        found += damages
        slices += 1
        if cursor is None:
            break
    total = sum(each.length_bytes for each in objects.values())
    assert [each.sha256 for each in found] == [bad]
    assert slices >= total // (2 * 1024 * 1024)
    everything, cursor = holding.verify_some(total + 1)
    assert [each.sha256 for each in everything] == [bad] and cursor is None
    rest, cursor = holding.verify_some(total, Cursor(sorted(objects)[3]))
    assert rest == () and cursor is None


def test_the_index_is_disposable(holding: Holding, tmp_path: Path) -> None:
    data, recipe = lesson(10)
    take(holding, data, recipe)
    take(holding, b"a page", text(b"a page"))
    place = [[(recipe.sha256, 3)]]
    assert holding.find([recipe.unit_hash(3)]) == place
    holding.close()
    index = tmp_path / "edge" / "units.sqlite"
    for broken in (None, b"", b"SQLite format 3\0" + b"garbage" * 1000, index.read_bytes()[:5000] + bytes(3000)):
        for each in index.parent.glob("units.sqlite*"):
            each.unlink()
        if broken is not None:
            index.write_bytes(broken)
        fresh = Holding(tmp_path / "edge")
        assert fresh.find([recipe.unit_hash(3), b"n" * 32]) == [*place, []]
        fresh.close()


def test_an_index_that_breaks_while_it_is_used(holding: Holding, tmp_path: Path) -> None:
    data, recipe = lesson(400)
    take(holding, data, recipe)
    holding.close()
    index = tmp_path / "edge" / "units.sqlite"
    raw = bytearray(index.read_bytes())
    raw[4096 * 2 :] = b"\x99" * (len(raw) - 4096 * 2)
    index.write_bytes(raw)
    hashes = [recipe.unit_hash(ordinal) for ordinal in range(recipe.units)]
    assert holding.find(hashes) == [[(recipe.sha256, ordinal)] for ordinal in range(recipe.units)]


def test_the_index_follows_what_happened_without_it(holding: Holding, tmp_path: Path) -> None:
    """As after a crash between the rename and the index, or a removal by hand."""
    a, recipe_a = lesson(5, seed=1)
    b, recipe_b = lesson(5, seed=2)
    take(holding, a, recipe_a)
    take(holding, b, recipe_b)
    holding.close()
    away = tmp_path / "away"
    holding.path(recipe_a.sha256).replace(away)
    assert holding.find([recipe_a.unit_hash(0), recipe_b.unit_hash(0)]) == [[], [(recipe_b.sha256, 0)]]
    holding.close()
    away.replace(holding.path(recipe_a.sha256))
    assert holding.find([recipe_a.unit_hash(0)]) == [[(recipe_a.sha256, 0)]]


def test_removal_takes_recipe_and_rows_and_leaves_shared_units(holding: Holding, tmp_path: Path) -> None:
    a, recipe_a = lesson(5)
    b, recipe_b = lesson(5, title=b"b")
    take(holding, a, recipe_a)
    take(holding, b, recipe_b)
    assert {sha256 for sha256, _ in holding.find([recipe_a.unit_hash(4)])[0]} == {recipe_a.sha256, recipe_b.sha256}
    holding.remove(recipe_b.sha256)
    holding.remove(recipe_b.sha256)
    assert holding.find([recipe_a.unit_hash(4)]) == [[(recipe_a.sha256, 4)]]
    recipes = [path for path in (tmp_path / "edge" / "recipes").rglob("*") if path.is_file()]
    assert [path.name for path in recipes] == [sha256_hex(encode_recipe(recipe_a))]
    holding.path(recipe_a.sha256).unlink()
    holding.prune_recipes()
    assert not [path for path in (tmp_path / "edge" / "recipes").rglob("*") if path.is_file()]


def test_a_damaged_recipe_is_not_used(holding: Holding, tmp_path: Path) -> None:
    data, recipe = lesson(5)
    take(holding, data, recipe)
    name = sha256_hex(encode_recipe(recipe))
    path = tmp_path / "edge" / "recipes" / name[:2] / name
    raw = bytearray(path.read_bytes())
    raw[-30] ^= 1
    path.write_bytes(raw)
    fresh = Holding(tmp_path / "edge")
    assert fresh.raw_recipe(name) is None and not path.exists()
    fresh.close()


def test_pruning_staged_objects(holding: Holding, tmp_path: Path) -> None:
    _, keep = lesson(3, seed=1)
    _, drop = lesson(3, seed=2)
    for recipe in (keep, drop):
        holding.begin(recipe).close()
    staging = tmp_path / "edge" / "staging"
    (staging / "litter.tmp").touch()
    (holding.meta / "release").touch()
    assert holding.staged_bytes(drop.sha256) >= drop.length_bytes
    holding.prune_staged(lambda sha256: sha256 == keep.sha256)
    assert {entry.name for entry in staging.iterdir()} == {"meta", f"{keep.sha256}.part", f"{keep.sha256}.units"}
    assert holding.staged_bytes(drop.sha256) == 0 and (holding.meta / "release").exists()
    holding.prune_meta()
    assert not any(holding.meta.iterdir())


def test_too_long_for_the_disk(holding: Holding, tmp_path: Path) -> None:
    run = 0xFFFF_FFFF
    free = holding.free_bytes()
    count = free // run + 2
    unit = 8 << 20
    units = [unit] * (run * count // unit) + [run * count % unit]
    recipe = Recipe(
        sha256=sha256_hex(b"huge"),
        length_bytes=run * count,
        skeleton=b"",
        tables=(),
        run_skip=np.zeros(count, np.uint32),
        run_stream=np.zeros(count, np.uint8),
        run_length=np.full(count, run, np.uint32),
        unit_stream=np.zeros(len(units), np.uint8),
        unit_length=np.array(units, np.uint32),
        unit_hashes=bytes(32 * len(units)),
    )
    with pytest.raises(NoSpace) as error:
        holding.begin(recipe)
    assert error.value.needed_bytes == run * count
    assert abs(error.value.free_bytes - free) < 1 << 30
    assert not list((tmp_path / "edge" / "staging").glob("*.part"))


def test_many_pieces_are_written_where_they_belong(tmp_path: Path) -> None:
    data = random.Random(5).randbytes(100_000)
    cuts = sorted({0, len(data), *(random.Random(6).sample(range(1, len(data)), 5000))})
    pieces = [(a, memoryview(data)[a:b]) for a, b in itertools.pairwise(cuts)]
    random.Random(7).shuffle(pieces)
    left_out = pieces.pop()
    path = tmp_path / "out"
    with path.open("w+b") as file:
        os.ftruncate(file.fileno(), len(data))
        write_pieces(file.fileno(), pieces)
    start, stop = left_out[0], left_out[0] + len(left_out[1])
    assert path.read_bytes() == data[:start] + bytes(stop - start) + data[stop:]


def test_units_far_apart_are_read_one_by_one(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(9_000_000)
    recipe = recipe_of(data, [(0, 0, 500), (8_999_000, 0, 500)], {0: [300, 700]})
    path = tmp_path / "far"
    path.write_bytes(data)
    reader = UnitReader(path, recipe)
    assert reader.read([0, 1]) == [unit_bytes(data, recipe, 0), unit_bytes(data, recipe, 1)]
    reader.close()


def test_batches_are_bounded_by_bytes() -> None:
    lengths = [3 << 20, 1 << 20, 1, 8 << 20, 5]
    assert list(batches([0, 1, 2, 3, 4], lengths)) == [[0, 1], [2], [3], [4]]
    assert list(batches([], lengths)) == []
