"""Whose fault is GStreamer's early end on short HLS lists? The same lists and segments from our edge and from nginx.

    .venv/bin/python benchmarks/gst_early_end.py

Eight players at once on a lesson of one segment; prints how many runs ended with the message of ``tests/gst.py``.
Exit 1 when our server shows any *other* failure.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.progressive import nginx  # noqa: E402
from tests.gst import EARLY_END  # noqa: E402
from tests.served import Served, serving  # noqa: E402

PLAYERS, RUNS, REPEATS = 8, 16, 2


def mirror(served: Served, www: Path) -> str:
    """Copy the fMP4 list of the lesson and all it names into a folder; return the path of the master playlist."""

    def grab(path: str) -> str:
        data = urllib.request.urlopen(served.http + path, timeout=30).read()
        (www / path).parent.mkdir(parents=True, exist_ok=True)
        (www / path).write_bytes(data)
        return str(data.decode("utf-8", "replace"))

    base = f"hls/{served.video}/fmp4/"
    for line in _names(grab(base + "master.m3u8")):
        for name in _names(grab(base + line)):
            grab(base + line.rsplit("/", 1)[0] + "/" + name)
    return base + "master.m3u8"


def _names(text: str) -> list[str]:
    return re.findall(r'URI="([^"]+)"', text) + [line for line in text.splitlines() if line and line[0] != "#"]


def outcome(uri: str) -> str:
    """Play once."""
    sinks = ("video-sink=fakesink sync=false", "audio-sink=fakesink sync=false")
    done = subprocess.run(
        ["gst-launch-1.0", "playbin3", f"uri={uri}", *sinks],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "GST_DEBUG": "adaptivedemux2:1", "GST_DEBUG_NO_COLOR": "1"},
    )
    said = done.stdout + done.stderr
    if EARLY_END in said:
        return "early_end"
    return "ok" if done.returncode == 0 and "Got EOS" in said else "other"


def main() -> int:
    """Compare both servers, alternating, and print one JSON object."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        served = stack.enter_context(serving(folder))
        www = folder / "www"
        www.mkdir()
        path = mirror(served, www)
        for each in (folder, www, *www.rglob("*")):
            each.chmod(0o755)
        peer = nginx(stack, www, served.edge / "edge.toml")
        bases = {"edge": served.http, "nginx": f"http://127.0.0.1:{peer.port}/"}
        found: dict[str, list[str]] = {name: [] for name in bases}
        for _ in range(REPEATS):
            for name, base in bases.items():
                with ThreadPoolExecutor(PLAYERS) as players:
                    found[name] += players.map(outcome, [base + path] * RUNS)
    report = {name: {kind: each.count(kind) for kind in ("ok", "early_end", "other")} for name, each in found.items()}
    print(json.dumps({"players_at_once": PLAYERS, **report}))
    return 1 if report["edge"]["other"] else 0


if __name__ == "__main__":
    sys.exit(main())
