"""Where bytes come from and where they are kept: the ports. Implementations are the modules of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from sync.manifest import Manifest

Received = Callable[[int], None]
"""Called with the number of body bytes each time some arrive, wanted or not."""


class Source(Protocol):
    """The published files, wherever they lie. Nothing that comes from a source is believed before it is checked."""

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """Return the whole file of that name (relative, ``/``-separated, as in the format's URL table).

        Raises:
            Missing: the source has no such file.
            Unreachable: no answer, or the answer broke off.
            TooLong: the file is longer than ``limit_bytes``.
            Corrupt: it was encoded on the way.
        """

    async def close(self) -> None:
        """Let go of connections; may be called twice; a later fetch opens them again."""


class Incoming(Protocol):
    """An object on its way in. Only chunks that fit their hash are ever kept."""

    @property
    def held_chunks(self) -> int:
        """How many chunks from the start are there already (some survive an interrupted attempt)."""

    def append(self, data: bytes) -> None:
        """Keep the next chunk.

        Raises:
            Corrupt: it is not the chunk that the manifest names; nothing was kept.
            NoSpace: the disk is full; what was held before is still held.
        """

    def commit(self) -> None:
        """Make the object visible; durable when this returns.

        Raises:
            Corrupt: the whole is not the object that was announced; everything staged was dropped.
        """

    def close(self) -> None:
        """Stop here; without ``commit`` the chunks held so far stay for the next attempt. May be called twice."""


class ObjectStore(Protocol):
    """Whole objects under their SHA-256. An object that is visible was verified when it came in."""

    def has(self, sha256: str) -> bool:
        """Tell whether the object is there."""

    def open(self, sha256: str) -> BinaryIO:
        """Open the object for reading.

        Raises:
            Missing: no such object.
        """

    def begin(self, manifest: Manifest) -> Incoming:
        """Start or resume taking in an object; chunks kept earlier are hashed again before they count."""

    def ids(self) -> Iterator[str]:
        """Yield the id of every object."""

    def remove(self, sha256: str) -> None:
        """Drop the object if it is there."""

    def staged_bytes(self, sha256: str) -> int:
        """Return how many bytes of an unfinished object are on the disk already."""

    def prune_staged(self, keep: Callable[[str], bool]) -> None:
        """Drop unfinished objects, and litter of crashes, whose id ``keep`` refuses."""

    def free_bytes(self) -> int | None:
        """Return how much the store can still take; None when there is no limit to speak of."""
