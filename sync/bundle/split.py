"""How packs are spread over sticks. Decides only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sync.bundle.label import Listed


class TooSmall(ValueError):
    """One stick cannot even hold the small files and one pack."""

    def __init__(self, needed_bytes: int, max_bytes: int, small_bytes: int, pack_bytes: int) -> None:
        """All numbers count bytes; ``needed_bytes`` is the least that would do."""
        super().__init__(
            f"each stick needs {small_bytes:,} bytes for lists and signatures and the longest pack has "
            f"{pack_bytes:,}, but only {max_bytes:,} are allowed; allow at least {needed_bytes:,}"
        )
        self.needed_bytes, self.max_bytes = needed_bytes, max_bytes


def by_urgency(packs: Mapping[str, tuple[int, int, int]]) -> list[str]:
    """Return the names of packs, the most urgent first.

    Args:
        packs: By name: the priority of the most urgent object that has a unit in it (``docs/formats/sync.md`` §2), and
            the numbers of that object's channel and of the object in its channel, which keep lessons together.
    """
    return sorted(packs, key=lambda name: (*packs[name], name))


def split(packs: Sequence[Listed], small_bytes: int, max_bytes: int | None) -> tuple[tuple[Listed, ...], ...]:
    """Put every pack on the first stick that has room for it; at least one stick, always in the same way.

    Args:
        packs: The most urgent first.
        small_bytes: What every stick carries besides.
        max_bytes: Of one stick; None for no limit.

    Raises:
        TooSmall: a pack fits on no stick.
    """
    if max_bytes is None:
        return (tuple(packs),)
    longest = max((pack.length_bytes for pack in packs), default=0)
    if small_bytes + longest > max_bytes:
        raise TooSmall(small_bytes + longest, max_bytes, small_bytes, longest)
    sticks: list[list[Listed]] = [[]]
    free_bytes = [max_bytes - small_bytes]
    for pack in packs:
        number = next((n for n, free in enumerate(free_bytes) if pack.length_bytes <= free), len(sticks))
        if number == len(sticks):
            sticks.append([])
            free_bytes.append(max_bytes - small_bytes)
        sticks[number].append(pack)
        free_bytes[number] -= pack.length_bytes
    return tuple(map(tuple, sticks))
