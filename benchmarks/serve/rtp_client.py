"""The RTSP load client in a process of its own, which also reads the server's CPU at the ends of the measured time.

python -m benchmarks.serve.rtp_client SPEC.json        prints one line of JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.rtp_load.run import run
from benchmarks.serve.programs import HOST, cpu_s, memory_bytes


def main() -> None:
    """Command line."""
    spec: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    pid, read = spec["pid"], []

    def on_measure(begins: bool) -> None:
        read.append((cpu_s(pid), memory_bytes(pid)))

    found = run(
        HOST,
        spec["port"],
        spec["path"],
        spec["sessions"],
        spec["seconds"],
        spec["transport"],
        ts=Path(spec["ts"]) if spec["ts"] else None,
        compared_share=spec["compared_share"],
        warm_s=spec["warm_s"],
        on_measure=on_measure,
    )
    (before_s, _), (after_s, memory) = read
    print(json.dumps({**found, "server_cpu_s": after_s - before_s, "server_memory_bytes": memory}), flush=True)


if __name__ == "__main__":
    main()
