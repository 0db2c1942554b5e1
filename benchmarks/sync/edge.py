"""Our edge, as a process. Each command ends with one line of JSON:

python -m benchmarks.sync.edge pull EDGE CENTRAL URL     up to the newest release; goes on after cuts by itself
python -m benchmarks.sync.edge export EDGE TREE          that release under its names, as links
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from runtime.clock import SystemClock
from runtime.memory import give_back_large_buffers
from sync.holding import Holding
from sync.pull import Puller
from sync.pull.memory import kept_listing
from sync.road.http import HttpSource
from sync.road.mirrors import Mirrors

CHANNEL = "lessons"


def peak_bytes() -> int:
    """Largest resident memory of this process since it was started as what it is, unlike that of getrusage."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def pull(edge: Path, central: Path, url: str) -> dict[str, float]:
    """Bring the edge up to date, as ``edge-server sync`` does it: default pauses, everything checked and durable."""
    clock = SystemClock()
    holding = Holding(edge / "store")
    puller = Puller(
        trust_dir=edge / "trust",
        source=Mirrors([HttpSource(url)], clock),
        holding=holding,
        anchor=(central / "published/metadata/1.root.json").read_bytes(),
        clock=clock,
    )
    pulled = asyncio.run(puller.pull(CHANNEL, now=clock.utc()))
    wanted = {file.sha256 for file in pulled.listing.files.values()}
    holding.prune_staged(wanted.__contains__)
    holding.prune_meta()
    holding.prune_recipes()
    holding.close()
    return {"seq": float(pulled.listing.seq), "bodies": float(pulled.bytes_moved), "requests": float(pulled.requests)}


def export(edge: Path, target: Path) -> dict[str, float]:
    """Put links to the edge's objects under their names."""
    listing, holding = kept_listing(edge / "trust", CHANNEL), Holding(edge / "store")
    assert listing is not None
    for name, file in listing.files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(holding.path(file.sha256))
    holding.close()
    return {"files": float(len(listing.files))}


def main() -> None:
    """Command line."""
    give_back_large_buffers()  # as edge-server does
    command, words = sys.argv[1], sys.argv[2:]
    said = (
        pull(Path(words[0]), Path(words[1]), words[2]) if command == "pull" else export(Path(words[0]), Path(words[1]))
    )
    print(json.dumps({**said, "rss_bytes": float(peak_bytes())}))


if __name__ == "__main__":
    main()
