"""Heads, skip lists, and the way from what is held to what the head names."""

from __future__ import annotations

import json

import msgspec
import pytest

from sync import Corrupt, TooLong, Untrusted
from sync.head import (
    HEAD_MAX_BYTES,
    SKIPS_MAX_BYTES,
    Head,
    NeedSkips,
    Skips,
    Step,
    decode_head,
    decode_skips,
    encode_head,
    encode_skips,
    head_path,
    reaches,
    route,
    skip_bases,
)
from sync.release import RELEASE_MAX_BYTES


def sha(n: int) -> str:
    return f"{n:064x}"


def head(seq: int = 20) -> Head:
    return Head(
        format=2,
        area="yunnan-3",
        channel="main",
        seq=seq,
        issued="2026-03-04T05:06:07Z",
        root=sha(1),
        files=12,
        release=(sha(1000 + seq - 1), 500),
        skips=(sha(3), 400),
    )


def skips(seq: int = 20, full: int = 12) -> Skips:
    steps = [(base, sha(1000 + base), 500 + base % 100) for base in skip_bases(seq)]
    return Skips(format=2, channel="main", seq=seq, full=(full, sha(2000 + full), 9000), steps=steps)


def test_head_and_skip_list_say_the_same_after_reading() -> None:
    assert decode_head(encode_head(head())) == head()
    assert decode_skips(encode_skips(skips())) == skips()


def test_members_are_spelt_as_in_the_specification() -> None:
    assert json.loads(encode_head(head())) == {
        "format": 2,
        "area": "yunnan-3",
        "channel": "main",
        "seq": 20,
        "issued": "2026-03-04T05:06:07Z",
        "root": sha(1),
        "files": 12,
        "release": [sha(1019), 500],
        "skips": [sha(3), 400],
    }
    assert json.loads(encode_skips(skips(5, 3))) == {
        "format": 2,
        "channel": "main",
        "seq": 5,
        "full": [3, sha(2003), 9000],
        "steps": [[3, sha(1003), 503], [1, sha(1001), 501]],
    }


def test_unknown_members_are_ignored() -> None:
    document = json.loads(encode_head(head())) | {"min_client": [1, {"deep": None}]}
    assert decode_head(json.dumps(document).encode()) == head()


def test_the_longest_head_and_skip_list_fit_their_bounds() -> None:
    most = 2**53 - 1
    longest = msgspec.structs.replace(
        head(most), area="a" * 64, channel="c" * 64, files=400_000, release=(sha(1), RELEASE_MAX_BYTES)
    )
    assert len(encode_head(longest)) < HEAD_MAX_BYTES
    assert len(encode_skips(skips(most, most))) < SKIPS_MAX_BYTES


@pytest.mark.parametrize(
    "change",
    [
        {"format": 1},
        {"area": "A"},
        {"area": "a" * 65},
        {"channel": ""},
        {"channel": "../x"},
        {"seq": 0},
        {"seq": 2**53},
        {"issued": "2026-03-04"},
        {"issued": "2026-02-30T00:00:00Z"},
        {"root": "x" * 64},
        {"files": -1},
        {"files": 400_001},
        {"release": (sha(1), 0)},
        {"release": (sha(1), RELEASE_MAX_BYTES + 1)},
        {"release": ("../../x", 1)},
        {"skips": (sha(1), 0)},
        {"skips": (sha(1), SKIPS_MAX_BYTES + 1)},
        {"skips": ("A" * 64, 1)},
    ],
)
def test_a_head_with_a_field_out_of_bounds_is_neither_written_nor_read(change: dict[str, object]) -> None:
    bad = msgspec.structs.replace(head(), **change)
    with pytest.raises(Corrupt):
        encode_head(bad)
    with pytest.raises(Corrupt):
        decode_head(msgspec.json.encode(bad))


@pytest.mark.parametrize(
    "change",
    [
        {"format": 3},
        {"channel": "Main"},
        {"seq": 0},
        {"full": (0, sha(1), 5)},
        {"full": (21, sha(1), 5)},
        {"full": (12, sha(1), 0)},
        {"full": (12, sha(1), RELEASE_MAX_BYTES + 1)},
        {"full": (3, sha(1), 5)},
        {"full": (18, sha(1), 5), "steps": []},
        {"steps": [(19, sha(1), 5), (12, sha(1), 5)]},
        {"steps": [(12, sha(1), 5), (16, sha(1), 5)]},
        {"steps": [(12, sha(1), 5), (12, sha(1), 5)]},
        {"steps": [(12, sha(1), 5), (0, sha(1), 5)]},
        {"steps": [(12, sha(1), 0)]},
        {"steps": [(12, "nothing", 5)]},
        {"seq": 200, "steps": [(base, sha(1), 5) for base in range(76, 11, -1)]},
    ],
)
def test_a_skip_list_with_a_field_out_of_bounds_is_neither_written_nor_read(change: dict[str, object]) -> None:
    bad = msgspec.structs.replace(skips(), **change)
    with pytest.raises(Corrupt):
        encode_skips(bad)
    with pytest.raises(Corrupt):
        decode_skips(msgspec.json.encode(bad))


def test_documents_that_are_too_long_are_not_parsed() -> None:
    with pytest.raises(TooLong):
        decode_head(encode_head(head()) + b" " * HEAD_MAX_BYTES)
    with pytest.raises(TooLong):
        decode_skips(encode_skips(skips()) + b" " * SKIPS_MAX_BYTES)


@pytest.mark.parametrize("member", ["format", "area", "channel", "seq", "issued", "root", "files", "release", "skips"])
def test_every_member_of_a_head_is_needed(member: str) -> None:
    document = json.loads(encode_head(head()))
    del document[member]
    with pytest.raises(Corrupt):
        decode_head(json.dumps(document).encode())


def test_the_path_of_a_head_cannot_leave_its_folder() -> None:
    assert head_path("course-1") == "ch/course-1/head.json"
    with pytest.raises(Corrupt):
        head_path("../x")


def test_bases_lie_at_powers_of_two() -> None:
    assert skip_bases(20) == (18, 16, 12, 4)
    assert skip_bases(18) == (16, 14, 10, 2)
    assert skip_bases(17) == (15, 13, 9, 1)
    assert skip_bases(3) == (1,)
    assert skip_bases(2) == skip_bases(1) == ()


def test_a_full_listing_is_reached_by_a_step_or_the_plain_release() -> None:
    assert not reaches(20, skip_bases(20), 3)
    assert reaches(20, skip_bases(20), 4)
    assert reaches(2, (), 1) and reaches(2, (), 2) and not reaches(3, (), 1)


@pytest.mark.parametrize(
    ("held", "bases"),
    [(20, []), (19, [19]), (18, [18]), (17, [16]), (16, [16]), (15, [12]), (12, [12]), (5, [4]), (4, [4])],
)
def test_one_release_leads_from_a_listing_within_reach(held: int, bases: list[int]) -> None:
    way = route(held, head(), skips())
    assert [step.base for step in way] == bases
    assert all((step.seq, step.sha256) == (20, sha(1000 + step.base)) for step in way)


@pytest.mark.parametrize("held", [0, 1, 3])
@pytest.mark.parametrize(("full", "then"), [(4, 4), (11, 4), (12, 12), (17, 16), (18, 18), (19, 19)])
def test_beyond_reach_the_full_listing_comes_first(held: int, full: int, then: int) -> None:
    first, second = route(held, head(), skips(full=full))
    assert first == Step(0, sha(2000 + full), 9000, full)
    assert (second.base, second.sha256, second.seq) == (then, sha(1000 + then), 20)


def test_a_full_listing_of_this_seq_is_enough() -> None:
    assert route(0, head(), skips(full=20)) == (Step(0, sha(2020), 9000, 20),)


def test_without_the_skip_list_only_one_release_can_be_told() -> None:
    assert route(19, head(), None) == (Step(19, sha(1019), 500, 20),)
    assert route(20, head(), None) == ()
    assert route(0, head(1), None) == (Step(0, sha(1000), 500, 1),)
    for held in (0, 1, 18):
        with pytest.raises(NeedSkips):
            route(held, head(), None)


def test_a_head_older_than_what_is_held_is_a_rollback() -> None:
    with pytest.raises(Untrusted) as caught:
        route(21, head(), skips())
    assert caught.value.reason == "rollback"


def test_the_skip_list_of_another_head_is_refused() -> None:
    with pytest.raises(Corrupt):
        route(3, head(), skips(19))
    with pytest.raises(Corrupt):
        route(3, head(), msgspec.structs.replace(skips(), channel="other"))
