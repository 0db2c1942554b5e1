"""A lab edge in this process, with what the rows of the disagreements need, and the rows tried on it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edge_server.bootstrap.edge import Running
from edge_server.cli.common import open_edge
from fixtures.lessons import make_counted_lesson
from runtime.clock import SystemClock
from runtime.output import Output
from runtime.service import running
from stb_emulator.boxes import load_all
from stb_emulator.lab.disagreements import ROWS, Lab, Result, Row, prepare
from stb_emulator.lab.disagreements import run as run_rows
from stb_emulator.seat import Seat
from tests.served import run

FRAMES, FPS = 74, 10
"""7.4 s: eight hours are no whole number of rounds, so that a moment in the wrong zone shows another picture."""
SIZE = (768, 432)
"""Wider than an old box can decode, so that R40 is beyond it."""
ACCOUNTS = (
    ("edu001@itv", "123456", "--key-type", "0001"),
    ("edu002@itv", "100001", "--key-type", "0002"),
    ("edu003@itv", "123456", "--charset", "gbk"),
    ("edu004@itv", "123456", "--times", "local"),
)
"""As docs/protocols/disagreements.md lists them."""
PORT_SETTINGS = ("channels", "multicast_interface", "fcc_port", "fcc_rate", "ntp_port")
BOXES = load_all()


@dataclass(frozen=True)
class Village:
    """An edge folder that has synced one lesson, and knows the accounts."""

    root: Path
    item_id: str


def make_village(root: Path) -> Village:
    make_counted_lesson(root / "lesson.mp4", frames=FRAMES, title="安全用电", seed=3, size=SIZE, fps=FPS)
    central, edge = str(root / "central"), str(root / "edge")
    run("central-platform", "init", central, "--json")
    words = ("--column", "测试专栏", "--class", "education", "--dir", central, "--json")
    told = run("central-platform", "publish", str(root / "lesson.mp4"), "--title", "安全用电", *words)
    trust = str(root / "central" / "published" / "metadata" / "1.root.json")
    run("edge-server", "init", edge, "--central", str(root / "central" / "published"), "--trust", trust, "--json")
    run("edge-server", "sync", "--dir", edge, "--json")
    for user, password, *options in ACCOUNTS:
        add = ("edge-server", "account", "add", user, "--password-stdin", *options, "--dir", edge, "--json")
        run(*add, given=password + "\n")
    return Village(root, str(told[-1]["item_id"]))


@asynccontextmanager
async def edge_of(village: Village, **settings: Any) -> AsyncIterator[Running]:
    """Serve the folder in this process."""
    usual = {"channels": f"教育频道={village.item_id}", "http_port": 0, "rtsp_port": 0, "log_level": "error"}
    usual |= {"lab": True, "verify_days": 0.0, "grace_s": 1.0, "pacing_late_max_ms": 60000.0}
    serving = open_edge(Output(json=True), village.root / "edge", **{**usual, **settings}).services()
    async with AsyncExitStack() as opened:
        for service in serving.stack:
            await opened.enter_async_context(running(service, grace=1.0))
        yield serving


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def group_settings(village: Village) -> tuple[str, dict[str, Any]]:
    """Return the address of a channel that goes to a group of this machine, and the settings that make it."""
    port, fcc = free_udp_port() & ~1, free_udp_port()
    group = f"239.{os.getpid() % 250}.{port % 250}.{fcc % 250 + 1}"
    channels = f"教育频道={village.item_id}@rtp:{group}:{port}"
    settings = {"channels": channels, "multicast_interface": "127.0.0.1", "fcc_port": fcc, "fcc_rate": 2.0}
    return f"igmp://{group}:{port}?fcc=127.0.0.1:{fcc}", settings


def wait_for_key(url: str, within_s: float = 30.0) -> None:
    """Wait until a key picture has gone to a group: before, a box is told to join, and rightly gets no burst."""
    parts = urlsplit(url)
    group, port = str(parts.hostname), int(parts.port or 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((group, port))
        member = socket.inet_aton(group) + socket.inet_aton("127.0.0.1")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        sock.settimeout(within_s)
        for _ in range(20_000):
            data = sock.recv(2048)[12:]
            packets = [data[at : at + 188] for at in range(0, len(data) - 187, 188)]
            if any(each[3] & 0x20 and each[4] and each[5] & 0x40 for each in packets):  # random_access_indicator
                return
    raise AssertionError("no key picture in the group")


@asynccontextmanager
async def full_edges(village: Village, room: Running, **settings: Any) -> AsyncIterator[tuple[str, ...]]:
    """Serve from two edges without a free place: one sends on to where there is room, the other in a circle."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    full = {"viewing_max_sessions": 0, **settings}
    async with (
        edge_of(village, rtsp_neighbour=room.rtsp_address.rstrip("/"), **full) as sends,
        edge_of(village, rtsp_neighbour=f"rtsp://127.0.0.1:{port}", **{**full, "rtsp_port": port}) as circles,
    ):
        yield sends.rtsp_address, circles.rtsp_address


async def attempt(
    village: Village,
    names: Collection[str] = (),
    *,
    plays: bool = False,
    strict: Collection[str] = (),
    **settings: Any,
) -> dict[str, Result]:
    """Try the rows on an edge with these settings."""
    rows: Sequence[Row] = [each for each in ROWS if not names or each.name in names]
    group = ""
    async with AsyncExitStack() as opened:
        if any(each.name == "D21" for each in rows):
            settings["ntp_port"] = free_udp_port()
        if any(each.name == "D8" for each in rows):
            group, more = group_settings(village)
            settings |= more
        serving = await opened.enter_async_context(edge_of(village, **settings))
        if group:
            await asyncio.to_thread(wait_for_key, group)
        crowded: tuple[str, ...] = ()
        if any(each.name == "D18" for each in rows):
            alone = {name: value for name, value in settings.items() if name not in PORT_SETTINGS}
            crowded = await opened.enter_async_context(full_edges(village, serving, **alone))
        seat = Seat(portal_url=serving.http.address, clock=SystemClock())
        lab = await prepare(Lab(seat, BOXES, plays=plays, strict=frozenset(strict), crowded=crowded, group=group))
        return {each.row: each for each in await run_rows(lab, rows, concurrency=16)}


def try_rows(village: Village, *args: Any, **how: Any) -> dict[str, Result]:
    return asyncio.run(attempt(village, *args, **how))
