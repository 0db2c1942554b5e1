"""What may be done to a store while its lock is held: activate, withdraw, drop a channel, collect."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edge_server.store import Damage, Pointer, Store, Turn
from sync import Corrupt, Missing
from sync.ids import is_sha256
from sync.listing import Listing, encode_listing
from sync.store.files import TEMPORARY_SUFFIX, write_file

_DERIVED_DEPTH_MAX = 4
_TUF_TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")
"""Names that Python's ``tempfile`` gives; every other file in ``trust`` has an ending."""


@contextmanager
def changing(store: Store) -> Iterator[Changes]:
    """Take the store's lock for the time of the block.

    Raises:
        Busy: somebody else holds it.
    """
    with store.lock():
        yield Changes(store)


class Changes:
    """Made by ``changing`` only."""

    def __init__(self, store: Store) -> None:
        """Use ``changing``."""
        self._store = store

    def activate(self, listing: Listing, absent: Collection[str] = ()) -> None:
        """Offer this release of its channel: durable, and seen by every process, when this returns.

        ``absent`` are names that the release lists but that are not to be offered.

        Raises:
            Missing: an object is not here, or has another length; nothing was changed.
            NoSpace: the disk is full; nothing was changed.
        """
        store, left_out = self._store, frozenset(absent)
        for each in store.resolve(listing, left_out).files.values():
            try:
                length = each.file.stat().st_size
            except FileNotFoundError as error:
                raise Missing(f"object {each.sha256} of {each.path!r} is not in the store") from error
            if length != each.length_bytes:
                raise Missing(f"object {each.sha256} of {each.path!r} has {length} bytes, not {each.length_bytes}")
        pointer = self._pointer()
        write_file(store.listing_file(listing.channel, listing.seq), encode_listing(listing))
        before = pointer.channels.get(listing.channel)
        previous = (before.previous if before.seq == listing.seq else before.seq) if before else None
        self._turn(pointer, listing.channel, Turn(seq=listing.seq, previous=previous, absent=tuple(sorted(left_out))))

    def withdraw(self, channel: str, names: Collection[str]) -> None:
        """Stop offering these names of the channel's active release; objects stay until nothing keeps them.

        Called as soon as a signed release says so, before its new files are here. Unknown names change nothing.
        """
        pointer = self._store.pointer()
        turn = pointer.channels.get(channel)
        if turn is None:
            return
        listed = self._store.read_listing(channel, turn.seq).files
        absent = tuple(sorted({*turn.absent, *(name for name in names if name in listed)}))
        if absent != turn.absent:
            self._turn(pointer, channel, msgspec.structs.replace(turn, absent=absent))

    def drop(self, channels: Collection[str]) -> None:
        """Stop offering whole channels."""
        pointer = self._store.pointer()
        kept = {channel: turn for channel, turn in pointer.channels.items() if channel not in channels}
        if len(kept) != len(pointer.channels):
            self._point(Pointer(seq=pointer.seq + 1, channels=kept))

    def discard(self, damages: Iterable[Damage]) -> None:
        """Take damaged objects out of use, so that the next pull mends them; until then their names answer nothing.

        What is still good in them stays as a seed: only their bad units are fetched again.
        """
        holding = self._store.holding
        for damage in damages:
            recipe = holding.recipe_of(damage.sha256) if damage.reason != "missing" else None
            if recipe is None or recipe.sha256 != damage.sha256:
                holding.remove(damage.sha256)
            else:
                holding.reopen_damaged(recipe).close()

    def repair(self) -> None:
        """Let go of what cannot be read any more in the pointer, so that the next pull makes it active anew.

        No object is removed: what a damaged pointer or listing named is still here and not fetched again.
        """
        store = self._store
        try:
            pointer = store.pointer()
        except Corrupt:
            self._point(Pointer())
            return
        kept = {channel: turn for channel, turn in pointer.channels.items() if self._is_readable(channel, turn.seq)}
        if kept != pointer.channels:
            self._point(Pointer(seq=pointer.seq + 1, channels=kept))

    def collect(self, coming: Iterable[Listing] = (), *, spare_unfinished: bool = False) -> int:
        """Remove what no active, previous or coming release needs; return how many bytes of objects went.

        Goes for objects, folders of the packager that are named after an object, unfinished objects, listings and
        the litter of crashes. Without any release, active or ``coming``, nothing happens. Whoever does not know all
        releases that are on their way in spares what is unfinished: it may have taken days to come.

        Raises:
            Corrupt: the pointer or a listing is damaged; nothing was removed.
        """
        store = self._store
        pointer, wanted = store.pointer(), list(coming)
        if not pointer.channels and not wanted:
            return 0
        kept_files, keep = set(), set()
        for channel, turn in pointer.channels.items():
            for seq in (turn.seq, turn.previous):
                if seq is None:
                    continue
                kept_files.add(store.listing_file(channel, seq))
                absent = turn.absent if seq == turn.seq else ()
                files = store.read_listing(channel, seq).files
                keep |= {each.sha256 for name, each in files.items() if name not in absent}
        new = {each.sha256 for listing in wanted for each in listing.files.values()}
        keep |= new
        freed = 0
        for sha256 in list(store.holding.ids()):
            if sha256 not in keep:
                freed += store.holding.path(sha256).stat().st_size
                store.holding.remove(sha256)
        if not spare_unfinished:
            store.holding.prune_staged(new.__contains__)
            if not wanted:
                store.holding.prune_meta()
        store.holding.prune_recipes()
        for file in store.listing_files():
            if file not in kept_files:
                file.unlink(missing_ok=True)
        for litter in [*store.root.glob(f".*{TEMPORARY_SUFFIX}"), *_litter_of_trust(store.root / "trust")]:
            litter.unlink(missing_ok=True)
        for folder in _folders(store.derived_root, _DERIVED_DEPTH_MAX):
            if is_sha256(folder.name) and folder.name not in keep:
                shutil.rmtree(folder, ignore_errors=True)
        return freed

    def _is_readable(self, channel: str, seq: int) -> bool:
        try:
            self._store.read_listing(channel, seq)
        except Corrupt:
            return False
        return True

    def _pointer(self) -> Pointer:
        """Read the pointer; a damaged one counts as empty here, because activating repairs it."""
        try:
            return self._store.pointer()
        except Corrupt:
            return Pointer()

    def _turn(self, pointer: Pointer, channel: str, turn: Turn) -> None:
        self._point(Pointer(seq=pointer.seq + 1, channels={**pointer.channels, channel: turn}))

    def _point(self, pointer: Pointer) -> None:
        write_file(self._store.pointer_file, msgspec.json.encode(pointer))


def _litter_of_trust(root: Path) -> Iterator[Path]:
    """Yield what a crash left between writing a file and renaming it: our own files and python-tuf's."""
    for file in root.rglob("*"):
        is_ours = file.name.startswith(".") and file.name.endswith(TEMPORARY_SUFFIX)
        if is_ours or _TUF_TEMPORARY.fullmatch(file.name):
            yield file


def _folders(root: Path, depth: int) -> Iterator[Path]:
    for entry in sorted(root.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            yield entry
            if depth > 1 and not is_sha256(entry.name):
                yield from _folders(entry, depth - 1)
