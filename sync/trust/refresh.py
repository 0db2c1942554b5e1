"""What an edge believes: the standard TUF client work-flow, fed from our sources.

python-tuf's Updater is blocking and does its own downloads one after the other; it runs in a thread, and each
download is handed back to the event loop (``sync/trust/bridge.py``), so that there is one client with one set of
limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import get_args

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.ngclient import FetcherInterface, TargetFile, Updater, UpdaterConfig

from sync import Missing, Unreachable, Untrusted
from sync.store.files import make_directory, space_errors, sync_directory, sync_file, write_file
from sync.trust import (
    ROOT_MAX_BYTES,
    ROOT_ROTATIONS_MAX,
    SNAPSHOT_METADATA_MAX_BYTES,
    TARGETS_MAX_BYTES,
    TIMESTAMP_MAX_BYTES,
    Road,
)
from sync.trust.bridge import METADATA_BASE, PATIENCE_S, Bridge, Fetcher, Received
from sync.trust.clock import judged_now
from sync.trust.memory import era_of, floor_of

_ROOTS = "root_history"
"""Where python-tuf keeps the chain of roots."""


@dataclass(frozen=True)
class Trusted:
    """What the signed metadata says of one path."""

    target: TargetFile | None
    """None: it names no such target."""
    era: str
    """For ``ChannelMemory.keep_head``."""
    judged_at: datetime
    """Expiry was judged at this moment."""


async def trusted_target(
    path: str,
    *,
    anchor: bytes,
    folder: Path,
    source: Fetcher,
    now: datetime,
    received: Received,
    road: Road = "network",
) -> Trusted:
    """Refresh the metadata and return what it says of one path. See ``trusted_targets``."""
    found = await trusted_targets(
        [path], anchor=anchor, folder=folder, source=source, now=now, received=received, road=road
    )
    return found[path]


async def trusted_targets(
    paths: Collection[str],
    *,
    anchor: bytes,
    folder: Path,
    source: Fetcher,
    now: datetime,
    received: Received,
    road: Road = "network",
    delegations_max: int = 1,
    patience_s: float = PATIENCE_S,
) -> Mapping[str, Trusted]:
    """Refresh the metadata in ``folder/<road>`` once, and return what it says of each path.

    Two requests when nothing is new, made at once: the next root (absent) and ``timestamp.json``. What was believed
    stays believed: a refusal changes at most which newer version must be shown next time. A newer root that came by
    one road counts on the other as well.

    Args:
        paths: May be empty: then only the metadata of the four top roles is refreshed.
        anchor: Version 1 of the root, from ``ChannelMemory.anchor``.
        folder: The trust folder, which also holds what was learned of channels.
        source: Where ``metadata/`` is.
        now: What the clock says; see ``sync.trust.clock`` for what is made of it.
        received: Counts body bytes.
        road: How the source comes here.
        delegations_max: Delegated roles that may be looked at for a path; our own publisher needs one.
        patience_s: How long each file may take, beside a second for each SLOWEST_BYTES_PER_S.

    Raises:
        Untrusted: the metadata is forged, damaged, older than what was seen, expired, too long, or for another road.
        Unreachable: the source did not answer, or so slowly that it seems to be held back on purpose.
        NoSpace: the disk is full.
    """
    await asyncio.to_thread(_prepare, folder, road)
    bridge = Bridge(source, asyncio.get_running_loop(), received, road, patience_s)
    try:
        return await asyncio.to_thread(_refresh, paths, anchor, folder, road, bridge, now, delegations_max)
    finally:
        await bridge.close()


def _prepare(folder: Path, road: Road) -> None:
    """Make the folders, and let each road know the roots that came by the other: the Updater checks them."""
    here = folder / road / _ROOTS
    make_directory(here)
    for other in get_args(Road):
        for file in (folder / other / _ROOTS).glob("*.root.json"):
            if not (here / file.name).exists():
                write_file(here / file.name, file.read_bytes())


def _refresh(
    paths: Collection[str],
    anchor: bytes,
    folder: Path,
    road: Road,
    bridge: Bridge,
    now: datetime,
    delegations_max: int,
) -> Mapping[str, Trusted]:
    here = folder / road
    updater: _UpdaterAt | None = None
    try:
        with space_errors(here, TARGETS_MAX_BYTES):
            updater = _UpdaterAt(now, folder, here, bridge, anchor, delegations_max)
            updater.refresh()
            found = {path: updater.look_up(path) for path in paths}
    except ExpiredMetadataError as error:
        at = updater.judged_at if updater else now
        raise Untrusted(
            "freeze", f"{error} at {at:%Y-%m-%d %H:%M} UTC; is the publisher refreshing, and is this clock right?"
        ) from error
    except BadVersionNumberError as error:
        raise Untrusted("rollback", str(error)) from error
    except RepositoryError as error:
        raise Untrusted("tampered", str(error)) from error
    except DownloadLengthMismatchError as error:
        raise Untrusted("oversized", str(error)) from error
    except DownloadHTTPError as error:
        raise Missing(str(error)) from error
    except DownloadError as error:
        raise Unreachable(str(error)) from error
    for each in (here, here / _ROOTS):
        for file in each.glob("*.json"):
            sync_file(file)
        sync_directory(each)
    return {path: Trusted(target, updater.era, updater.judged_at) for path, target in found.items()}


class _UpdaterAt(Updater):
    """An Updater that judges expiry at a given moment.

    python-tuf reads the wall clock once, when the trusted set is made, and offers no argument for it. The set's
    ``reference_time`` is replaced when the chain of roots is known (so is the era then, and with it the floor of the
    clock), which is before the first expiry check: that belongs to the timestamp, not to the anchor.
    ``tests/unit/test_sync_trust.py`` notices when a new release of python-tuf no longer works like that.
    """

    def __init__(
        self,
        now: datetime,
        folder: Path,
        here: Path,
        fetcher: FetcherInterface,
        anchor: bytes,
        delegations_max: int,
    ) -> None:
        config = UpdaterConfig(
            max_root_rotations=ROOT_ROTATIONS_MAX,
            max_delegations=delegations_max,
            root_max_length=ROOT_MAX_BYTES,
            timestamp_max_length=TIMESTAMP_MAX_BYTES,
            snapshot_max_length=SNAPSHOT_METADATA_MAX_BYTES,
            targets_max_length=TARGETS_MAX_BYTES,
        )
        super().__init__(str(here), METADATA_BASE, fetcher=fetcher, config=config, bootstrap=anchor)
        self._folder = folder
        self.judged_at = now
        self.era = ""

    def _load_root(self) -> None:
        super()._load_root()
        self.era = era_of(self._trusted_set.root)
        self.judged_at = judged_now(self.judged_at, floor_of(self._folder, self.era))
        self._trusted_set.reference_time = self.judged_at

    def look_up(self, path: str) -> TargetFile | None:
        """Return the target, or None; a hash bin that is not there yet holds nothing."""
        delegations = self._trusted_set.targets.delegations
        bins = delegations.succinct_roles if delegations else None
        if bins and f"{bins.get_role_for_target(path)}.json" not in self._trusted_set.snapshot.meta:
            return None
        return self.get_targetinfo(path)
