"""Channels over a cable between two networks: groups, repair, fast channel change, all at once and from outside.

The one thing that is not real is the loss: this kernel may have no netem, so packets are dropped after they came.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.lessons import make_counted_lesson
from tests.edge_lab import publish, serve
from tests.peers import fcc_box, group_box, tr101290
from tests.scenario.test_lan_edges import two_networks
from tests.served import LATE
from wire.rs_fec import mend, parse_parity
from wire.rtp import parse_rtp

pytestmark = [pytest.mark.timeout(120), pytest.mark.stranger("multicat")]
EDGE, BOX = "10.99.7.1", "10.99.7.2"
RTP, BARE = "239.7.7.7", "239.7.7.8"
PORT, FCC_PORT, TTL = 5000, 15970, 3
WATCH_S = 5
SETTINGS = {
    **LATE,
    "EDGE_SERVER_HOST": "0.0.0.0",
    "EDGE_SERVER_MULTICAST_INTERFACE": EDGE,
    "EDGE_SERVER_MULTICAST_TTL": str(TTL),
    "EDGE_SERVER_MULTICAST_FEC": "20+2",
    "EDGE_SERVER_FCC_PORT": str(FCC_PORT),
    "EDGE_SERVER_FCC_RATE": "2",
}


@dataclass(frozen=True)
class Got:
    root: Path
    boxes: dict[str, dict[str, Any]]
    metrics: str


@pytest.fixture(scope="module")
def got(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Got]:
    root = tmp_path_factory.mktemp("cable")
    lessons = []
    for number, frames in enumerate((110, 125)):
        lessons.append(root / f"{number}.mp4")
        make_counted_lesson(lessons[-1], frames=frames, title=f"L{number}", seed=number)
    items = ",".join(publish(root, lessons, timeout_s=120).values())
    channels = f"教育频道={items}@rtp:{RTP}:{PORT};二套={items}@{BARE}:{PORT}"
    with two_networks() as (left, right), ThreadPoolExecutor(8) as pool:

        def inside(*words: str, network: str = right, fine: tuple[int, ...] = (0,)) -> str:
            command = ["ip", "netns", "exec", network, *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode in fine, f"{words}: {done.stdout[-500:]} {done.stderr[-2000:]}"
            return done.stdout

        def peer(module: Any, *words: str) -> dict[str, Any]:
            told = json.loads(inside(sys.executable, str(module.__file__), *words))
            assert isinstance(told, dict)
            return told

        for network in (left, right):
            subprocess.run(["ip", "-n", network, "route", "add", "224.0.0.0/4", "dev", "v0"], check=True)
        with serve(root, environment={**SETTINGS, "EDGE_SERVER_CHANNELS": channels}, network=left) as edge:
            where = (EDGE, str(FCC_PORT), RTP, str(PORT), BOX, str(WATCH_S))
            boxes = {
                "repair": (group_box, RTP, str(PORT), str(PORT - 1), BOX, str(WATCH_S), str(root / "repair")),
                "bare": (group_box, BARE, str(PORT), "0", BOX, str(WATCH_S), str(root / "bare")),
            }
            first = {name: pool.submit(peer, *words) for name, words in boxes.items()}
            told = {name: each.result() for name, each in first.items()}  # now the group has a key picture
            program = f"multicat -u -d {WATCH_S * 27_000_000} @{BARE}:{PORT}/ifaddr={BOX} {root / 'multicat.ts'}"
            stranger = pool.submit(inside, *program.split())
            faces = ("telecom", "huawei")
            then = {face: pool.submit(peer, fcc_box, face, *where, str(root / f"{face}.ts")) for face in faces}
            told |= {face: each.result() for face, each in then.items()}
            stranger.result()
            read = "import urllib.request as u,sys; print(u.urlopen(sys.argv[1]).read().decode())"
            metrics = inside(sys.executable, "-c", read, f"http://127.0.0.1:{edge.port}/metrics", network=left)
    yield Got(root, told, metrics)


def datagrams(file: Path) -> dict[int, list[tuple[int, bytes]]]:
    """Time to live and bytes, by port."""
    found = defaultdict(list)
    for line in file.read_text().splitlines():
        port, ttl, data = line.split()
        found[int(port)].append((int(ttl), bytes.fromhex(data)))
    return found


def sound(stream: bytes) -> None:
    report = tr101290.check(stream)
    assert report.wrong == []
    assert report.time_bases == 1


@pytest.mark.parametrize("name", ["repair", "bare"])
def test_a_group_comes_to_who_has_joined_and_as_long_as_he_has(got: Got, name: str) -> None:
    told = got.boxes[name]
    assert told["member"] == [False, True, False]
    assert told["before"] == told["after"] == 0
    assert told["during"] > WATCH_S * 15


def test_groups_keep_apart_and_have_the_time_to_live_of_the_setting(got: Got) -> None:
    bare, repair = datagrams(got.root / "bare"), datagrams(got.root / "repair")
    assert {ttl for each in (bare, repair) for found in each.values() for ttl, _ in found} == {TTL}
    assert all(data[0] == 0x47 and len(data) % 188 == 0 for _, data in bare[PORT])
    assert {data[:2] for _, data in repair[PORT]} == {b"\x80\x21"}
    sound(b"".join(data for _, data in bare[PORT]))
    sound(b"".join(data[12:] for _, data in repair[PORT]))


def test_a_stranger_writes_the_group_down(got: Got) -> None:
    stream = (got.root / "multicat.ts").read_bytes()
    assert len(stream) > WATCH_S * 20_000
    sound(stream)


def test_repair_packets_mend_what_is_lost(got: Got) -> None:
    """Two of each twenty are dropped; what comes back is what had been sent."""
    found = datagrams(got.root / "repair")
    sent = {int.from_bytes(data[2:4], "big"): data for _, data in found[PORT]}
    blocks = defaultdict(list)
    for _, data in found[PORT - 1]:
        packet = parse_rtp(data)
        assert packet.payload_type == 127
        parity = parse_parity(packet.payload)
        blocks[parity.first].append(parity)
    mended = 0
    for first, parities in blocks.items():
        whole = {place: sent.get(first + place & 0xFFFF) for place in range(20)}
        if None in whole.values():
            continue  # the first one began before us
        block = {place: data for place, data in whole.items() if data is not None}
        lost = {first % 20, (first + 7) % 20}
        rest = {place: data for place, data in block.items() if place not in lost}
        back = mend(rest, {each.index: each.data for each in parities}, parities[0], "powers")
        assert back == {place: block[place] for place in lost}
        mended += len(back)
    assert mended >= 2 * (WATCH_S * 15 // 20)


@pytest.mark.parametrize("face", ["telecom", "huawei"])
def test_fast_channel_change_is_one_stream_from_the_key_picture_to_the_group(got: Got, face: str) -> None:
    told = got.boxes[face]
    assert told["gaps"] == told["differ"] == told["after_end"] == 0
    assert told["media_before_join"], "the burst comes before the word to join"
    stream = (got.root / f"{face}.ts").read_bytes()
    sound(stream)
    first = stream[:188]
    assert first[0] == 0x47 and first[1] & 0x1F == first[2] == 0, "begins with the tables"
    answer = bytes.fromhex(told["answer"])
    if face == "huawei":
        assert int.from_bytes(answer[16:18], "big") == told["first_sequence"]


def test_numbers_for_those_who_watch_over_it(got: Got) -> None:
    assert 'edge_fcc_bursts_total{result="ended"} 2.0' in got.metrics
    assert "edge_fcc_bursts_running 0.0" in got.metrics
    line = next(each for each in got.metrics.splitlines() if each.startswith("edge_multicast_parity_packets_total"))
    assert float(line.split()[1]) > WATCH_S
