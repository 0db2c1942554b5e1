"""What the publisher signs: a consistent set of metadata, and the next such set.

The snapshot metadata lists the other files by version, without hashes, and so does the timestamp with the snapshot:
that is all that TUF asks for against mix-and-match (each file is signed, and nothing is signed twice under one
version, for names are never used again), and a hash would cost a hundred bytes in every poll.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Delegations, Root, Snapshot, TargetFile, Targets, Timestamp

from sync import Corrupt
from sync.trust import (
    ANCHOR_NAME,
    BIN_EXPIRY_DAYS,
    BUNDLE_EXPIRY_DAYS,
    KEYS_PER_OFFLINE_ROLE,
    OFFLINE_THRESHOLD,
    ROOT_EXPIRY_DAYS,
    SNAPSHOT_EXPIRY_DAYS,
    TARGETS_EXPIRY_DAYS,
    TIMESTAMP_EXPIRY_DAYS,
)
from sync.trust.clock import check_publisher_clock
from sync.trust.documents import (
    BIN_MEMBER,
    TIMESTAMP_NAME,
    Read,
    Taken,
    after,
    bin_of,
    bins_in,
    bins_of,
    holds,
    meta_of,
    name_in,
    next_version,
    read_document,
    read_roots,
    sign,
    timestamp_of,
)
from sync.trust.keys import OFFLINE_ROLES, Keys, KeyUnavailable, name_of

__all__ = ["TIMESTAMP_NAME", "Ledger", "Taken"]

RENEWED_AHEAD_DAYS = BUNDLE_EXPIRY_DAYS + TIMESTAMP_EXPIRY_DAYS
"""What would not outlive a bundle that is made just before the next refresh is renewed."""
_HASHES = ["sha256"]
Names = Mapping[str, Mapping[str, TargetFile]]
"""What bins name, by role (``ch-0`` … ``ch-f``) and path."""


@dataclass(frozen=True)
class Ledger:
    """One consistent set of metadata with the very bytes that are published."""

    root: Root
    targets: Targets
    bins: Mapping[str, Targets]
    """By role; a bin exists from the first name that falls into it, and never goes again."""
    snapshot: Snapshot
    timestamp: Timestamp
    raw: Mapping[str, bytes]
    """By file name."""

    @classmethod
    def first(cls, keys: Keys, now: datetime) -> Ledger:
        """Sign version 1 of everything, naming no target.

        Raises:
            KeyUnavailable: the offline keys are needed here.
        """
        root = Root(version=1, expires=after(now, ROOT_EXPIRY_DAYS), consistent_snapshot=True)
        for role in OFFLINE_ROLES:
            for number in range(1, KEYS_PER_OFFLINE_ROLE + 1):
                root.add_key(keys.signer(f"{role}-{number}").public_key, role)
            root.roles[role].threshold = OFFLINE_THRESHOLD
        for online in (Snapshot.type, Timestamp.type):
            root.add_key(keys.signer(online).public_key, online)
        targets = Targets(version=1, expires=after(now, TARGETS_EXPIRY_DAYS), targets={})
        targets.delegations = bins_of(keys.signer("channels"))
        snapshot = Snapshot(version=1, expires=after(now, SNAPSHOT_EXPIRY_DAYS), meta=meta_of(targets, {}))
        timestamp = timestamp_of(1, 1, after(now, TIMESTAMP_EXPIRY_DAYS), "network")
        raw = {
            ANCHOR_NAME: sign(root, keys.of(root, Root.type)),
            name_in(targets): sign(targets, keys.of(root, Targets.type)),
            name_in(snapshot): sign(snapshot, keys.of(root, Snapshot.type)),
            TIMESTAMP_NAME: sign(timestamp, keys.of(root, Timestamp.type)),
        }
        return cls(root, targets, {}, snapshot, timestamp, raw)

    @classmethod
    def read(cls, read: Read) -> Ledger:
        """Read what is published, checking signatures and versions.

        Expiry does not matter here: a publisher that was off for a month must be able to go on. Nor does it matter
        that something is still signed with a key that a newer root replaced, as after a crash between the two:
        ``refreshed`` signs it anew.

        Args:
            read: Returns the content of ``metadata/<name>``, or raises FileNotFoundError.

        Raises:
            Corrupt: it does not hold together.
        """
        raw: dict[str, bytes] = {}

        def content(name: str) -> bytes:
            raw[name] = read(name)
            return raw[name]

        try:
            chain = read_roots(read)
            roots = [root for root, _ in reversed(chain)]
            raw[name_in(roots[0])] = chain[-1][1]
            timestamp = read_document(roots, Timestamp.type, Timestamp, content(TIMESTAMP_NAME), None)
            at = timestamp.snapshot_meta.version
            snapshot = read_document(roots, Snapshot.type, Snapshot, content(f"{at}.snapshot.json"), at)
            at = snapshot.meta["targets.json"].version
            targets = read_document(roots, Targets.type, Targets, content(f"{at}.targets.json"), at)
            _, roles = bins_in(targets)
            bins = {}
            for role in roles.get_roles():
                if meta := snapshot.meta.get(f"{role}.json"):
                    held = content(f"{meta.version}.{role}.json")
                    bins[role] = read_document([targets], role, Targets, held, meta.version)
                    if bins[role].unrecognized_fields.get(BIN_MEMBER) != role:
                        raise RepositoryError(f"what is published as bin {role} is another")
        except (RepositoryError, ValueError, KeyError, OSError) as error:
            raise Corrupt(f"the published metadata is damaged or was not signed with these keys: {error}") from error
        return cls(roots[0], targets, bins, snapshot, timestamp, raw)

    def target(self, path: str) -> TargetFile | None:
        """Return length and hash of what the path names, or None."""
        holder = self.bins.get(self._bin(path))
        return holder.targets.get(path) if holder else None

    def paths(self) -> tuple[str, ...]:
        """Return all paths that are named, sorted."""
        return tuple(sorted(path for each in self.bins.values() for path in each.targets))

    @property
    def signed_at(self) -> datetime:
        """When the newest timestamp was signed."""
        return self.timestamp.expires - timedelta(days=TIMESTAMP_EXPIRY_DAYS)

    @property
    def offline_due(self) -> datetime:
        """When the offline keys should be back for a renewal, so that bundles go on lasting their full time."""
        return min(self.root.expires, self.targets.expires) - timedelta(days=RENEWED_AHEAD_DAYS)

    @property
    def key_names(self) -> frozenset[str]:
        """Names of the keys that this set trusts."""
        delegated, _ = bins_in(self.targets)
        return frozenset(map(name_of, [*self.root.keys.values(), *delegated.keys.values()]))

    def naming(
        self, data_by_path: Mapping[str, bytes], keys: Keys, now: datetime, taken: Taken, *, sure: bool = False
    ) -> Ledger:
        """Sign the next set, in which these paths have that content.

        Raises:
            KeyUnavailable: an online key cannot be read; also when the targets metadata ran out or lost its key, and
                the offline keys are away.
            ClockDoubtful: see ``sync.trust.clock``; ``sure`` confirms a leap forward.
        """
        check_publisher_clock(now, self.signed_at, sure=sure)
        changed: dict[str, dict[str, TargetFile]] = {}
        for path, data in data_by_path.items():
            self._copied(changed, path)[path] = TargetFile.from_data(path, data, _HASHES)
        return self.reissued(keys, now, taken, changed)

    def without(self, paths: Iterable[str], keys: Keys, now: datetime, taken: Taken, *, sure: bool = False) -> Ledger:
        """Sign the next set, which does not name these paths. Raises as ``naming`` does."""
        check_publisher_clock(now, self.signed_at, sure=sure)
        changed: dict[str, dict[str, TargetFile]] = {}
        for path in paths:
            if self.target(path) is not None:
                self._copied(changed, path).pop(path, None)
        return self.reissued(keys, now, taken, changed)

    def refreshed(self, keys: Keys, now: datetime, taken: Taken, *, sure: bool = False) -> Ledger:
        """Sign a new timestamp; also whatever would run out too soon, or is signed with a key that was replaced.

        Targets metadata that runs out in some months is renewed when the offline keys happen to be there. Raises as
        ``naming`` does.
        """
        check_publisher_clock(now, self.signed_at, sure=sure)
        return self.reissued(keys, now, taken)

    def bundle_timestamp(self, keys: Keys, now: datetime, days: int = BUNDLE_EXPIRY_DAYS) -> bytes:
        """Sign the ``timestamp.json`` of a bundle: the same versions, good for longer and for that road only.

        Raises:
            KeyUnavailable: the timestamp key cannot be read.
        """
        timestamp = timestamp_of(self.timestamp.version, self.snapshot.version, after(now, days), "bundle")
        return sign(timestamp, keys.of(self.root, Timestamp.type))

    def files(self) -> tuple[tuple[str, bytes], ...]:
        """Return (name, content) of the whole set in the order in which it must be written."""
        bins = [name_in(each, role) for role, each in self.bins.items()]
        names = [name_in(self.root), name_in(self.targets), *bins, name_in(self.snapshot), TIMESTAMP_NAME]
        return tuple((name, self.raw[name]) for name in names)

    def reissued(
        self, keys: Keys, now: datetime, taken: Taken, names: Names | None = None, bins: Delegations | None = None
    ) -> Ledger:
        """Sign what changed, what runs out soon, what is signed with keys that are not in force, and all above.

        Args:
            keys: See ``naming``; the clock is not doubted here.
            now: See ``naming``.
            taken: See ``naming``.
            names: New content of some bins.
            bins: The delegation to the bins when it changes; needs the offline keys.
        """
        names, raw, horizon = names or {}, dict(self.raw), after(now, RENEWED_AHEAD_DAYS)
        targets = self._targets(keys, now, taken, bins)
        if targets is not self.targets:
            raw[name_in(targets)] = sign(targets, keys.of(self.root, Targets.type))
        kept: dict[str, Targets] = {}
        for role in sorted({*self.bins, *names}):
            old, named = self.bins.get(role), names.get(role)
            if old and named is None:
                if old.expires >= horizon and holds(targets, role, raw[name_in(old, role)]):
                    kept[role] = old
                    continue
                named = old.targets
            version = next_version(old.version if old else 0, role, taken)
            kept[role] = bin_of(role, version, after(now, BIN_EXPIRY_DAYS), named or {})
            raw[name_in(kept[role], role)] = sign(kept[role], keys.of(targets, role))
        snapshot, meta = self.snapshot, meta_of(targets, kept)
        fresh = snapshot.expires >= horizon and holds(self.root, Snapshot.type, raw[name_in(snapshot)])
        if not fresh or snapshot.meta != meta:
            version = next_version(snapshot.version, Snapshot.type, taken)
            snapshot = Snapshot(version=version, expires=after(now, SNAPSHOT_EXPIRY_DAYS), meta=meta)
            raw[name_in(snapshot)] = sign(snapshot, keys.of(self.root, Snapshot.type))
        expires = after(now, TIMESTAMP_EXPIRY_DAYS)
        timestamp = timestamp_of(self.timestamp.version + 1, snapshot.version, expires, "network")
        raw[TIMESTAMP_NAME] = sign(timestamp, keys.of(self.root, Timestamp.type))
        return replace(self, targets=targets, bins=kept, snapshot=snapshot, timestamp=timestamp, raw=raw)

    def _targets(self, keys: Keys, now: datetime, taken: Taken, bins: Delegations | None) -> Targets:
        """Return the targets metadata, or a new version of it when that is needed, or possible and nearly needed."""
        held = holds(self.root, Targets.type, self.raw[name_in(self.targets)])
        needed = bins is not None or self.targets.expires <= now or not held
        nearly = self.targets.expires < after(now, RENEWED_AHEAD_DAYS)
        if not needed and not (nearly and _can_sign(keys, self.root, Targets.type)):
            return self.targets
        version = next_version(self.targets.version, Targets.type, taken)
        renewed = Targets(version=version, expires=after(now, TARGETS_EXPIRY_DAYS), targets={})
        renewed.delegations = bins or self.targets.delegations
        return renewed

    def _bin(self, path: str) -> str:
        _, roles = bins_in(self.targets)
        return roles.get_role_for_target(path)

    def _copied(self, changed: dict[str, dict[str, TargetFile]], path: str) -> dict[str, TargetFile]:
        role = self._bin(path)
        if role not in changed:
            changed[role] = dict(self.bins[role].targets) if role in self.bins else {}
        return changed[role]


def _can_sign(keys: Keys, root: Root, role: str) -> bool:
    try:
        keys.of(root, role)
    except KeyUnavailable:
        return False
    return True
