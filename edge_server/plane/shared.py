"""Memory that processes share: counts, and whatever else its maker wants to have in it."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

ALIGNMENT_BYTES = 64


class Shared:
    """Pieces of memory without a name, zeroed, given to other processes by descriptor."""

    def __init__(self, sizes_bytes: Sequence[int], descriptor: int = -1) -> None:
        """Make it, or map what ``descriptor`` was given for; all sides name the same sizes.

        Raises:
            OSError: there is no memory, or the descriptor is not of it.
        """
        places = [0]
        for size in sizes_bytes:
            places.append(-(-(places[-1] + size) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES)
        if descriptor < 0:
            descriptor = os.memfd_create("edge-server", os.MFD_CLOEXEC)
            os.truncate(descriptor, max(places[-1], ALIGNMENT_BYTES))
        self.descriptor = descriptor
        whole = memoryview(mmap.mmap(descriptor, max(places[-1], ALIGNMENT_BYTES)))
        self.pieces = tuple(whole[at : at + size] for at, size in zip(places, sizes_bytes, strict=False))

    def close(self) -> None:
        """Give the descriptor back; the memory lives as long as somebody looks at it."""
        os.close(self.descriptor)
