"""What a supervisor hears of a real edge: ready, alive, stopping; and nothing while the loop hangs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import BIN, run

pytestmark = pytest.mark.timeout(60)
UNIT = Path(__file__).resolve().parents[2] / "deploy" / "edge-server.service"


@pytest.fixture
def told(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(20)
        yield sock


def test_systemd_hears_that_it_is_ready_lives_and_stops(tmp_path: Path, told: socket.socket) -> None:
    central, edge = str(tmp_path / "central"), str(tmp_path / "edge")
    run("central-platform", "init", central, "--json")
    trust = str(tmp_path / "central" / "published" / "metadata" / "1.root.json")
    run("edge-server", "init", edge, "--central", str(tmp_path / "central" / "published"), "--trust", trust, "--json")
    command = [str(BIN / "edge-server"), "serve", "--dir", edge, "--http-port", "0", "--rtsp-port", "0", "--json"]
    environ = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ) as process:
        try:
            assert told.recv(64) == b"READY=1"
            assert {told.recv(64) for _ in range(3)} == {b"WATCHDOG=1"}
            process.send_signal(signal.SIGSTOP)
            told.settimeout(1.5)
            with pytest.raises(TimeoutError):
                for _ in range(20):  # what was said before it was stopped
                    told.recv(64)
            process.send_signal(signal.SIGCONT)
            told.settimeout(20)
            assert told.recv(64) == b"WATCHDOG=1"
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(20)
        told.settimeout(0.5)
        left = []
        with pytest.raises(TimeoutError):
            for _ in range(50):
                left.append(told.recv(64))
        assert b"STOPPING=1" in left
    assert process.returncode == 0


@pytest.mark.stranger("systemd-analyze")
def test_the_unit_file_is_one_that_systemd_reads(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8")
    assert "Type=notify" in text and "WatchdogSec=" in text and "Restart=always" in text
    mine = tmp_path / UNIT.name
    mine.write_text(text.replace("/opt/rural-media-edge/bin/edge-server", "/bin/true"), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(mine)], capture_output=True, text=True, timeout=30, check=False
    )
    assert UNIT.name not in done.stderr, done.stderr
