"""Release objects: what changed in a channel between two releases, with the recipes of what is new.

``docs/formats/sync.md`` §6. A release object tells which names were *touched*, not which differ; therefore one from
base a applies to the listing of every seq from a to its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import msgspec

from sync import Corrupt, Untrusted
from sync.framing import FRAME_MAX_BYTES, read_frame, write_frame
from sync.ids import check_channel, check_sha256
from sync.listing import (
    FILES_MAX,
    SEQ_MAX,
    Listing,
    NamedFile,
    check_files,
    check_format,
    check_names,
    read_moment,
    write_moment,
)
from sync.places import Places, check_packs, check_places
from sync.recipe import RECIPE_MAX_BYTES

RELEASE_FORMAT = 2
RELEASE_MAX_BYTES = FRAME_MAX_BYTES
MAGIC = b"RML2"
_WHAT = "release object"


@dataclass(frozen=True)
class RecipeEntry:
    """The recipe of a new object, as it travels in a release."""

    sha256: str
    """Of the object."""
    recipe_sha256: str
    """Of the raw recipe."""
    raw_length: int
    """Of the raw recipe, in bytes."""
    stored: bytes
    """A zstd frame: of the raw recipe, or with the raw recipe ``base`` as prefix."""
    base: str
    """Hash of the raw base recipe; empty when there is none."""
    places: Places
    """Where units of the object lie; units that the listing at base had may be left out."""


@dataclass(frozen=True)
class Release:
    """What was touched after ``base``, as it stands at ``seq``."""

    channel: str
    base: int
    """0: nothing, so that this is the whole listing."""
    seq: int
    issued: datetime
    """UTC, whole seconds: when seq was released."""
    remove: tuple[str, ...]
    """Touched and not in the listing at seq; ordered by bytes."""
    add: tuple[NamedFile, ...]
    """Touched and in the listing at seq; ordered by the bytes of their names."""
    packs: tuple[str, ...]
    """Packs that places refer to."""
    recipes: tuple[RecipeEntry, ...]
    """Of objects in ``add`` that the listing at base did not have; some of them for base 0."""

    @property
    def touched(self) -> frozenset[str]:
        """Every name that this release speaks of."""
        return frozenset(self.remove).union(file.path for file in self.add)


class _WireRecipe(msgspec.Struct, frozen=True, array_like=True):
    sha256: str
    recipe_sha256: str
    raw_length: int
    stored_length: int
    base: str
    places: Places


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    channel: str
    base: int
    seq: int
    issued: str
    remove: list[str]
    add: list[NamedFile]
    packs: list[str]
    recipes: list[_WireRecipe]


def encode_release(release: Release) -> bytes:
    """Write a release object; the same bytes for the same value.

    Raises:
        Corrupt: a field out of bounds or order.
        TooLong: longer than a reader takes.
    """
    wire = _Wire(
        format=RELEASE_FORMAT,
        channel=release.channel,
        base=release.base,
        seq=release.seq,
        issued=write_moment(release.issued),
        remove=list(release.remove),
        add=list(release.add),
        packs=list(release.packs),
        recipes=[
            _WireRecipe(each.sha256, each.recipe_sha256, each.raw_length, len(each.stored), each.base, each.places)
            for each in release.recipes
        ],
    )
    _check(wire)
    return write_frame(MAGIC, wire, (each.stored for each in release.recipes), _WHAT)


def decode_release(raw: bytes) -> Release:
    """Read a release object.

    Raises:
        TooLong: it, its header or a recipe exceeds its bound.
        Corrupt: not of this format, a length that does not fit, or a field out of bounds or order.
    """
    wire, rest = read_frame(MAGIC, raw, _Wire, _WHAT)
    stored_length = _check(wire)
    if stored_length != len(rest):
        raise Corrupt(f"recipes of {stored_length} bytes announced, {len(rest)} are there")
    recipes, at = [], 0
    for each in wire.recipes:
        stored = bytes(rest[at : at + each.stored_length])
        at += each.stored_length
        recipes.append(RecipeEntry(each.sha256, each.recipe_sha256, each.raw_length, stored, each.base, each.places))
    return Release(
        wire.channel,
        wire.base,
        wire.seq,
        read_moment(wire.issued),
        tuple(wire.remove),
        tuple(wire.add),
        tuple(wire.packs),
        tuple(recipes),
    )


def apply_release(listing: Listing | None, release: Release) -> Listing:
    """Return the listing at the release's seq. Compare its hash with the head before you use it.

    Args:
        listing: What is held, of the release's base or any later seq up to the release's; None for nothing.
        release: One of base 0 says everything and replaces whatever is held.

    Raises:
        Untrusted: rollback, the release is older than the listing.
        Corrupt: of another channel, from a later base than what is held, or the result is not a valid listing.
    """
    if listing is not None and listing.channel != release.channel:
        raise Corrupt(f"a release of channel {release.channel} for a listing of {listing.channel}")
    if listing is not None and listing.seq > release.seq:
        raise Untrusted("rollback", f"release {release.seq} of {release.channel}, but {listing.seq} is held")
    if (listing.seq if listing else 0) < release.base:
        raise Corrupt(f"release {release.seq} of {release.channel} begins at {release.base}, later than what is held")
    files = dict(listing.files) if listing is not None and release.base else {}
    for name in release.remove:
        files.pop(name, None)
    held = len(files)
    for file in release.add:
        files[file.path] = file
    if len(files) > FILES_MAX:
        raise Corrupt(f"{len(files)} files after release {release.seq}; at most {FILES_MAX}")
    shapes = {file.sha256: (file.length_bytes, file.recipe_sha256) for file in release.add}
    for file in files.values():
        if file.sha256 in shapes and shapes[file.sha256] != (file.length_bytes, file.recipe_sha256):
            raise Corrupt(f"object {file.sha256[:8]}… is described in two ways")
    if 0 < held < len(files):  # new names stand at the end
        files = {name: files[name] for name in sorted(files)}
    return Listing(release.channel, release.seq, release.issued, MappingProxyType(files))


def merge_touched(touched: Iterable[Iterable[str]], listing: Listing) -> tuple[tuple[str, ...], tuple[NamedFile, ...]]:
    """Return ``remove`` and ``add`` of a release object that spans several releases.

    Args:
        touched: The names that each of the releases after the base touched (``Release.touched``), up to listing.seq.
        listing: As it stands after the last of them.
    """
    names = sorted(set().union(*touched))
    files = listing.files
    return tuple(name for name in names if name not in files), tuple(files[name] for name in names if name in files)


def differing(old: Listing | None, new: Listing) -> frozenset[str]:
    """Return the names that are not the same in both listings: what the release from old to new touches."""
    before = old.files if old else {}
    changed = {name for name, file in new.files.items() if before.get(name) != file}
    return frozenset(changed.union(name for name in before if name not in new.files))


def _check(wire: _Wire) -> int:
    """Check everything but the stored bytes; return how many of them there must be."""
    check_format(wire.format, RELEASE_FORMAT)
    check_channel(wire.channel)
    read_moment(wire.issued)
    if not 0 <= wire.base < wire.seq <= SEQ_MAX:
        raise Corrupt(f"a release from {wire.base} to {wire.seq}")
    check_names(wire.remove)
    check_files(wire.add)
    if not {file.path for file in wire.add}.isdisjoint(wire.remove):
        raise Corrupt("a release removes and adds the same name")
    check_packs(wire.packs)
    recipe_of = {file.sha256: file.recipe_sha256 for file in wire.add}
    stored_length = 0
    for each in wire.recipes:
        if recipe_of.pop(each.sha256, None) != each.recipe_sha256:
            raise Corrupt("a release with a recipe twice or of an object that it does not add")
        if not 1 <= each.raw_length <= RECIPE_MAX_BYTES or not 1 <= each.stored_length <= RELEASE_MAX_BYTES:
            raise Corrupt(f"recipe {each.recipe_sha256[:8]}… with a length out of bounds")
        if each.base:
            check_sha256(each.base)
        check_places(each.places, len(wire.packs))
        stored_length += each.stored_length
    return stored_length
