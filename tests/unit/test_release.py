"""Release objects and cards: bounds, framing, application; places of units."""

from __future__ import annotations

import json
import struct
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from sync import Corrupt, TooLong, Untrusted, framing
from sync.card import Card, card_path, decode_card, encode_card
from sync.framing import FRAME_MAX_BYTES, HEADER_MAX_BYTES, VALUES_MAX
from sync.listing import Listing, NamedFile, make_listing
from sync.patch import expand, squeeze
from sync.places import PACK_MAX_BYTES, Places, locate, make_places
from sync.recipe import RECIPE_MAX_BYTES, UNIT_MAX_BYTES, UNITS_MAX
from sync.release import (
    RecipeEntry,
    Release,
    apply_release,
    decode_release,
    differing,
    encode_release,
    merge_touched,
)

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def sha(n: int) -> str:
    return f"{n:064x}"


def file(name: str, n: int = 1, priority: int = 2) -> NamedFile:
    return NamedFile(name, sha(n), 100 + n, sha(5000 + n), priority)


def entry(n: int, base: str = "", stored: bytes = b"stored", places: Places | None = None) -> RecipeEntry:
    return RecipeEntry(sha(n), sha(5000 + n), 77, stored, base, places or Places([], []))


def release(base: int = 3, seq: int = 5) -> Release:
    return Release(
        channel="main",
        base=base,
        seq=seq,
        issued=NOW,
        remove=("b", "课/二"),
        add=(file("a", 1), file("课/一", 2, 3)),
        packs=(sha(90), sha(91)),
        recipes=(
            entry(2, places=Places([(1, 0, 0, 3), (0, 17, 3, 1)], [(1, 9)])),
            entry(1, sha(77), b"more stored bytes"),
        ),
    )


def card() -> Card:
    return Card(sha(1), sha(2), 50, b"stored recipe", (sha(3),), Places([(0, 5, 0, 4)], [(2, 9)]))


def parts(raw: bytes) -> tuple[dict[str, object], bytes]:
    _, length, raw_length = struct.unpack_from(">4sII", raw)
    return json.loads(expand(raw[12 : 12 + length], raw_length, most=raw_length)), raw[12 + length :]


def frame(header: object, rest: bytes, magic: bytes = b"RML2", raw_length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    stored = squeeze(text)
    return struct.pack(">4sII", magic, len(stored), len(text) if raw_length is None else raw_length) + stored + rest


def test_a_release_says_the_same_after_reading_and_is_spelt_as_specified() -> None:
    raw = encode_release(release())
    assert decode_release(raw) == release()
    header, rest = parts(raw)
    assert rest == b"stored" + b"more stored bytes"
    assert header == {
        "format": 2,
        "channel": "main",
        "base": 3,
        "seq": 5,
        "issued": "2026-03-04T05:06:07Z",
        "remove": ["b", "课/二"],
        "add": [["a", sha(1), 101, sha(5001), 2], ["课/一", sha(2), 102, sha(5002), 3]],
        "packs": [sha(90), sha(91)],
        "recipes": [
            [sha(2), sha(5002), 77, 6, "", {"spans": [[1, 0, 0, 3], [0, 17, 3, 1]], "packed": [[1, 9]]}],
            [sha(1), sha(5001), 77, 17, sha(77), {"spans": [], "packed": []}],
        ],
    }


@pytest.mark.parametrize(
    "change",
    [
        {"channel": "../main"},
        {"base": -1},
        {"base": 5},
        {"seq": 2**53},
        {"remove": ("课/二", "b")},
        {"remove": ("b", "b")},
        {"remove": ("../b",)},
        {"remove": ("a",)},
        {"add": (file("课/一", 2), file("a", 1))},
        {"add": (file("a", 1), file("a", 2))},
        {"add": (file("a", 1, 4), file("b", 2))},
        {"add": (file("a", 1), file("x", 2), NamedFile("y", sha(2), 5, sha(5002)))},
        {"packs": (sha(90), sha(90))},
        {"packs": (sha(90), "pack")},
        {"packs": (sha(90),)},
        {"recipes": (entry(3),)},
        {"recipes": (entry(1), entry(1))},
        {"recipes": (replace(entry(1), recipe_sha256=sha(9)),)},
        {"recipes": (entry(1, "x"),)},
        {"recipes": (entry(1, stored=b""),)},
        {"recipes": (replace(entry(1), raw_length=0),)},
        {"recipes": (replace(entry(1), raw_length=RECIPE_MAX_BYTES + 1),)},
    ],
)
def test_a_release_with_a_field_out_of_bounds_is_neither_written_nor_read(change: dict[str, object]) -> None:
    bad = replace(release(), **change)  # type: ignore[arg-type]
    with pytest.raises(Corrupt):
        encode_release(bad)
    header, _ = parts(encode_release(release()))
    header |= {
        "channel": bad.channel,
        "base": bad.base,
        "seq": bad.seq,
        "remove": bad.remove,
        "packs": bad.packs,
        "add": [[f.path, f.sha256, f.length_bytes, f.recipe_sha256, f.priority] for f in bad.add],
        "recipes": [
            [
                r.sha256,
                r.recipe_sha256,
                r.raw_length,
                len(r.stored),
                r.base,
                {"spans": r.places.spans, "packed": r.places.packed},
            ]
            for r in bad.recipes
        ],
    }
    with pytest.raises(Corrupt):
        decode_release(frame(header, b"".join(r.stored for r in bad.recipes)))


BAD_PLACES = [
    Places([(2, 0, 0, 1)], []),
    Places([(-1, 0, 0, 1)], []),
    Places([(0, -1, 0, 1)], []),
    Places([(0, PACK_MAX_BYTES, 0, 1)], []),
    Places([(0, 0, 0, 0)], []),
    Places([(0, 0, 0, 2), (0, 9, 1, 1)], []),
    Places([(0, 0, 2, 2), (0, 9, 0, 1)], []),
    Places([(0, 0, UNITS_MAX - 1, 2)], []),
    Places([(0, 0, 2**63, 1)], []),
    Places([], [(1, 5), (1, 5)]),
    Places([], [(2, 5), (1, 5)]),
    Places([], [(-1, 5)]),
    Places([], [(1, 0)]),
    Places([], [(1, UNIT_MAX_BYTES)]),
]


@pytest.mark.parametrize("bad", BAD_PLACES)
def test_bad_places_are_refused_in_releases_and_cards(bad: Places) -> None:
    header, rest = parts(encode_release(replace(release(), recipes=(entry(1),))))
    places = {"spans": bad.spans, "packed": bad.packed}
    header["recipes"][0][5] = places  # type: ignore[index]
    with pytest.raises(Corrupt):
        decode_release(frame(header, rest))
    header, rest = parts(encode_card(card()))
    with pytest.raises(Corrupt):
        decode_card(
            frame(header | {"packs": [sha(3), sha(4)], "places": places}, rest, b"RMC2"),
            sha256=sha(1),
            recipe_sha256=sha(2),
        )


def test_lengths_that_do_not_fit_are_refused() -> None:
    raw = encode_release(release())
    header, rest = parts(raw)
    bare = encode_release(replace(release(), recipes=()))
    longer = bare[:4] + (len(bare) - 12 + 1).to_bytes(4, "big") + bare[8:]
    for bad in (
        longer,
        raw[:-1],
        raw + b"x",
        raw[:20],
        raw[:11],
        b"",
        b"RML1" + raw[4:],
        frame(header, rest, raw_length=10),
    ):
        with pytest.raises(Corrupt):
            decode_release(bad)
    with pytest.raises(Corrupt):
        decode_release(struct.pack(">4sII", b"RML2", 2**32 - 1, 100) + raw[12:])
    with pytest.raises(Corrupt):
        decode_release(frame(b"[1, 2]", b""))
    with pytest.raises(Corrupt):
        decode_release(frame(b"[" * 100_000, b""))


def test_a_recipe_longer_than_what_is_there_is_refused_before_it_is_read() -> None:
    header, rest = parts(encode_release(release()))
    header["recipes"][0][3] = FRAME_MAX_BYTES  # type: ignore[index]
    with pytest.raises(Corrupt):
        decode_release(frame(header, rest))


@pytest.mark.parametrize("announced", [100, HEADER_MAX_BYTES, HEADER_MAX_BYTES + 1, 2**32 - 1])
def test_a_header_that_inflates_beyond_what_it_announces_costs_no_memory(announced: int) -> None:
    bomb = squeeze(b" " * (HEADER_MAX_BYTES + 4096), level=1)
    assert len(bomb) < 20_000
    tracemalloc.start()
    try:
        with pytest.raises(TooLong):
            decode_release(struct.pack(">4sII", b"RML2", len(bomb), announced) + bomb)
        with pytest.raises(TooLong):
            decode_card(struct.pack(">4sII", b"RMC2", len(bomb), announced) + bomb, sha256=sha(1), recipe_sha256=sha(2))
        assert tracemalloc.get_traced_memory()[1] < HEADER_MAX_BYTES + 2**20
    finally:
        tracemalloc.stop()


def test_a_header_of_millions_of_values_is_not_parsed() -> None:
    header = b'{"places":{"spans":[' + b",".join([b"[0,0,0,0]"] * (VALUES_MAX // 4 + 1)) + b"]}}"
    raw = frame(header, b"", b"RMC2")
    tracemalloc.start()
    try:
        with pytest.raises(TooLong, match="values"):
            decode_card(raw, sha256=sha(1), recipe_sha256=sha(2))
        assert tracemalloc.get_traced_memory()[1] < 3 * len(header)  # parsed, it takes ten times as much
    finally:
        tracemalloc.stop()


def test_a_frame_that_is_too_long_is_neither_read_nor_written(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = encode_release(release())
    monkeypatch.setattr(framing, "FRAME_MAX_BYTES", len(raw) - 1)
    with pytest.raises(TooLong):
        decode_release(raw)
    with pytest.raises(TooLong):
        encode_release(release())
    monkeypatch.setattr(framing, "FRAME_MAX_BYTES", len(raw))
    for bound in ("HEADER_MAX_BYTES", "VALUES_MAX"):
        with monkeypatch.context() as patched:
            patched.setattr(framing, bound, 10)
            with pytest.raises(TooLong):
                encode_release(release())


def test_a_long_header_is_squeezed_fast_and_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "_BEST_LEVEL_MAX_BYTES", 10)
    assert decode_release(encode_release(release())) == release()


def test_a_release_of_base_0_has_some_recipes_or_none() -> None:
    for whole in (release(base=0), replace(release(base=0), recipes=(), packs=())):
        assert decode_release(encode_release(whole)) == whole


def listing(seq: int, *files: NamedFile) -> Listing:
    return make_listing("main", seq, NOW, files)


@pytest.mark.parametrize("seq", [3, 4, 5])
def test_a_release_applies_to_every_listing_from_its_base_to_its_seq(seq: int) -> None:
    made = apply_release(listing(seq, file("b", 8), file("c", 9), file("a", 7)), release())
    assert made == listing(5, file("a", 1), file("c", 9), file("课/一", 2, 3))
    assert list(made.files) == ["a", "c", "课/一"]


def test_a_release_that_does_not_fit_the_listing_is_refused() -> None:
    with pytest.raises(Corrupt, match="later"):
        apply_release(listing(2), release())
    with pytest.raises(Corrupt, match="later"):
        apply_release(None, release())
    with pytest.raises(Untrusted, match="rollback"):
        apply_release(listing(6), release())
    with pytest.raises(Corrupt, match="channel"):
        apply_release(make_listing("other", 3, NOW, []), release())


def test_a_release_of_base_0_replaces_whatever_is_held() -> None:
    whole = replace(release(base=0), remove=(), recipes=())
    wanted = listing(5, file("a", 1), file("课/一", 2, 3))
    assert apply_release(None, whole) == wanted
    assert apply_release(listing(2, file("stray", 4)), whole) == wanted


def test_an_object_described_in_two_ways_by_listing_and_release_is_refused() -> None:
    with pytest.raises(Corrupt, match="two ways"):
        apply_release(listing(3, NamedFile("z", sha(1), 1, sha(5001))), release())


def test_a_listing_cannot_grow_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.release.FILES_MAX", 2)
    apply_release(listing(3, file("b", 8)), release())
    with pytest.raises(Corrupt, match="at most 2"):
        apply_release(listing(3, file("c", 8)), release())


def test_merged_names_are_those_touched_and_not_those_that_differ() -> None:
    held = listing(4, file("kept", 1), file("back", 2))
    touched = [{"back", "gone"}, {"back", "never"}]
    assert merge_touched(touched, held) == (("gone", "never"), (file("back", 2),))
    assert merge_touched([], held) == ((), ())
    assert release().touched == {"a", "课/一", "b", "课/二"}


def test_a_plain_release_touches_what_differs() -> None:
    old = listing(3, file("same", 1), file("gone", 2), file("other", 3), file("calmer", 4, 2))
    new = listing(4, file("same", 1), file("new", 2), file("other", 5), file("calmer", 4, 3))
    assert differing(old, new) == {"gone", "new", "other", "calmer"}
    assert differing(None, new) == set(new.files)
    assert differing(new, new) == set()


def test_a_card_says_the_same_after_reading_and_is_spelt_as_specified() -> None:
    raw = encode_card(card())
    assert decode_card(raw, sha256=sha(1), recipe_sha256=sha(2)) == card()
    assert parts(raw) == (
        {
            "format": 2,
            "object": sha(1),
            "recipe": sha(2),
            "recipe_raw": 50,
            "recipe_stored": 13,
            "packs": [sha(3)],
            "places": {"spans": [[0, 5, 0, 4]], "packed": [[2, 9]]},
        },
        b"stored recipe",
    )
    assert card_path("ab" * 32) == f"cards/ab/{'ab' * 32}"


def test_the_card_of_another_object_or_recipe_is_refused() -> None:
    raw = encode_card(card())
    for sha256, recipe in ((sha(2), sha(2)), (sha(1), sha(1))):
        with pytest.raises(Corrupt):
            decode_card(raw, sha256=sha256, recipe_sha256=recipe)
    bare = encode_release(replace(release(), recipes=()))
    longer = bare[:4] + (len(bare) - 12 + 1).to_bytes(4, "big") + bare[8:]
    for bad in (longer, raw[:-1], raw + b"x", encode_release(release())):
        with pytest.raises(Corrupt):
            decode_card(bad, sha256=sha(1), recipe_sha256=sha(2))


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "x"},
        {"recipe_sha256": "x"},
        {"raw_length": 0},
        {"raw_length": RECIPE_MAX_BYTES + 1},
        {"stored": b""},
        {"packs": ("x",)},
        {"packs": ()},
    ],
)
def test_a_card_with_a_field_out_of_bounds_is_not_written(change: dict[str, object]) -> None:
    with pytest.raises(Corrupt):
        encode_card(replace(card(), **change))  # type: ignore[arg-type]


LENGTHS = np.array([10, 20, 30, 40, 50], np.uint32)
TWO = (sha(1), sha(2))


def test_places_are_spelt_out_unit_by_unit() -> None:
    pack, offset, stored = locate(Places([(1, 100, 0, 2), (0, 7, 3, 2)], [(0, 4), (2, 5), (3, 8)]), TWO, LENGTHS)
    assert pack.tolist() == [1, 1, -1, 0, 0] and pack.dtype == np.int32
    assert offset.tolist() == [100, 104, 0, 7, 15] and offset.dtype == np.int64
    assert stored.tolist() == [4, 20, 5, 8, 50] and stored.dtype == np.int64


def test_an_object_without_units_has_no_places() -> None:
    pack, offset, stored = locate(Places([], []), (), np.array([], np.uint32))
    assert len(pack) == len(offset) == len(stored) == 0
    assert make_places(pack, offset, stored, np.array([], np.uint32)) == Places([], [])


@pytest.mark.parametrize(
    "bad",
    [
        *BAD_PLACES[:1],
        Places([(0, 0, 4, 2)], []),
        Places([(0, 0, 5, 1)], []),
        Places([(0, 0, 1000, 1)], []),
        Places([(0, PACK_MAX_BYTES - 149, 0, 5)], []),
        Places([], [(5, 1)]),
        Places([], [(0, 10)]),
        Places([], [(0, 11)]),
    ],
)
def test_places_that_do_not_fit_the_units_are_refused(bad: Places) -> None:
    with pytest.raises(Corrupt):
        locate(bad, TWO, LENGTHS)


def test_the_last_byte_of_a_pack_may_be_used() -> None:
    _, offset, stored = locate(Places([(0, PACK_MAX_BYTES - 150, 0, 5)], []), TWO, LENGTHS)
    assert offset[-1] + stored[-1] == PACK_MAX_BYTES


def test_the_same_offset_in_another_pack_is_another_span() -> None:
    ten = np.array([10, 10])
    assert make_places(np.array([0, 1]), np.array([0, 10]), ten, ten) == Places([(0, 0, 0, 1), (1, 10, 1, 1)], [])


def test_made_places_have_no_more_spans_than_needed() -> None:
    pack = np.array([0, 0, 1, 1, -1, 1, 1])
    offset = np.array([0, 10, 30, 60, 0, 100, 150])
    stored = np.array([10, 15, 30, 40, 50, 50, 9])
    length = np.array([10, 20, 30, 40, 50, 50, 10])
    assert make_places(pack, offset, stored, length) == Places(
        [(0, 0, 0, 2), (1, 30, 2, 2), (1, 100, 5, 2)], [(1, 15), (6, 9)]
    )
