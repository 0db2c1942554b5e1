"""Command line around ``sync.trust``, so that the public suite ``tuf-conformance`` can drive it.

The protocol is that suite's CLIENT-CLI.md; how to run it: ``docs/verification.md``. What is under test is
``trusted_targets`` with its thread, bridge, limits, clock and files, not a copy of python-tuf's own example. Two things
are made to suit the suite: it counts requests in order, so they are made one after the other here; and a copy of what
is believed is put where the suite looks for it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import TargetFile

from runtime.clock import SystemClock
from sync import Missing, SyncError, TooLong, Unreachable
from sync.trust.bridge import METADATA_BASE, Received
from sync.trust.memory import keep_anchor
from sync.trust.refresh import trusted_targets

TIMEOUT_S = 30
DELEGATIONS_MAX = 32
"""Our own publisher needs one; the suite draws graphs of them."""


class PlainFetcher:
    """The standard library's HTTP client: unlike ours, it lets the odd names pass that the suite asks for."""

    def __init__(self, metadata_url: str) -> None:
        """Nothing is fetched yet."""
        self._url = metadata_url.rstrip("/") + "/"
        self._turn = asyncio.Lock()

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """Return the file; raises as ``sync.trust.bridge.Fetcher`` does."""
        async with self._turn:
            return await asyncio.to_thread(download, self._url + name.removeprefix(METADATA_BASE), limit_bytes)


def download(url: str, limit_bytes: int) -> bytes:
    """Return what is at the URL.

    Raises:
        Missing: status 403 or 404.
        TooLong: more than ``limit_bytes``.
        Unreachable: anything else.
    """
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            data = bytes(answer.read(limit_bytes + 1))
    except urllib.error.HTTPError as error:
        with error:
            raise (Missing if error.code in (403, 404) else Unreachable)(f"{url}: status {error.code}") from error
    except OSError as error:
        raise Unreachable(f"{url}: {error}") from error
    if len(data) > limit_bytes:
        raise TooLong(f"{url}: more than {limit_bytes} bytes")
    return data


async def refresh(options: argparse.Namespace, paths: Sequence[str]) -> None:
    """Refresh the metadata; for ``download`` also fetch the targets, in that order, the first failure ends it."""
    folder = options.metadata_dir / "trust"
    anchor = keep_anchor(folder, None)
    try:
        trusted = await trusted_targets(
            paths,
            anchor=anchor,
            folder=folder,
            source=PlainFetcher(options.metadata_url),
            now=SystemClock().utc(),
            received=lambda _: None,
            delegations_max=DELEGATIONS_MAX,
        )
    finally:
        for file in (folder / "network").glob("*.json"):
            shutil.copyfile(file, options.metadata_dir / file.name)
    for path in paths:
        target = trusted[path].target
        if target is None:
            raise Missing(f"the repository names no target {path}")
        kept = options.target_dir / hashlib.sha256(path.encode()).hexdigest()
        if kept.is_file() and _fits(target, kept.read_bytes()):
            continue
        folder_name, slash, name = path.rpartition("/")
        prefixed = f"{folder_name}{slash}{next(iter(target.hashes.values()))}.{name}"
        data = download(f"{options.target_base_url.rstrip('/')}/{prefixed}", target.length)
        target.verify_length_and_hashes(data)
        kept.write_bytes(data)


def _fits(target: TargetFile, data: bytes) -> bool:
    try:
        target.verify_length_and_hashes(data)
    except RepositoryError:
        return False
    return True


def main() -> int:
    """Do what the command line says; 1 when it failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url")
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-base-url")
    parser.add_argument("--target-dir", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("trusted_root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    options = parser.parse_args()
    try:
        if options.command == "init":
            keep_anchor(options.metadata_dir / "trust", options.trusted_root.read_bytes())
        else:
            asyncio.run(refresh(options, options.target_name if options.command == "download" else ()))
    except (SyncError, RepositoryError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
