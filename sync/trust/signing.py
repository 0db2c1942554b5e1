"""What the publisher signs: a consistent set of targets, snapshot and timestamp metadata, and the next such set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from sync import Corrupt
from sync.trust import ROOT_EXPIRY_DAYS, SNAPSHOT_EXPIRY_DAYS, TARGETS_EXPIRY_DAYS, TIMESTAMP_EXPIRY_DAYS
from sync.trust.keys import ROLES, Keys, Role

TIMESTAMP_NAME = "timestamp.json"
_HASHES = ["sha256"]
_T = TypeVar("_T", Root, Snapshot, Targets, Timestamp)

Taken = Callable[[str], bool]
"""Tells whether a metadata file of that name exists. Leftovers of a crash keep their name for ever: what was once
readable under a name is never replaced by something else."""


def sign_root(keys: Keys, now: datetime) -> bytes:
    """Return version 1 of the root metadata: four roles, one key each, consistent snapshots."""
    root = Root(version=1, expires=_after(now, ROOT_EXPIRY_DAYS), consistent_snapshot=True)
    for role in ROLES:
        root.add_key(keys.signer(role).public_key, role)
    return _sign(root, keys, "root")


@dataclass(frozen=True)
class Ledger:
    """One consistent set of metadata with the very bytes that are published."""

    targets: Targets
    targets_raw: bytes
    snapshot: Snapshot
    snapshot_raw: bytes
    timestamp: Timestamp
    timestamp_raw: bytes

    @classmethod
    def first(cls, keys: Keys, now: datetime) -> Ledger:
        """Sign version 1 of everything, naming no target."""
        targets = Targets(version=1, expires=_after(now, TARGETS_EXPIRY_DAYS), targets={})
        raw = _sign(targets, keys, "targets")
        return cls._above(targets, raw, keys, now, snapshot_version=1, timestamp_version=1)

    @classmethod
    def read(cls, root_raw: bytes, read: Callable[[str], bytes]) -> Ledger:
        """Read what is published, from its timestamp downwards, checking signatures, lengths and hashes.

        Expiry does not matter here: a publisher that was off for a month must be able to go on.

        Raises:
            Corrupt: it does not hold together.
        """
        try:
            root = Metadata[Root].from_bytes(root_raw).signed
            timestamp_raw = read(TIMESTAMP_NAME)
            timestamp = _open(root, "timestamp", Timestamp, timestamp_raw)
            snapshot_raw = read(f"{timestamp.snapshot_meta.version}.snapshot.json")
            timestamp.snapshot_meta.verify_length_and_hashes(snapshot_raw)
            snapshot = _open(root, "snapshot", Snapshot, snapshot_raw)
            meta = snapshot.meta["targets.json"]
            targets_raw = read(f"{meta.version}.targets.json")
            meta.verify_length_and_hashes(targets_raw)
            targets = _open(root, "targets", Targets, targets_raw)
        except (RepositoryError, KeyError, OSError) as error:
            raise Corrupt(f"the published metadata is damaged or was not signed with these keys: {error}") from error
        return cls(targets, targets_raw, snapshot, snapshot_raw, timestamp, timestamp_raw)

    def naming(self, path: str, data: bytes, keys: Keys, now: datetime, taken: Taken) -> Ledger:
        """Sign the next set, in which the target of that path has that content."""
        version = _next(self.targets.version, "targets", taken)
        named = {**self.targets.targets, path: TargetFile.from_data(path, data, _HASHES)}
        targets = Targets(version=version, expires=_after(now, TARGETS_EXPIRY_DAYS), targets=named)
        raw = _sign(targets, keys, "targets")
        return self._raised(targets, raw, keys, now, taken)

    def refreshed(self, keys: Keys, now: datetime, taken: Taken) -> Ledger:
        """Sign a new timestamp; also snapshot or targets metadata that would expire before that timestamp does."""
        horizon = _after(now, TIMESTAMP_EXPIRY_DAYS)
        if self.targets.expires < horizon:
            version = _next(self.targets.version, "targets", taken)
            expires = _after(now, TARGETS_EXPIRY_DAYS)
            targets = Targets(version=version, expires=expires, targets=dict(self.targets.targets))
            return self._raised(targets, _sign(targets, keys, "targets"), keys, now, taken)
        if self.snapshot.expires < horizon:
            return self._raised(self.targets, self.targets_raw, keys, now, taken)
        timestamp, raw = _timestamp(self.timestamp.version + 1, self.snapshot, self.snapshot_raw, keys, now)
        return Ledger(self.targets, self.targets_raw, self.snapshot, self.snapshot_raw, timestamp, raw)

    def files(self) -> tuple[tuple[str, bytes], ...]:
        """Return (name, content) in the order in which they must be written."""
        return (
            (f"{self.targets.version}.targets.json", self.targets_raw),
            (f"{self.snapshot.version}.snapshot.json", self.snapshot_raw),
            (TIMESTAMP_NAME, self.timestamp_raw),
        )

    def _raised(self, targets: Targets, raw: bytes, keys: Keys, now: datetime, taken: Taken) -> Ledger:
        version = _next(self.snapshot.version, "snapshot", taken)
        return self._above(
            targets, raw, keys, now, snapshot_version=version, timestamp_version=self.timestamp.version + 1
        )

    @classmethod
    def _above(
        cls, targets: Targets, raw: bytes, keys: Keys, now: datetime, *, snapshot_version: int, timestamp_version: int
    ) -> Ledger:
        meta = {"targets.json": MetaFile.from_data(targets.version, raw, _HASHES)}
        snapshot = Snapshot(version=snapshot_version, expires=_after(now, SNAPSHOT_EXPIRY_DAYS), meta=meta)
        snapshot_raw = _sign(snapshot, keys, "snapshot")
        timestamp, timestamp_raw = _timestamp(timestamp_version, snapshot, snapshot_raw, keys, now)
        return cls(targets, raw, snapshot, snapshot_raw, timestamp, timestamp_raw)


def _timestamp(
    version: int, snapshot: Snapshot, snapshot_raw: bytes, keys: Keys, now: datetime
) -> tuple[Timestamp, bytes]:
    meta = MetaFile.from_data(snapshot.version, snapshot_raw, _HASHES)
    timestamp = Timestamp(version=version, expires=_after(now, TIMESTAMP_EXPIRY_DAYS), snapshot_meta=meta)
    return timestamp, _sign(timestamp, keys, "timestamp")


def _open(root: Root, role: Role, kind: type[_T], raw: bytes) -> _T:
    metadata = Metadata[_T].from_bytes(raw)
    root.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    if not isinstance(metadata.signed, kind):
        raise RepositoryError(f"{role} metadata is of type {metadata.signed.type}")
    return metadata.signed


def _sign(signed: _T, keys: Keys, role: Role) -> bytes:
    metadata = Metadata[_T](signed)
    metadata.sign(keys.signer(role))
    return metadata.to_bytes(JSONSerializer(compact=True))


def _next(version: int, role: Role, taken: Taken) -> int:
    version += 1
    while taken(f"{version}.{role}.json"):
        version += 1
    return version


def _after(now: datetime, days: int) -> datetime:
    return now.astimezone(UTC) + timedelta(days=days)
