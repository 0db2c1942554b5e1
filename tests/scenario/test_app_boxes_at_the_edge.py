"""MAG box, Kodi, Xtream app and M3U player, written apart from the edge's portals, log in, find the lesson, play it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.served import Served, run, serving

BOXES = ("mag250", "kodi_stalker", "xtream_app", "m3u_player")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("apps")) as running:
        yield running


@pytest.mark.timeout(60)
@pytest.mark.parametrize("box", BOXES)
def test_a_box_counts_every_frame(served: Served, box: str) -> None:
    words = ("--portal", served.http, "--box", box, "--lesson", served.video, "--json")
    lines = run("stb-emulator", "matrix", *words, fine=(0, 1))
    rows = [line for line in lines if line["type"] == "item"]
    assert [(row["ok"], row["reason"], row["frames"]) for row in rows] == [(True, "", served.frames)]


def test_they_list_the_lesson_alike(served: Served) -> None:
    words = [word for box in (*BOXES, "new_hls_ts") for word in ("--box", box)]
    lines = run(
        "stb-emulator", "matrix", "--portal", served.http, *words, "--lesson", served.video, "--json", fine=(0, 1)
    )
    assert [line for line in lines if line["type"] == "difference"] == []
