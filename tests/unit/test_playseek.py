"""Spans of time in the spellings of the field."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wire.playseek import Playseek, PlayseekError, find_playseek, parse_playseek, write_playseek

SINCE, UNTIL = datetime(2026, 11, 24, 8, 0, 5, tzinfo=UTC), datetime(2026, 11, 24, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "20261124080005-20261124083000",
        "20261124080005GMT-20261124083000GMT",
        "20261124T080005Z-20261124T083000Z",
        "20261124T160005+0800-20261124T163000+08:00",
        "2026-11-24T08:00:05Z-2026-11-24T08:30:00.000Z",
        "1795507205-1795509000",
        " 20261124080005-20261124083000/",
    ],
)
def test_spellings(text: str) -> None:
    assert parse_playseek(text) == Playseek(SINCE, UNTIL)


def test_without_end_and_by_other_names() -> None:
    assert parse_playseek("20261124080005-") == Playseek(SINCE, None)
    assert find_playseek({"a": "b"}) is None
    assert find_playseek({"tvdr": "20261124080005GMT-20261124083000GMT"}) == Playseek(SINCE, UNTIL)


@pytest.mark.parametrize(
    "text", ["", "-", "now-", "20261124080005", "20261324080005-20261124083000", "20261124083000-20261124080005", "0-1"]
)
def test_nonsense_is_told(text: str) -> None:
    with pytest.raises(PlayseekError):
        parse_playseek(text)


def test_what_is_written_is_read() -> None:
    assert write_playseek(SINCE, UNTIL) == "20261124080005-20261124083000"
    assert parse_playseek(write_playseek(SINCE, UNTIL)) == Playseek(SINCE, UNTIL)


def test_a_moment_without_a_zone_lies_where_the_query_says() -> None:
    there = "20261124160005-20261124163000"
    assert find_playseek({"playseek": there, "zoneoffset": "480"}) == Playseek(SINCE, UNTIL)
    assert find_playseek({"playseek": write_playseek(SINCE, UNTIL), "zoneoffset": "0"}) == Playseek(SINCE, UNTIL)
    zoned = {"playseek": "20261124080005GMT-2026-11-24T16:30:00+08:00", "zoneoffset": "-60"}
    assert find_playseek(zoned) == Playseek(SINCE, UNTIL), "a zone of its own comes first"
    for wrong in ("x", "900", "", "4.5"):
        with pytest.raises(PlayseekError, match="zoneoffset"):
            find_playseek({"playseek": there, "zoneoffset": wrong})
