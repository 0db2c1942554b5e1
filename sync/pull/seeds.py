"""Units that need not be fetched: of held objects, and of objects that are on their way in themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sync.holding import Holding, Part
from sync.holding.spans import UnitReader
from sync.recipe import HASH_BYTES


class Seeds:
    """Looks into what is held first, then into open parts."""

    def __init__(self, holding: Holding) -> None:
        """Begin without open parts."""
        self._holding = holding
        self._open: dict[str, tuple[Part, NDArray[np.uint64], NDArray[np.intp]]] = {}

    def add(self, part: Part) -> None:
        """Let others copy from a part what is in it at that time."""
        keys = _keys(part.recipe.unit_hashes)
        order = np.argsort(keys, kind="stable")
        self._open[part.sha256] = (part, keys[order], order)

    def remove(self, part: Part) -> None:
        """Forget a part: it was closed, or is an object now."""
        self._open.pop(part.sha256, None)

    def find(self, hashes: Sequence[bytes]) -> list[list[tuple[str, int]]]:
        """See sync.holding.part.Seeds."""
        found = self._holding.find(hashes)
        wanted = _keys(b"".join(hashes))
        for sha256, (part, keys, order) in list(self._open.items()):
            if not len(keys):
                continue
            at = np.searchsorted(keys, wanted)
            fits = keys[np.minimum(at, len(keys) - 1)] == wanted
            for index in np.flatnonzero(fits).tolist():
                place = int(at[index])
                while place < len(keys) and keys[place] == wanted[index]:  # the same unit several times in one object
                    ordinal = int(order[place])
                    if part.holds(ordinal):
                        found[index].append((sha256, ordinal))
                        break
                    place += 1
        return found

    def reader(self, sha256: str) -> UnitReader | None:
        """See sync.holding.part.Seeds."""
        entry = self._open.get(sha256)
        if entry is not None:
            try:
                return UnitReader(entry[0].path, entry[0].recipe)
            except OSError:
                pass  # it became an object a moment ago
        return self._holding.reader(sha256)

    def note_damage(self, sha256: str) -> None:
        """See sync.holding.part.Seeds."""
        if sha256 not in self._open:
            self._holding.note_damage(sha256)


def _keys(hashes: bytes) -> NDArray[np.uint64]:
    """Return the first 8 bytes of each hash as a number."""
    table = np.frombuffer(hashes, dtype=np.uint8).reshape(-1, HASH_BYTES)
    return np.ascontiguousarray(table[:, :8]).view(np.uint64).reshape(-1)
