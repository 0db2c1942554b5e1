"""The multicast box from login to picture on our edge: the list names group, burst and parity; losses are mended."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator

import msgspec
import pytest

from fixtures.lessons import make_counted_lesson
from runtime.clock import SystemClock
from stb_emulator.boxes import load_all
from stb_emulator.players.multicast import driver
from stb_emulator.players.multicast.window import Window
from stb_emulator.seat import Seat
from tests.edge_lab import BIN, Running, publish, serve
from tests.served import LATE

pytestmark = pytest.mark.timeout(90)
GROUP = f"239.251.{os.getpid() % 250}.5"


def _free(kind: int = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("group")
    lesson = root / "0.mp4"
    make_counted_lesson(lesson, frames=250, title="L", seed=3)
    [item] = publish(root, [lesson]).values()
    words = ["account", "add", "edu001@itv", "--password-stdin", "--key-type", "0001", "--dir", str(root / "edge")]
    subprocess.run([str(BIN / "edge-server"), *words], input="123456\n", text=True, check=True, capture_output=True)
    settings = {
        **LATE,
        "EDGE_SERVER_MULTICAST_INTERFACE": "127.0.0.1",
        "EDGE_SERVER_MULTICAST_FEC": "20+2",
        "EDGE_SERVER_FCC_PORT": str(_free()),
        "EDGE_SERVER_FCC_RATE": "2",
        "EDGE_SERVER_CHANNELS": f"教育频道={item}@rtp:{GROUP}:{_free() // 2 * 2}",
    }
    with serve(root, environment=settings) as running:
        yield running


async def test_a_channel_with_losses(edge: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each 17th packet of the group is lost on the way to the box, once it has done with the burst."""

    class Lossy(Window):
        def take(self, data: bytes, now: float) -> int | None:
            number = int.from_bytes(data[2:4], "big")
            return None if data[1] & 0x7F == 33 and number % 17 == 5 and not self.seam else super().take(data, now)

    box = load_all()["multicast_box"]
    assert box.multicast
    told = msgspec.structs.replace(box.multicast, fcc_answer_s=5.0)
    box = msgspec.structs.replace(box, multicast=told)
    seat = Seat(portal_url=edge.http, clock=SystemClock(), silence_s=8, seconds=5.0)
    channels = [offer for offer in await seat.list(box) if offer.live]
    assert [offer.title for offer in channels] == ["教育频道"]
    assert "fcc=127.0.0.1:" in channels[0].url and "fec=" in channels[0].url
    monkeypatch.setattr(driver, "Window", Lossy)
    row = await seat.watch(box, channels[0].item_id)
    assert (row.ok, row.reason) == (True, "")
    assert "FCC burst" in row.transport and "FEC mended" in row.transport
    assert (row.lost, row.duplicates, row.continuity_errors) == (0, 0, 0)
    assert row.frame_code and row.frame_code.gaps == row.frame_code.duplicates == 0
