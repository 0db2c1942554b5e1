"""Which groups the setting names."""

from __future__ import annotations

import pytest

from edge_server.egress.multicast import Group, parse_groups


def test_groups_are_read() -> None:
    assert parse_groups("") == ()
    assert parse_groups("1001@239.1.1.1:5000, rtp:7/R40@239.1.1.2:5000,") == (
        Group("1001", "R12", "239.1.1.1", 5000, False),
        Group("7", "R40", "239.1.1.2", 5000, True),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("7", "is not like"),
        ("7@239.1.1.1", "is not like"),
        ("x@239.1.1.1:5000", "is not like"),
        ("7@192.0.2.1:5000", "no IPv4 multicast"),
        ("7@239.1.1.999:5000", "no IPv4 multicast"),
        ("7@239.1.1.1:0", "port 0"),
        ("rtp:7@239.1.1.1:5001", "an even one"),
        ("7@239.1.1.1:5000,8@239.1.1.1:5000", "once"),
    ],
)
def test_nonsense_is_told(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_groups(text)
