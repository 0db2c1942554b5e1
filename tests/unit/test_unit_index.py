"""The index of units: batches, shared units, removal, a file that cannot be used, several threads."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.holding.index import UnitIndex


def hash_of(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def hashes_of(*numbers: int) -> bytes:
    return b"".join(map(hash_of, numbers))


def name(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[UnitIndex]:
    index = UnitIndex(tmp_path / "units.sqlite")
    yield index
    index.close()


def test_many_are_found_at_once_in_the_order_asked(index: UnitIndex) -> None:
    index.add(name(1), hashes_of(*range(3000)))
    asked = [hash_of(number) for number in [*range(2999, -1, -1), *range(5000, 5010), 7, 7]]
    found = index.find(asked)
    assert found[:3000] == [[(name(1), number)] for number in range(2999, -1, -1)]
    assert found[3000:] == [[]] * 10 + [[(name(1), 7)]] * 2
    assert index.find([]) == []


def test_newest_object_comes_first_and_a_repeated_unit_counts_once(index: UnitIndex) -> None:
    index.add(name(1), hashes_of(5, 6, 5))
    index.add(name(2), hashes_of(9, 5))
    assert index.find([hash_of(5), hash_of(6)]) == [[(name(2), 1), (name(1), 0)], [(name(1), 1)]]
    assert index.objects() == {name(1), name(2)}
    index.add(name(1), hashes_of(6))  # again, cut another way
    assert index.find([hash_of(5), hash_of(6)]) == [[(name(2), 1)], [(name(1), 0)]]


def test_removal_with_and_without_the_hashes(index: UnitIndex, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        index.add(name(number), hashes_of(number, 100))
    index.remove(name(1), hashes_of(1, 100))
    index.remove(name(2), None)
    index.remove(name(9), None)
    assert index.find([hash_of(1), hash_of(2), hash_of(100)]) == [[], [], [(name(3), 1)]]
    index.close()

    def rows() -> int:
        with sqlite3.connect(tmp_path / "units.sqlite") as database:
            found: int = database.execute("select count(*) from unit").fetchone()[0]
        database.close()
        return found

    assert rows() == 4
    index.sweep()
    index.close()
    assert rows() == 2


def test_an_object_without_units(index: UnitIndex) -> None:
    index.add(name(1), b"")
    assert index.objects() == {name(1)}
    index.remove(name(1), b"")
    assert index.objects() == set()


def test_another_version_is_thrown_away(index: UnitIndex, tmp_path: Path) -> None:
    index.add(name(1), hashes_of(1))
    index.close()
    with sqlite3.connect(tmp_path / "units.sqlite") as database:
        database.execute("pragma user_version = 99")
    database.close()
    refilled = []

    def refill() -> None:
        refilled.append(True)
        index.add(name(2), hashes_of(1))

    assert index.guarded(lambda: index.find([hash_of(1)]), refill) == [[(name(2), 0)]]
    assert refilled == [True]


def test_a_file_that_cannot_be_used_at_all(tmp_path: Path) -> None:
    index = UnitIndex(tmp_path / "nowhere" / "units.sqlite")
    with pytest.raises(OSError, match=r"units\.sqlite cannot be used"):
        index.guarded(index.objects, lambda: None)


def test_several_threads(index: UnitIndex) -> None:
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(20):
                index.add(name(number), hashes_of(*range(number * 100, number * 100 + step)))
                assert index.find([hash_of(number * 100)]) == ([[(name(number), 0)]] if step else [[]])
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [] and len(index.objects()) == 4


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.lists(st.integers(0, 12), max_size=8), st.booleans()), max_size=12))
def test_it_knows_what_a_plain_dictionary_knows(tmp_path_factory: pytest.TempPathFactory, steps: list[object]) -> None:
    index = UnitIndex(tmp_path_factory.mktemp("index") / "units.sqlite")
    plain: dict[str, list[int]] = {}
    for number, units, adds in steps:  # type: ignore[misc]
        if adds:
            index.add(name(number), hashes_of(*units))
            plain[name(number)] = units
        else:
            index.remove(name(number), hashes_of(*plain.pop(name(number), [])))
    found = index.find([hash_of(number) for number in range(13)])
    for number, places in enumerate(found):
        assert sorted(places) == sorted((each, units.index(number)) for each, units in plain.items() if number in units)
    index.close()
