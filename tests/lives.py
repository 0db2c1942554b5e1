"""Lives of an edge that may be cut short, without its program: the coroutine ``edge_life`` of a test module."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from sync.holding import Holding
from sync.ids import sha256_hex
from sync.listing import Listing, decode_listing, encode_listing
from sync.store.files import write_file

ROOT = Path(__file__).resolve().parents[1]
_ZYGOTE = """
import asyncio, json, os, sys
from {module} import edge_life

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os._exit(asyncio.run(edge_life(**json.loads(line))))
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Lives:
    """Children of one process that has everything imported already."""

    def __init__(self, module: str) -> None:
        command = [sys.executable, "-c", _ZYGOTE.format(module=module)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def live(self, kill_after_s: float | None, **told: str) -> int | None:
        """Let an edge live so long; return how it ended, None when it was killed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(told).encode() + b"\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        ended, _, _ = select.select([self._process.stdout], [], [], kill_after_s)
        if not ended:
            os.kill(child, signal.SIGKILL)
        code = int(self._process.stdout.readline())
        return None if code == -signal.SIGKILL else code

    def end(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(timeout=10) == 0


def activate(edge: Path, holding: Holding, listing: Listing) -> None:
    """Make a release that is here the active one, and drop what it does not need."""
    write_file(edge / "current", encode_listing(listing))
    keep = {file.sha256 for file in listing.files.values()}
    for sha256 in list(holding.ids()):
        if sha256 not in keep:
            holding.remove(sha256)
    holding.prune_staged(lambda _: False)
    holding.prune_meta()
    holding.prune_recipes()
    holding.close()


def served(edge: Path) -> dict[str, bytes]:
    """What an edge that starts now would serve. Every object that is visible must be whole."""
    for path in (edge / "objects").rglob("*"):
        if path.is_file():
            assert sha256_hex(path.read_bytes()) == path.name
    listing = decode_listing((edge / "current").read_bytes())
    return {
        name: (edge / "objects" / file.sha256[:2] / file.sha256).read_bytes() for name, file in listing.files.items()
    }
