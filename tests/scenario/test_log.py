"""``edge-server serve --json``: stdout holds the command's answers, stderr what happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.served import BIN, published

pytestmark = pytest.mark.timeout(60)


def objects(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_answers_on_stdout_and_events_on_stderr(tmp_path: Path) -> None:
    published(tmp_path)
    settings = {"CENTRAL": str(tmp_path / "gone"), "POLL_S": "3600", "WORKERS": "2", "LOG_LEVEL": "info"}
    command = [str(BIN / "edge-server"), "serve", "--dir", str(tmp_path / "edge"), "--json", "--http-port", "0"]
    environ = {**os.environ, **{f"EDGE_SERVER_{name}": value for name, value in settings.items()}}
    with subprocess.Popen(
        [*command, "--rtsp-port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        first = process.stdout.readline()
        heard = ""
        while "sync failed" not in heard:
            heard += (line := process.stderr.readline())
            assert line, heard
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        while "a worker ended" not in heard:
            heard += (line := process.stderr.readline())
            assert line, heard
        process.send_signal(signal.SIGTERM)
        rest, more = process.communicate(timeout=30)
        assert process.returncode == 0
    assert json.loads(first)["type"] == "ready"
    assert all("type" in json.loads(line) for line in rest.splitlines())
    events = objects(heard + more)
    assert {"sync failed; serving what is here", "a worker ended; it is started again"} <= {e["event"] for e in events}
    for event in events:
        assert event["level"] in ("info", "warning") and str(event["logger"]).startswith("edge_server.")


def test_a_level_that_is_none_is_a_bad_setting(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text('central = "/nowhere"\nlog_level = "loud"\n', encoding="utf-8")
    for words in (["config", "check"], ["status"]):
        done = subprocess.run(
            [str(BIN / "edge-server"), *words, "--dir", str(tmp_path), "--json"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 4 and "log_level" in done.stderr
        assert objects(done.stdout)[-1]["type"] == "error"
