"""Random histories: from every release there is a way to the newest, whatever happened in between."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.publishing import Publisher, history, packs, releases
from sync.publishing.releases import plan
from tests.unit.test_publishing import NOW, Base, Edge, check_names, noise

NAMES = [f"{n}.{ending}" for n in range(4) for ending in ("txt", "bin")]
MEMORY = Path("/dev/shm")


def content(kind: str, number: int, edit: int) -> bytes:
    """Texts, and binaries that share chunks with others of the same number."""
    if kind == "txt":
        return f"{number} {edit % 3}".encode() * 40
    return noise(number, 30_000) + noise(100 + edit, 6_000)


changes = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from(NAMES), st.integers(0, 3), st.integers(0, 4)),
        st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just(0), st.just(0)),
        st.tuples(st.just("rename"), st.sampled_from(NAMES), st.integers(0, 7), st.just(0)),
        st.tuples(st.just("priority"), st.sampled_from(NAMES), st.integers(0, 3), st.just(0)),
    ),
    max_size=5,
)
steps = st.lists(
    st.tuples(changes, st.sampled_from(["", "", "", "", "", "reindex", "prune", "restart"])), min_size=2, max_size=12
)


def edited(
    before: Mapping[str, bytes], wanted: list[tuple[str, str, int, int]]
) -> tuple[dict[str, bytes], dict[str, int]]:
    after, priorities = dict(before), {}
    for what, name, number, edit in wanted:
        if what == "set":
            after[name] = content(name.rpartition(".")[2], number, edit)
        elif what == "remove":
            after.pop(name, None)
        elif what == "rename" and name in after:
            after[f"moved/{number}.{name.rpartition('.')[2]}"] = after.pop(name)
        elif what == "priority" and name in after:
            priorities[name] = number
    return after, {name: each for name, each in priorities.items() if name in after}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps, st.sampled_from([2, 3, 64]), st.sampled_from([4, 6, 50_000]), st.sampled_from([4, 512]))
def test_every_release_leads_to_the_newest(
    history_of: list[tuple[list[tuple[str, str, int, int]], str]], full_after: int, names: int, window: int
) -> None:
    folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
    try:
        with (
            patch.object(releases, "FULL_AFTER_RELEASES", full_after),
            patch.object(releases, "HISTORY_RELEASES_MAX", window),
            patch.object(history, "HISTORY_RELEASES_MAX", window),
            patch.object(history, "HISTORY_NAMES_MAX", names),
            patch.object(packs, "PACK_MAX_BYTES", 50_000),
        ):
            _live(folder, history_of)
    finally:
        shutil.rmtree(folder)


def _live(folder: Path, history_of: list[tuple[list[tuple[str, str, int, int]], str]]) -> None:
    publisher = Publisher.init(folder / "central", NOW)
    held: dict[str, bytes] = {}
    edges = [Edge()]
    for wanted, then in history_of:
        after, priorities = edited(held, wanted)
        add = {name: data for name, data in after.items() if held.get(name) != data}
        listing = publisher.publish("main", add=add, remove=held.keys() - after.keys(), now=NOW, priority=priorities)
        held = after
        base = Base(publisher.published)
        for edge in edges:
            twin = edge.twin().pull(base)
            assert twin.content == held
            assert {name: twin.files[name][4] for name in priorities} == priorities
        if listing.seq > edges[-1].seq:
            edges.append(edges[-1].twin().pull(base))
        if then == "reindex":
            publisher.reindex()
        elif then == "prune":
            publisher.prune()
        elif then == "restart":
            publisher = Publisher.open(folder / "central")
    check_names(publisher.published)
    assert {name: publisher.read("main", name) for name in held} == held


@given(st.integers(2, 3000), st.integers(1, 3000), st.integers(1, 3000))
def test_steps_always_reach_the_full_listing(seq: int, full_seq: int, floor: int) -> None:
    full_seq, floor = min(full_seq, seq - 1), min(floor, seq)
    planned = plan(seq, full_seq, floor)
    assert planned.full_seq in (full_seq, seq)
    assert seq - planned.full_seq < releases.FULL_AFTER_RELEASES
    assert all(floor <= base <= seq - 2 for base in planned.bases)
    assert planned.full_seq >= seq - 1 or planned.bases[-1] <= planned.full_seq
    assert list(planned.bases) == sorted(set(planned.bases), reverse=True)
