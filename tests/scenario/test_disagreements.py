"""The disagreements of old and new boxes: every row holds, and each fails as soon as its one tolerance is gone."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from edge_server.bootstrap.intolerance import SWITCHES
from stb_emulator.lab.disagreements import ROWS, Result, Status
from tests import edge_lab
from tests.rows_lab import Village, make_village, try_rows
from tests.served import BIN, run

pytestmark = pytest.mark.timeout(120)

SHORT_S = 4.0
"""Time-out of RTSP sessions where D15 is tried, so that it need not be waited for."""
PORTALS = ("D1", "D2", "D3", "D4", "D5", "D6", "D7", "D19", "D20", "D21")
ASKING = ("D9", "D10", "D17", "D24")
TIMES = ("D11", "D12")
APART = {
    "D8": ("D8",),
    "D14": ("D14", "D11"),
    "D15": ("D15", "D16"),
    "D16": ("D16", "D17"),
    "D18": ("D18", "D9"),
}
"""What takes seconds is tried only where it is switched off, beside a neighbour."""
OPEN = {"D22": Status.NOT_APPLICABLE, "D23": Status.NOT_APPLICABLE}


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Village]:
    return make_village(tmp_path_factory.mktemp("rows"))


def told(results: dict[str, Result]) -> str:
    return "\n".join(f"{each.row} {each.status} {each.reason}" for each in results.values())


def red(results: dict[str, Result]) -> list[str]:
    return [name for name, each in results.items() if each.status is Status.RED]


def test_every_row_holds_where_nothing_is_switched_off(village: Village) -> None:
    """Two apart: D8 counts datagrams, and where D15 ends sessions soon a busy machine would decide over other rows."""
    results = try_rows(village, [row.name for row in ROWS if row.name not in ("D8", "D15")], plays=True)
    results |= try_rows(village, ("D8",))
    results |= try_rows(village, ("D15",), session_timeout_s=SHORT_S)
    expected = {row.name: OPEN.get(row.name, Status.GREEN) for row in ROWS}
    assert {name: each.status for name, each in results.items()} == expected, told(results)
    assert len(results) == 24
    assert all(len(results[name].told) > 1 for name in expected if name not in OPEN), "one variant agrees with itself"


@pytest.mark.parametrize("row", sorted(SWITCHES, key=lambda each: int(each[1:])))
def test_a_row_fails_alone_when_its_tolerance_is_gone(village: Village, row: str, pytestconfig: pytest.Config) -> None:
    rows = next((group for group in (PORTALS, ASKING, TIMES) if row in group), None) or APART[row]
    if pytestconfig.getoption("--deep") and row not in ("D8", "D15"):
        rows = tuple(each.name for each in ROWS if each.name not in (*OPEN, "D8", "D15"))
    settings = {"session_timeout_s": SHORT_S} if row == "D15" else {}
    results = try_rows(village, rows, intolerant=row, **settings)
    assert red(results) == [row], told(results)
    assert all(each.status is Status.GREEN for name, each in results.items() if name != row), told(results)


def test_a_stricter_box_fails_where_the_tolerance_is_its_own(village: Village) -> None:
    results = try_rows(village, ("D13", "D9"), strict=("D13",))
    assert red(results) == ["D13"], told(results)
    assert "frame-limit" in results["D13"].reason


def test_the_command_says_what_came_of_it(village: Village, tmp_path: Path) -> None:
    with edge_lab.serve(village.root) as edge:
        command = ("stb-emulator", "disagreements", "--portal", edge.http, "--no-play", "--junit", str(tmp_path / "x"))
        said = run(*command, "--rows", "D1,D22", "--json")
        assert [each.get("status") for each in said[:-1]] == ["not_applicable", "green"]
        assert said[-1]["ok"] is True
        run(*command, "--rows", "D18,D13", "--json", fine=(3,))
        run(*command, "--rows", "D18,D13", "--strict", "D13", "--json", fine=(1,))
        suite = Xml.parse(tmp_path / "x").find("testsuite")
        assert suite is not None and suite.get("failures") == "2", "two of the three variants are inside the connection"


def test_only_a_lab_edge_may_be_intolerant(village: Village) -> None:
    config = ("edge-server", "config", "check", "--dir", str(village.root / "edge"), "--json")
    for words in ({"EDGE_SERVER_INTOLERANT": "D1"}, {"EDGE_SERVER_INTOLERANT": "D22", "EDGE_SERVER_LAB": "1"}):
        done = subprocess.run([str(BIN / config[0]), *config[1:]], env={**os.environ, **words}, capture_output=True)
        assert done.returncode == 4, done.stdout


@pytest.mark.stranger("ntpdig")
def test_a_stranger_reads_the_time_of_a_proved_clock(village: Village) -> None:
    """ntpdig asks port 123 only, so both stand in a network of their own."""
    network = f"rows-ntp-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", network], check=True)
    try:
        subprocess.run(["ip", "-n", network, "link", "set", "lo", "up"], check=True)
        with edge_lab.serve(village.root, network=network, environment={"EDGE_SERVER_NTP_PORT": "123"}):
            command = ["ip", "netns", "exec", network, "ntpdig", "-j", "-t", "5", "127.0.0.1"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    finally:
        subprocess.run(["ip", "netns", "delete", network], check=True)
    told = json.loads(done.stdout)
    assert told["stratum"] == 10 and told["leap"] == "no-leap"
    assert abs(told["offset"]) < 1.0, "one clock, told over one wire"
