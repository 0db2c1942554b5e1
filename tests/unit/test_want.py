"""Which bytes to ask for and in which order; which objects to keep under a quota."""

from __future__ import annotations

import pytest

from sync import NoSpace
from sync.listing import NamedFile
from sync.want import GAP_MAX_BYTES, RANGE_MAX_BYTES, PackRange, WantedUnit, choose, ranges

P, Q = "a" * 64, "b" * 64
MIB = 1024 * 1024


def unit(n: int, offset: int, stored: int = 100, *, pack: str = P, priority: int = 2, order: int = -1) -> WantedUnit:
    return WantedUnit(n.to_bytes(32, "big"), stored, pack, offset, stored, priority, n if order < 0 else order)


def shape(found: list[PackRange]) -> list[tuple[str, int, int, list[int]]]:
    return [(r.pack[0], r.start, r.stop, [int.from_bytes(u.sha256, "big") for u in r.units]) for r in found]


def test_nothing_wanted_asks_for_nothing() -> None:
    assert ranges([]) == []


def test_neighbours_are_one_request_up_to_the_gap() -> None:
    near = [unit(1, 0), unit(2, 100), unit(3, 200 + GAP_MAX_BYTES)]
    assert shape(ranges(near)) == [("a", 0, 300 + GAP_MAX_BYTES, [1, 2, 3])]
    far = [unit(1, 0), unit(2, 100), unit(3, 201 + GAP_MAX_BYTES)]
    assert shape(ranges(far)) == [("a", 0, 200, [1, 2]), ("a", 201 + GAP_MAX_BYTES, 301 + GAP_MAX_BYTES, [3])]


def test_a_request_has_at_most_4_mib_unless_one_unit_is_longer() -> None:
    units = [unit(i, i * MIB, MIB) for i in range(9)]
    assert [(r.stop - r.start) // MIB for r in ranges(units)] == [4, 4, 1]
    units = [unit(0, 0, 10), unit(1, 10, RANGE_MAX_BYTES + 1), unit(2, RANGE_MAX_BYTES + 11, 10)]
    assert [len(r.units) for r in ranges(units)] == [1, 1, 1]
    assert [len(r.units) for r in ranges([unit(0, 0, 10), unit(1, 10, RANGE_MAX_BYTES - 10)])] == [2]


def test_priority_goes_before_order_and_order_before_place() -> None:
    units = [
        unit(1, 10 * MIB, pack=Q, order=3),
        unit(2, 0, pack=P, order=5),
        unit(3, 20 * MIB, pack=P, order=1),
        unit(4, 30 * MIB, pack=Q, priority=0, order=99),
        unit(5, 10 * MIB + 200, pack=Q, order=0),
    ]
    assert [ids for *_, ids in shape(ranges(units))] == [[4], [1, 5], [3], [2]]


def test_a_unit_wanted_twice_is_fetched_once_for_the_most_urgent() -> None:
    units = [unit(1, 0, priority=3), unit(2, MIB, priority=2), unit(1, 0, priority=1, order=9)]
    found = ranges(units)
    assert shape(found) == [("a", 0, 100, [1]), ("a", MIB, MIB + 100, [2])]
    assert found[0].units[0].priority == 1


def test_a_less_urgent_unit_in_a_gap_comes_along_but_none_beside() -> None:
    units = [unit(1, 0, priority=1), unit(2, 200, priority=1), unit(3, 100, priority=3), unit(4, 300, priority=3)]
    assert shape(ranges(units)) == [("a", 0, 300, [1, 3, 2]), ("a", 300, 400, [4])]
    # Only a part of it lies in the range: it is asked for on its own.
    units = [unit(1, 0), unit(2, 200), unit(3, 250, 100, priority=3)]
    assert shape(ranges(units)) == [("a", 0, 300, [1, 2]), ("a", 250, 350, [3])]


def test_a_unit_that_came_along_joins_no_others() -> None:
    urgent = [unit(1, 100, 30_000, priority=1), unit(2, 30_200, 30_000, priority=1)]
    later = [unit(3, 0, priority=3), unit(4, 30_100, priority=3), unit(5, 60_200, priority=3)]
    assert [ids for *_, ids in shape(ranges(urgent + later))] == [[1, 4, 2], [3], [5]]


def test_units_inside_one_another_leave_no_empty_request() -> None:
    units = [unit(1, 0, 8 * MIB - 1), unit(2, MIB, MIB), unit(3, 6 * MIB, MIB)]
    assert [ids for *_, ids in shape(ranges(units))] == [[1, 2, 3]]


def named(name: str, n: int, length: int, priority: int) -> NamedFile:
    return NamedFile(name, f"{n:064x}", length, f"{n + 100:064x}", priority)


FILES = [
    named("a-old", 1, 50, 3),
    named("b-new", 2, 40, 3),
    named("catalog", 3, 10, 0),
    named("d-held", 4, 30, 3),
    named("e-must", 5, 20, 2),
    named("f-must", 5, 20, 3),
]


def holds(*ns: int) -> set[str]:
    return {f"{n:064x}" for n in ns}


def test_without_a_quota_everything_is_kept_once_by_priority() -> None:
    choice = choose(FILES, quota_bytes=None, held=holds(4).__contains__)
    assert [file.path for file in choice.keep] == ["catalog", "e-must", "a-old", "b-new", "d-held"]
    assert choice.leave_out == ()
    assert (choice.kept_bytes, choice.needed_bytes, choice.pinned_bytes) == (150, 120, 30)


@pytest.mark.parametrize(
    ("quota", "kept", "needed"),
    [(150, "abd", 120), (149, "ad", 80), (110, "ad", 80), (109, "bd", 70), (99, "d", 30), (60, "d", 30), (59, "", 30)],
)
def test_held_lessons_stay_before_new_ones_come(quota: int, kept: str, needed: int) -> None:
    choice = choose(FILES, quota_bytes=quota, held=holds(4).__contains__)
    evictable = [file for file in choice.keep if not file.pinned]
    assert "".join(file.path[0] for file in evictable) == kept
    assert {file.path[0] for file in choice.leave_out} == set("abd") - set(kept)
    assert choice.needed_bytes == needed and choice.kept_bytes <= quota


def test_a_pinned_name_pins_the_object_whatever_comes_first() -> None:
    for files in (FILES[4:], FILES[:3:-1]):
        choice = choose(files, quota_bytes=20, held=holds().__contains__)
        assert [file.path for file in choice.keep] == ["e-must"] and choice.leave_out == ()


def test_pinned_objects_that_exceed_the_quota_are_refused_with_the_numbers() -> None:
    assert choose(FILES, quota_bytes=30, held=holds().__contains__).kept_bytes == 30
    with pytest.raises(NoSpace) as caught:
        choose(FILES, quota_bytes=29, held=holds(1, 2, 3, 4, 5).__contains__)
    assert (caught.value.needed_bytes, caught.value.free_bytes) == (30, 29)
