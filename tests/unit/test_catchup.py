"""Moments as boxes write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wire.catchup import CatchupError, read_moment, read_playseek

MOMENT = datetime(2026, 11, 24, 20, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("1795550706", 480),
        ("20261124200506", 0),
        ("20261125040506", 480),
        ("20261124200506GMT", 480),
        ("20261124200506Z", 480),
        ("2026-11-25:04-05-06", 480),
        ("2026-11-25 04:05:06", 480),
        ("2026-11-25T04:05:06", 480),
        ("2026-11-25T04:05:06+08:00", 0),
        ("2026-11-24T20:05:06Z", 480),
        ("20261124T200506Z", 480),
    ],
)
def test_every_spelling_means_the_same(text: str, zone: int) -> None:
    assert read_moment(text, zone) == MOMENT


def test_minutes_of_xtream() -> None:
    assert read_moment("2026-11-25:04-05", 480) == MOMENT.replace(second=0)


@pytest.mark.parametrize(
    "text", ["", "x", "-5", "20261332000000", "2026-02-30:01-02", "9" * 41, "12345678901", "１２３"]
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(CatchupError):
        read_moment(text)


def test_a_span() -> None:
    assert read_playseek("20261125040506-20261125050506", 480) == (MOMENT, MOMENT.replace(hour=21))


@pytest.mark.parametrize("text", ["", "20261125040506", "20261125040506-20261125040506", "2-1", "-"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(CatchupError):
        read_playseek(text)
