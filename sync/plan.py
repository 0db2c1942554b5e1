"""What is missing: the difference between a snapshot and what a store holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sync.snapshot import NamedFile, Snapshot


@dataclass(frozen=True)
class Plan:
    """The objects to fetch, each once, in the order of their names."""

    wanted: tuple[NamedFile, ...]
    """One file for each missing object (other names of the same object are left out)."""

    @property
    def wanted_bytes(self) -> int:
        """Sum of the lengths of the missing objects."""
        return sum(file.length_bytes for file in self.wanted)


def plan(snapshot: Snapshot, holds: Callable[[str], bool]) -> Plan:
    """Compare the snapshot with a store; ``holds`` tells whether the object of an id is there."""
    seen: set[str] = set()
    wanted = []
    for file in snapshot.files.values():
        if file.sha256 not in seen:
            seen.add(file.sha256)
            if not holds(file.sha256):
                wanted.append(file)
    return Plan(tuple(wanted))
