"""What an edge holds: verified objects, the releases of each channel that name them, and the pointer to what is active.

Layout below the root: ``objects/ab/<sha256>`` (mode 0444), ``recipes/``, ``staging/`` and ``units.sqlite`` (see
``sync.holding``), ``snapshots/<channel>/<seq>.json`` (listings), ``current`` (which of them are active), ``derived/``
(what the packager makes) and ``lock``. The only thing that ever changes in place is ``current``, by rename.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import msgspec

from sync import Corrupt
from sync.holding import Holding
from sync.ids import check_channel
from sync.listing import Listing, decode_listing
from sync.store.files import locked, make_directory

POINTER_MAX_BYTES = 16 * 1024 * 1024
"""Some 200 bytes a channel, and one name for each file that is listed but not held."""


class StoredFile(msgspec.Struct, frozen=True, gc=False):
    """One file of the active snapshot. There are tens of thousands, so the garbage collector is spared them."""

    path: str
    """Its name in the snapshot."""
    sha256: str
    length_bytes: int
    place: str
    """Where its bytes lie; read-only."""

    @property
    def file(self) -> Path:
        """The place as a path."""
        return Path(self.place)


@dataclass(frozen=True)
class ActiveRelease:
    """The release of one channel that is offered."""

    channel: str
    seq: int
    issued: datetime
    files: Mapping[str, StoredFile]
    """What is offered, by name; every object is here."""
    absent: frozenset[str]
    """Names that the release lists but that are not offered: withdrawn since, or left out for want of room."""


@dataclass(frozen=True)
class ActiveSnapshot:
    """What the edge offers at one moment. Frozen: sessions may keep it while a newer one becomes active."""

    seq: int
    """Counts the switches of this edge; rises by one each time that anything changes for boxes."""
    releases: Mapping[str, ActiveRelease]
    """By channel, in the order of their names."""

    @cached_property
    def issued(self) -> datetime:
        """When the newest release was signed."""
        return max((each.issued for each in self.releases.values()), default=datetime(1970, 1, 1, tzinfo=UTC))

    @cached_property
    def files(self) -> Mapping[str, StoredFile]:
        """Files of all channels. Where two channels have the same name, the first channel's counts."""
        merged: dict[str, StoredFile] = {}
        for release in reversed(tuple(self.releases.values())):
            merged.update(release.files)
        return MappingProxyType(merged)


@dataclass(frozen=True)
class Damage:
    """An object that is not what it should be."""

    sha256: str
    reason: Literal["altered", "unreadable", "missing"]
    names: tuple[str, ...]
    """Under which names the active snapshot offers it; none when it does not."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What the pointer says of one channel."""

    seq: int
    previous: int | None = None
    absent: tuple[str, ...] = ()


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``current``."""

    format: int = 2
    seq: int = 0
    channels: dict[str, Turn] = {}


class Store:
    """The edge's disk. Reading needs no lock; changing takes it."""

    def __init__(self, root: Path) -> None:
        """Create the folders if need be."""
        self.root = root
        self.pointer_file = root / "current"
        self.derived_root = root / "derived"
        self.holding = Holding(root)
        self._snapshots = root / "snapshots"
        make_directory(self._snapshots)
        make_directory(self.derived_root)
        self._seen: tuple[int, int, int] | None = None
        self._active: ActiveSnapshot | None = None

    def active(self) -> ActiveSnapshot | None:
        """Return the active snapshot, None before the first; one ``stat`` unless another became active.

        Sees at once what another process activates.

        Raises:
            Corrupt: the pointer or a listing that it names is damaged.
        """
        mark = self._mark()
        if mark is None:
            return None
        if mark != self._seen:
            pointer = self.pointer()
            releases = {
                channel: self.resolve(self.read_listing(channel, turn.seq), frozenset(turn.absent))
                for channel, turn in sorted(pointer.channels.items())
            }
            self._active = ActiveSnapshot(pointer.seq, MappingProxyType(releases)) if releases else None
            self._seen = mark
        return self._active

    def is_read(self) -> bool:
        """Tell whether `active` would return what it returned last; one ``stat``."""
        return self._mark() == self._seen

    def listings_bytes(self) -> int:
        """Return how many bytes the listings have that `active` would read.

        Raises:
            Corrupt: the pointer is damaged.
        """
        total = 0
        for channel, turn in self.pointer().channels.items():
            with suppress(FileNotFoundError):  # `active` says so
                total += self.listing_file(channel, turn.seq).stat().st_size
        return total

    def _mark(self) -> tuple[int, int, int] | None:
        """Tell one pointer from the next; None before the first."""
        try:
            state = self.pointer_file.stat()
        except FileNotFoundError:
            return None
        return state.st_mtime_ns, state.st_ino, state.st_size

    def resolve(self, listing: Listing, absent: frozenset[str] = frozenset()) -> ActiveRelease:
        """Join a listing with the places of its objects, without making it active."""
        files = {
            name: StoredFile(name, each.sha256, each.length_bytes, self.holding.place(each.sha256))
            for name, each in listing.files.items()
            if name not in absent
        }
        return ActiveRelease(listing.channel, listing.seq, listing.issued, MappingProxyType(files), absent)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for changing it; not shared between processes, nor within one.

        Raises:
            Busy: somebody else holds it.
        """
        with locked(self.root / "lock", f"the store {self.root}"):
            yield

    def verify(self, on_object: Callable[[str], None] | None = None) -> tuple[Damage, ...]:
        """Hash every object again, and look for objects that the active snapshot offers but that are not there.

        Reads the whole disk; call it in a thread. ``on_object`` is called with each id before it is read.

        Raises:
            Corrupt: the pointer or an active listing itself is damaged.
        """
        active = self.active()
        names: dict[str, list[str]] = {}
        for release in active.releases.values() if active else ():
            for each in release.files.values():
                names.setdefault(each.sha256, []).append(each.path)
        found = [
            Damage(each.sha256, each.reason, tuple(names.get(each.sha256, ())))
            for each in self.holding.verify(on_object)
        ]
        gone = [sha256 for sha256 in names if not self.holding.has(sha256)]
        return tuple(found + [Damage(sha256, "missing", tuple(names[sha256])) for sha256 in gone])

    def pointer(self) -> Pointer:
        """Read ``current``; an empty one before the first activation.

        Raises:
            Corrupt: it is damaged.
        """
        try:
            with self.pointer_file.open("rb") as file:
                raw = file.read(POINTER_MAX_BYTES)
        except FileNotFoundError:
            return Pointer()
        try:
            pointer = msgspec.json.decode(raw, type=Pointer)
            if pointer.format != 2:
                raise Corrupt(f"{self.pointer_file} is of format {pointer.format}")
            for channel in pointer.channels:
                check_channel(channel)
        except (msgspec.MsgspecError, Corrupt, UnicodeDecodeError, RecursionError) as error:
            raise Corrupt(f"{self.pointer_file} is damaged ({error}); sync again to repair it") from error
        return pointer

    def listing_file(self, channel: str, seq: int) -> Path:
        """Return where the listing of that release lies or would lie."""
        return self._snapshots / check_channel(channel) / f"{seq}.json"

    def listing_files(self) -> Iterator[Path]:
        """Yield every listing file, and the litter beside them."""
        for folder in sorted(self._snapshots.iterdir()):
            if folder.is_dir():
                yield from sorted(folder.iterdir())

    def read_listing(self, channel: str, seq: int) -> Listing:
        """Read the listing of a release that was activated here.

        Raises:
            Corrupt: it is missing or damaged.
        """
        file = self.listing_file(channel, seq)
        try:
            listing = decode_listing(file.read_bytes())
        except FileNotFoundError as error:
            raise Corrupt(f"{file} is missing; sync again to repair it") from error
        if (listing.channel, listing.seq) != (channel, seq):
            raise Corrupt(f"{file} holds release {listing.seq} of {listing.channel}")
        return listing
