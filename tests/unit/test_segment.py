"""Old boxes' portals answer the local segment, and nobody who only seems to be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_server.bootstrap.segment import make_segment
from runtime.settings import ConfigError

DEFAULT = "127.0.0.0/8, ::1, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, fc00::/7, fe80::/10"


@pytest.mark.parametrize(
    ("remote", "headers", "local"),
    [
        ("127.0.0.1", {}, True),
        ("192.168.1.20", {}, True),
        ("::ffff:10.1.2.3", {}, True),
        ("fe80::1%eth0", {}, True),
        ("203.0.113.9", {}, False),
        ("100.64.0.9", {}, False),
        ("2001:db8::9", {}, False),
        ("", {}, False),
        ("127.0.0.1", {"X-Real-IP": "192.168.1.20"}, True),
        ("127.0.0.1", {"X-Real-IP": "203.0.113.9"}, False),
        ("127.0.0.1", {"X-Forwarded-For": "192.168.1.20, 203.0.113.9"}, False),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.9, 192.168.1.20"}, False),
        ("127.0.0.1", {"X-Forwarded-For": ""}, False),
        ("127.0.0.1", {"Via": "1.1 proxy"}, False),
        ("127.0.0.1", {"Forwarded": "for=192.168.1.20"}, False),
        ("203.0.113.9", {"X-Real-IP": "192.168.1.20"}, False),
    ],
)
def test_who_is_on_the_segment(remote: str, headers: dict[str, str], local: bool) -> None:
    assert make_segment(DEFAULT).holds(remote, headers) is local


def test_what_is_set_counts_and_nothing_else() -> None:
    segment = make_segment("10.1.0.0/16")
    assert segment.holds("10.1.2.3", {}) and not segment.holds("127.0.0.1", {})
    assert not make_segment("").holds("127.0.0.1", {})


def test_what_is_no_network_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"legacy_networks: .*write addresses or networks"):
        make_segment("the village")


def test_the_default_is_what_is_tried_here() -> None:
    assert f"`'{DEFAULT}'`" in (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
