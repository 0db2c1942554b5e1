"""Whatever the history: releases lead to the listing; whatever the bytes: an error of ours or a valid value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync import Corrupt
from sync.card import Card, decode_card, encode_card
from sync.head import (
    Head,
    NeedSkips,
    Skips,
    decode_head,
    decode_skips,
    encode_head,
    encode_skips,
    reaches,
    route,
    skip_bases,
)
from sync.listing import (
    Listing,
    NamedFile,
    decode_listing,
    encode_listing,
    listing_root,
    make_listing,
    write_moment,
)
from sync.patch import expand, squeeze
from sync.places import PACK_MAX_BYTES, Places, locate, make_places
from sync.release import (
    RecipeEntry,
    Release,
    apply_release,
    decode_release,
    differing,
    encode_release,
    merge_touched,
)
from sync.want import GAP_MAX_BYTES, RANGE_MAX_BYTES, WantedUnit, choose, ranges

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
NAMES = st.sampled_from(["a", "b", "a/b", "a-b", "课件/一", "课件/二", "z z", "Ä", "\U0001f600", "\uff21"])
STATES = st.dictionaries(NAMES, st.tuples(st.integers(1, 5), st.integers(0, 3)), max_size=8)
HISTORIES = st.lists(STATES, min_size=1, max_size=9)


def sha(n: int) -> str:
    return f"{n:064x}"


def listings(states: list[dict[str, tuple[int, int]]]) -> list[Listing]:
    return [
        make_listing(
            "main",
            seq,
            NOW,
            [NamedFile(name, sha(n), 100 * n, sha(50 + n), priority) for name, (n, priority) in state.items()],
        )
        for seq, state in enumerate(states, 1)
    ]


def merged(history: list[Listing], base: int, seq: int) -> Release:
    """The release object from base to seq, through its bytes, as a publisher and a reader of it would."""
    touched = [differing(history[i - 2] if i > 1 else None, history[i - 1]) for i in range(base + 1, seq + 1)]
    remove, add = merge_touched(touched, history[seq - 1])
    before = {file.sha256 for file in history[base - 1].files.values()} if base else {file.sha256 for file in add}
    new = {file.sha256: file.recipe_sha256 for file in add if file.sha256 not in before}
    recipes = tuple(RecipeEntry(key, recipe, 9, b"r" * 5, "", Places([], [])) for key, recipe in sorted(new.items()))
    release = Release("main", base, seq, NOW, remove, add, (), recipes)
    decoded = decode_release(encode_release(release))
    assert decoded == release
    return decoded


@settings(max_examples=150, deadline=None)
@given(HISTORIES, st.data())
def test_a_merged_release_leads_from_any_seq_in_it_to_its_end(
    states: list[dict[str, tuple[int, int]]], data: st.DataObject
) -> None:
    history = listings(states)
    end = data.draw(st.integers(1, len(history)))
    base = data.draw(st.integers(0, end - 1))
    release = merged(history, base, end)
    for held in [None, *history[:end]]:
        if (held.seq if held else 0) < base:
            with pytest.raises(Corrupt):
                apply_release(held, release)
            continue
        made = apply_release(held, release)
        assert made == history[end - 1]
        assert list(made.files) == list(history[end - 1].files)
        assert listing_root(made) == listing_root(history[end - 1])


@settings(max_examples=60, deadline=None)
@given(st.lists(STATES, min_size=1, max_size=20), st.data())
def test_the_route_of_the_skip_list_leads_from_everywhere_to_the_head(
    states: list[dict[str, tuple[int, int]]], data: st.DataObject
) -> None:
    history = listings(states)
    seq = len(history)
    bases = skip_bases(seq)
    full = data.draw(st.sampled_from([f for f in range(1, seq + 1) if reaches(seq, bases, f)]))
    objects: dict[str, Release] = {}

    def publish(base: int, to: int) -> tuple[str, int]:
        name = sha(1000 * base + to)
        objects[name] = merged(history, base, to)
        return name, 10

    root = listing_root(history[-1])
    release = publish(seq - 1, seq)
    head = Head(
        format=2,
        area="",
        channel="main",
        seq=seq,
        issued=write_moment(NOW),
        root=root,
        files=len(history[-1].files),
        release=release,
        skips=(sha(1), 1),
    )
    skips = Skips(
        format=2,
        channel="main",
        seq=seq,
        full=(full, *publish(0, full)),
        steps=[(base, *publish(base, seq)) for base in bases],
    )
    head, skips = decode_head(encode_head(head)), decode_skips(encode_skips(skips))
    for held in [None, *history]:
        held_seq = held.seq if held else 0
        way = route(held_seq, head, skips)
        assert len(way) <= 2
        at = held
        for step in way:
            got = objects[step.sha256]
            assert (got.base, got.seq) == (step.base, step.seq)
            at = apply_release(at, got)
        assert at == history[-1] and listing_root(at) == root
        try:
            assert route(held_seq, head, None) == way
        except NeedSkips:
            assert held_seq < seq - 1


HASHES = st.integers(0, 2**256 - 1).map(sha)
PLACES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, PACK_MAX_BYTES - 1), st.integers(0, 3), st.integers(1, 2**16)),
    max_size=5,
).flatmap(
    lambda spans: st.lists(st.tuples(st.integers(0, 2**20 - 1), st.integers(1, 2**23 - 1)), max_size=5).map(
        lambda packed: Places(_ascending(spans), sorted(dict(packed).items()))
    )
)


def _ascending(spans: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    after, found = 0, []
    for pack, offset, gap, count in spans:
        found.append((pack, offset, after + gap, count))
        after += gap + count
    return found


RECIPES = st.builds(
    RecipeEntry,
    sha256=HASHES,
    recipe_sha256=HASHES,
    raw_length=st.integers(1, 2**20),
    stored=st.binary(min_size=1, max_size=20),
    base=st.one_of(st.just(""), HASHES),
    places=PLACES,
)
PACKS = (sha(1), sha(2), sha(3))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(RECIPES, max_size=4, unique_by=lambda each: each.sha256),
    st.sets(NAMES),
    st.integers(1, 2**53 - 2),
    st.integers(1, 2**20),
)
def test_releases_and_cards_say_the_same_after_reading(
    recipes: list[RecipeEntry], remove: set[str], base: int, span: int
) -> None:
    add = tuple(NamedFile(f"new/{i}", each.sha256, i, each.recipe_sha256, i % 4) for i, each in enumerate(recipes))
    seq = min(base + span, 2**53 - 1)
    release = Release("main", base, seq, NOW, tuple(sorted(remove)), add, PACKS, tuple(recipes))
    assert decode_release(encode_release(release)) == release
    for each in recipes:
        card = Card(each.sha256, each.recipe_sha256, each.raw_length, each.stored, PACKS, each.places)
        assert decode_card(encode_card(card), sha256=card.sha256, recipe_sha256=card.recipe_sha256) == card


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.just(-1), st.integers(0, 2)),  # pack
            st.integers(0, 3),  # bytes left out before it
            st.integers(1, 60),  # raw
            st.integers(0, 5),  # how much smaller it is stored
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_places_made_and_located_are_the_same(rows: list[tuple[int, int, int, int]], dense: bool) -> None:
    ends = [0, 0, 0]
    table: list[tuple[int, int, int, int]] = []
    for pack, gap, raw, saved in rows:
        stored = max(1, raw - saved) if pack >= 0 else raw
        at = ends[pack] + (0 if dense else gap) if pack >= 0 else 0
        if pack >= 0:
            ends[pack] = at + stored
        table.append((pack, at, stored, raw))
    pack, offset, stored, raw = np.array(table, np.int64).reshape(-1, 4).T
    places = make_places(pack, offset, stored, raw)
    found = locate(places, PACKS, raw)
    assert [each.tolist() for each in found] == [pack.tolist(), offset.tolist(), stored.tolist()]
    # Fewest: no span continues the one before.
    for (p, at, first, count), (q, start, second, _) in zip(places.spans, places.spans[1:], strict=False):
        assert (p, at + int(stored[first : first + count].sum()), first + count) != (q, start, second)


@settings(max_examples=200, deadline=None)
@given(PLACES, st.lists(st.integers(1, 2**23), max_size=30), st.integers(0, 4))
def test_no_places_lead_out_of_a_pack(places: Places, lengths: list[int], packs: int) -> None:
    try:
        pack, offset, stored = locate(places, PACKS[:packs], np.array(lengths, np.uint32))
    except Corrupt:
        return
    assert len(pack) == len(offset) == len(stored) == len(lengths)
    assert np.all(pack < packs) and np.all(pack >= -1) and np.all(offset >= 0)
    assert np.all(offset + stored <= PACK_MAX_BYTES) and np.all(stored >= 1) and np.all(stored <= np.array(lengths))


def _units(apart: bool) -> st.SearchStrategy[list[WantedUnit]]:
    row = st.tuples(
        st.sampled_from(PACKS[:2]),
        st.one_of(st.integers(0, 10), st.integers(0, 2 * GAP_MAX_BYTES), st.integers(0, 5 << 20)),
        st.one_of(st.integers(1, 50_000), st.integers(1, 8 << 20)),
        st.integers(0, 3),
        st.integers(0, 20),
        st.integers(0, 25),
    )

    def make(rows: list[tuple[str, int, int, int, int, int]]) -> list[WantedUnit]:
        ends: dict[str, int] = {}
        found = []
        for i, (pack, gap, stored, priority, order, twin) in enumerate(rows):
            if found and twin < len(found) and twin < 5:  # the same unit for another file
                other = found[twin]
                found.append(replace(other, priority=priority, order=order))
                continue
            offset = ends.get(pack, 0) + gap if apart else gap
            ends[pack] = offset + stored
            found.append(WantedUnit(i.to_bytes(32, "big"), stored, pack, offset, stored, priority, order))
        return found

    return st.lists(row, max_size=25).map(make)


@settings(max_examples=200, deadline=None)
@given(st.one_of(_units(apart=True), _units(apart=False)), st.randoms())
def test_every_wanted_unit_is_in_exactly_one_range_within_its_bounds(units: list[WantedUnit], order: object) -> None:
    found = ranges(units)
    fetched = [unit for each in found for unit in each.units]
    assert sorted(unit.sha256 for unit in fetched) == sorted({unit.sha256 for unit in units})
    for each in found:
        assert each.start == min(unit.offset for unit in each.units)
        assert each.stop == max(unit.stop for unit in each.units)
        assert all(unit.pack == each.pack for unit in each.units)
        assert [unit.offset for unit in each.units] == sorted(unit.offset for unit in each.units)
        assert each.stop - each.start <= max(RANGE_MAX_BYTES, *(unit.stored for unit in each.units))
    for unit in fetched:
        assert (unit.priority, unit.order) == min((u.priority, u.order) for u in units if u.sha256 == unit.sha256)
    ranks = [min((unit.priority, unit.order) for unit in each.units) for each in found]
    assert ranks == sorted(ranks)
    order.shuffle(units)  # type: ignore[attr-defined]
    assert ranges(units) == found


@settings(max_examples=150, deadline=None)
@given(_units(apart=True))
def test_units_that_lie_apart_are_read_once_with_small_gaps(units: list[WantedUnit]) -> None:
    found = ranges(units)
    for each in found:
        for left, right in zip(each.units, each.units[1:], strict=False):
            assert 0 <= right.offset - left.stop <= GAP_MAX_BYTES
    # Neighbours of one priority are one request unless it would be too long.
    for left, right in zip(*(iter(sorted(found, key=lambda r: (r.pack, r.start))[i:]) for i in (0, 1)), strict=False):
        priorities = {unit.priority for each in (left, right) for unit in each.units}
        if left.pack == right.pack and len(priorities) == 1 and 0 <= right.start - left.stop <= GAP_MAX_BYTES:
            assert right.units[0].stop - left.start > RANGE_MAX_BYTES


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(NAMES, st.integers(0, 8), st.integers(0, 3)), max_size=12),
    st.integers(0, 3000),
    st.sets(st.integers(0, 8)),
)
def test_a_choice_splits_the_objects_and_never_exceeds_the_quota(
    rows: list[tuple[str, int, int]], quota: int, here: set[int]
) -> None:
    files = [NamedFile(name, sha(n), 100 * n, sha(50 + n), priority) for name, n, priority in rows]
    pinned = {file.sha256: file.length_bytes for file in files if file.pinned}
    if sum(pinned.values()) > quota:
        return
    choice = choose(files, quota_bytes=quota, held={sha(n) for n in here}.__contains__)
    kept, left = {file.sha256 for file in choice.keep}, {file.sha256 for file in choice.leave_out}
    assert kept | left == {file.sha256 for file in files} and not kept & left
    assert len(kept) + len(left) == len(choice.keep) + len(choice.leave_out)
    assert pinned.keys() <= kept and choice.pinned_bytes == sum(pinned.values())
    assert choice.kept_bytes == sum(file.length_bytes for file in choice.keep) <= quota
    assert all(choice.kept_bytes + file.length_bytes > quota for file in choice.leave_out)
    assert choice.needed_bytes == sum(f.length_bytes for f in choice.keep if int(f.sha256, 16) not in here)
    # What was kept stays kept when everything kept is held: no swapping back and forth.
    assert choose(files, quota_bytes=quota, held=kept.__contains__).keep == choice.keep


def _samples() -> dict[str, tuple[bytes, Callable[[bytes], object], Callable[[object], bytes]]]:
    files = [NamedFile(name, sha(n), n, sha(50 + n), n % 4) for n, name in enumerate(["a", "b/c", "课/一"])]
    listing = make_listing("main", 4, NOW, files)
    entry = RecipeEntry(sha(1), sha(51), 9, squeeze(b"a recipe!"), sha(7), Places([(0, 5, 0, 3)], [(1, 4)]))
    release = Release("main", 3, 5, NOW, ("gone",), tuple(files), PACKS[:1], (entry,))
    card = Card(sha(1), sha(51), 9, squeeze(b"a recipe!"), PACKS[:1], Places([(0, 5, 0, 3)], [(1, 4)]))
    head = Head(
        format=2,
        area="x",
        channel="main",
        seq=5,
        issued=write_moment(NOW),
        root=sha(5),
        files=3,
        release=(sha(6), 70),
        skips=(sha(7), 80),
    )
    skips = Skips(format=2, channel="main", seq=5, full=(3, sha(1), 9), steps=[(3, sha(2), 8), (1, sha(3), 7)])
    return {
        "listing": (encode_listing(listing), decode_listing, encode_listing),  # type: ignore[dict-item]
        "release": (encode_release(release), decode_release, encode_release),  # type: ignore[dict-item]
        "card": (
            encode_card(card),
            lambda raw: decode_card(raw, sha256=sha(1), recipe_sha256=sha(51)),
            encode_card,  # type: ignore[dict-item]
        ),
        "head": (encode_head(head), decode_head, encode_head),  # type: ignore[dict-item]
        "skips": (encode_skips(skips), decode_skips, encode_skips),  # type: ignore[dict-item]
    }


SAMPLES = _samples()


def _valid_or_refused(kind: str, raw: bytes) -> None:
    _, decode, encode = SAMPLES[kind]
    try:
        value = decode(raw)
    except Corrupt:  # TooLong is one
        return
    # A value that came through passes every check of the writer too and is read back as itself.
    assert decode(encode(value)) == value


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_every_changed_byte_is_refused_or_gives_a_valid_value(kind: str) -> None:
    raw = SAMPLES[kind][0]
    for at in range(len(raw)):
        for change in (0x01, 0x10, 0x80, 0xFF):
            _valid_or_refused(kind, raw[:at] + bytes([raw[at] ^ change]) + raw[at + 1 :])
        _valid_or_refused(kind, raw[:at])


@pytest.mark.parametrize("kind", sorted(SAMPLES))
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_spliced_bytes_are_refused_or_give_a_valid_value(kind: str, data: st.DataObject) -> None:
    raw = SAMPLES[kind][0]
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, len(raw)))
    piece = data.draw(
        st.one_of(
            st.binary(max_size=12), st.sampled_from([b"null", b"-1", b"9" * 30, b"1e9", b'"', b"[]", b"[[", b","])
        )
    )
    _valid_or_refused(kind, raw[:start] + piece + raw[stop:])


@pytest.mark.parametrize("magic", [b"RML2", b"RMC2"])
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_changed_headers_inside_the_frame_are_refused_or_give_a_valid_value(magic: bytes, data: st.DataObject) -> None:
    """Compression hides the header from the tests above; here its text is changed and put into a sound frame."""
    kind = "release" if magic == b"RML2" else "card"
    raw = SAMPLES[kind][0]
    length, raw_length = (int.from_bytes(raw[at : at + 4], "big") for at in (4, 8))
    text = expand(raw[12 : 12 + length], raw_length, most=raw_length)
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 6)))
    piece = data.draw(
        st.one_of(
            st.binary(max_size=4), st.sampled_from([b"null", b"-1", b"9" * 30, b"1e9", b"true", b"[]", b"0", b","])
        )
    )
    changed = text[:start] + piece + text[stop:]
    squeezed = squeeze(changed, level=1)
    sizes = len(squeezed).to_bytes(4, "big") + len(changed).to_bytes(4, "big")
    _valid_or_refused(kind, magic + sizes + squeezed + raw[12 + length :])
