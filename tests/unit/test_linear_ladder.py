"""HLS of a channel in several renditions, each cut by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import cast

import pytest

from edge_server.egress.live import live_playlist, master_playlist, span_playlist, target_s
from tests.linear_lab import FRAMES, NOW, LinearLab, make_linear_lab
from wire.m3u8 import MasterPlaylist, MediaPlaylist, parse
from wire.m3u8_write import write_master, write_media
from wire.playseek import Playseek

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> LinearLab:
    frames = {"1001": 210, "1002": 110, "1003": 120}
    return make_linear_lab(tmp_path_factory.mktemp("ladder"), frames, large=tuple(FRAMES))


def made(lab: LinearLab, name: str, seconds: float = 0.0) -> MediaPlaylist:
    found = live_playlist(lab.round, lab.find, NOW + timedelta(seconds=seconds), name)
    assert found is not None
    return cast(MediaPlaylist, parse(write_media(found)))


def moments(playlist: MediaPlaylist) -> dict[int, float]:
    """When each airing in the list begins, by the number of its join."""
    found, join = {}, playlist.discontinuity_sequence
    for segment in playlist.segments:
        join += segment.discontinuity
        if segment.discontinuity:
            assert segment.starts_at is not None
            found[join] = segment.starts_at.timestamp()
    return found


def test_the_master_names_what_every_lesson_has(lab: LinearLab) -> None:
    master = cast(MasterPlaylist, parse(write_master(master_playlist(lab.round, "playseek=1-2"))))
    assert [each.uri for each in master.variants] == ["R40.m3u8?playseek=1-2", "R12.m3u8?playseek=1-2"]
    assert master.variants[0].codecs == "avc1.4D401E,mp4a.40.2"
    for each in master.variants:
        assert each.average_bandwidth_bps is not None
        assert 0 < each.average_bandwidth_bps <= each.bandwidth_bps
    assert lab.round.ladder() == ("R40", "R12")


def test_a_rendition_that_one_lesson_lacks_is_none_of_the_channel(lab: LinearLab) -> None:
    channel, round_ = lab.channels[0], lab.round
    first, *others = channel.slots
    poorer = replace(channel, slots=(replace(first, steps=first.steps[1:]), *others))
    assert poorer == channel, "what is one stream for all does not depend on it"
    round_.renew(poorer)
    assert round_.ladder() == ("R12",)


def test_renditions_are_cut_apart_and_joined_together(lab: LinearLab) -> None:
    for seconds in range(0, 60, 3):
        large, small = made(lab, "R40", seconds), made(lab, "R12", seconds)
        assert [each.duration_s for each in large.segments] != [each.duration_s for each in small.segments]
        both = moments(large).keys() & moments(small).keys()
        assert both and all(moments(large)[join] == moments(small)[join] for join in both)
    assert target_s(lab.round, "R40") == 8
    assert target_s(lab.round) == 6


@pytest.mark.parametrize("name", ["R12", "R40"])
def test_numbers_stay_with_the_segments(lab: LinearLab, name: str) -> None:
    numbers: dict[int, str] = {}
    for seconds in range(70):
        playlist = made(lab, name, seconds)
        for place, segment in enumerate(playlist.segments):
            assert numbers.setdefault(playlist.media_sequence + place, segment.uri) == segment.uri
            assert f"/{name}/" in segment.uri
    listed = [uri for _, uri in sorted(numbers.items())]
    assert all(b.endswith("seg-00001.ts") or int(b[-8:-3]) == int(a[-8:-3]) + 1 for a, b in pairwise(listed))
    span = span_playlist(lab.round, lab.find, Playseek(NOW - timedelta(seconds=20), NOW), NOW, name)
    assert span is not None and f"/{name}/" in span.segments[0].uri
