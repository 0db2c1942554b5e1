"""The line as configured: what makes no sense is said at once, small files pass closed windows, mirrors take over."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edge_server.bootstrap.edge import briefly, check_settings
from edge_server.bootstrap.line import make_line
from edge_server.cli.common import read_config
from runtime.clock import FakeClock
from runtime.output import Output
from runtime.settings import ConfigError
from tests.sync_lab import NOW, serving

WEB = "http://127.0.0.1:9/"


def configured(**settings: object) -> Any:
    """The configuration as the programs read it: by the door, with these flags."""
    return read_config(Output(json=True), Path("/nowhere"), **settings)[0]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"central": ""}, "central: is empty"),
        ({"central": "ftp://x/"}, "write http://"),
        ({"central": "http://"}, "write http://"),
        ({"central": "http://x?a"}, "write http://"),
        ({"central": "http://x:99999/"}, "write http://"),
        ({"mirrors": "/a, gopher://b/"}, "gopher"),
        ({"windows": "by night"}, "22:00-06:00 full, else 256k"),
        ({"windows": "22:00-06:00 fast, else off"}, "full, off or bits per second"),
        ({"utc_offset_h": 14.5}, "between -14 and 14"),
        ({"utc_offset_h": -15.0}, "between -14 and 14"),
        ({"utc_offset_h": float("nan")}, "between -14 and 14"),
        ({"lan_edges": "10.0.0.7"}, "http://host:port"),
    ],
)
def test_settings_that_make_no_sense_say_what_to_write(settings: dict[str, object], told: str) -> None:
    check_settings(configured(central=WEB))
    with pytest.raises(ConfigError, match="(?s)" + ".*".join(told.split("|"))) as caught:
        check_settings(configured(**{"central": WEB, **settings}))
    assert next(iter(settings)) in str(caught.value)


async def test_small_files_pass_a_closed_window_and_packs_wait(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "timestamp.json").write_bytes(b"small")
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "p").write_bytes(b"large" * 1000)
    clock = FakeClock(NOW)  # 12:00 UTC: 20:00 at the edge
    got: list[bytes] = []
    async with asyncio.timeout(10), serving(tmp_path) as server:
        line = make_line(configured(central=server.url, windows="22:00-06:00 full, else off"), clock)
        fetched = await line.source.fetch("metadata/timestamp.json", limit_bytes=99, received=lambda _: None)
        assert fetched == b"small"
        async with asyncio.TaskGroup() as group:
            read = group.create_task(line.source.read("packs/p", 0, 5000, got.append))
            await asyncio.sleep(0.2)
            assert not read.done() and b"".join(got) != b"large" * 1000
            while not read.done():
                await clock.advance(600)
                await asyncio.sleep(0.01)
        assert b"".join(got) == b"large" * 1000 and clock.monotonic() >= 2 * 3600
        await line.source.close()


async def test_a_folder_is_a_centre_and_a_mirror_takes_over(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "timestamp.json").write_bytes(b"here")
    for config in (
        configured(central=str(tmp_path)),
        configured(central=WEB, mirrors=f" {tmp_path / 'gone'} ,, {tmp_path} "),
    ):
        line = make_line(config, FakeClock(NOW))
        assert await line.source.fetch("metadata/timestamp.json", limit_bytes=99, received=lambda _: None) == b"here"
        await line.source.close()


def test_a_noted_failure_is_told_chinese_first() -> None:
    assert briefly("Unreachable: http://x/").startswith("连不上中心平台 / ") and "http://x/" in briefly(
        "Unreachable: x http://x/"
    )
    assert briefly("Odd: thing") == "同步失败 / sync failed (thing)"
