"""kill -9 of the edge's own program at random moments and at chosen steps, over a line and from a stick: each channel
is offered wholly old or wholly new, little is fetched again, and in the end nothing is left over.

The long drill: ``python -m benchmarks.sync_drill``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.sync_drill import MOMENTS, Drill
from tests.drill import World, Wrong, world

KILLS = 10
RATE_BYTES_PER_S = 6_000_000
"""A faster line than that of the long drill, so that many lives fit into some seconds."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("drill")) as made:
        made.server.rate_bytes_per_s = RATE_BYTES_PER_S
        yield made


@pytest.mark.timeout(120)  # 15 s each on an idle machine
@pytest.mark.parametrize("road", ["network", "usb"])
def test_an_edge_is_killed_again_and_again(here: World, road: str) -> None:
    tally = Drill(here, road, 20260301, by_command=False).run(KILLS, len(MOMENTS), http_every=6)
    assert tally.wrong == []
    assert not tally.is_missed
    assert tally.random_kills == KILLS and tally.aimed_kills.total() >= 5
    assert len(tally.seen) >= 2, "kills fell before and after something became new"
    assert tally.looks_over_http >= 1


def test_the_drill_would_see_a_mixture(here: World) -> None:
    """What is checked after each kill can fail: a channel with some names of each release, and a damaged object."""
    old, new = here.old["col-102"], here.new["col-102"]
    mixture = {**old, "courseware/30/index.html": new["courseware/30/index.html"]}
    with pytest.raises(Wrong, match="neither the old release nor the new one"):
        here.age("col-102", mixture)
    assert (here.age("col-102", old), here.age("col-102", new)) == ("old", "new")
    left = {name: sha256 for name, sha256 in here.old["col-101"].items() if "/13/" not in name}
    assert here.age("col-101", left) == "old", "what is withdrawn may be gone before the rest is new"
    edge = here.edge("damaged")
    victim = next(file for file in (edge / "objects").rglob("*") if file.is_file())
    victim.chmod(0o644)
    victim.write_bytes(b"other" + victim.read_bytes())
    with pytest.raises(Wrong, match="has other bytes"):
        here.served(edge)
