"""One copy of everything: objects are the playable files themselves, and the seeds of the next release.

Layout below the root: ``objects/ab/<sha256>`` (mode 0444), ``recipes/ab/<recipe hash>`` and ``units.sqlite`` (how the
objects are made of units, and which unit lies where; both disposable), ``staging/<sha256>.part`` with ``.units``
(objects on their way in, filled in place, and the journal of what is in them), ``staging/meta/<hash>`` (signed metadata
of a release on its way in). An object that is visible was verified as a whole when it came in.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from sync import Missing, NoSpace
from sync.holding.index import UnitIndex
from sync.holding.part import JOURNAL_SUFFIX, PART_SUFFIX, Incomplete, Part
from sync.holding.recipes import Recipes
from sync.holding.spans import UnitReader
from sync.holding.verify import Cursor, Damage, hash_on
from sync.ids import check_sha256, is_sha256
from sync.recipe import Recipe
from sync.recipe.cutter import make_recipe
from sync.store.files import make_directory, space_errors, sync_directory

__all__ = ["Cursor", "Damage", "Holding", "Incomplete", "Part"]
WHOLE_BYTES = 1 << 62
OBJECT_COST_BYTES = 64 * 1024
"""Opening an object takes about as long as hashing so much of it."""
T = TypeVar("T")


class Holding:
    """Who changes it holds the lock of the store around it; reading needs none. Safe for several threads."""

    def __init__(self, root: Path) -> None:
        """Create the folders if need be; the index is opened when it is first needed."""
        self.root = root
        self._objects, self._staging = root / "objects", root / "staging"
        self.meta = self._staging / "meta"
        for folder in (self._objects, self._staging, self.meta):
            make_directory(folder)
        self._recipes = Recipes(root / "recipes")
        self._index = UnitIndex(root / "units.sqlite")
        self._index_is_complete = False
        self._damaged: set[str] = set()
        self._lock = threading.RLock()

    # Whole objects

    def path(self, sha256: str) -> Path:
        """Return where the object lies or would lie."""
        return Path(self.place(sha256))

    def place(self, sha256: str) -> str:
        """Return the same as text, which takes a fifth of the time and of the memory."""
        return f"{self._objects}/{check_sha256(sha256)[:2]}/{sha256}"

    def has(self, sha256: str) -> bool:
        """Tell whether the object is there."""
        return self.path(sha256).is_file()

    def open(self, sha256: str) -> BinaryIO:
        """Open the object for reading.

        Raises:
            Missing: no such object.
        """
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError as error:
            raise Missing(f"no object {sha256}") from error

    def ids(self, after: str = "") -> Iterator[str]:
        """Yield the id of every object that is greater than ``after``, in ascending order."""
        for folder in sorted(self._objects.iterdir()):
            if folder.name >= after[:2]:
                names = sorted(entry.name for entry in folder.iterdir() if is_sha256(entry.name))
                yield from (name for name in names if name > after)

    def remove(self, sha256: str) -> None:
        """Drop the object, its recipe and its rows in the index, if they are there."""
        self._forget_units(sha256)
        self.path(sha256).unlink(missing_ok=True)
        with self._lock:
            self._recipes.remove(sha256)
            self._damaged.discard(sha256)

    def free_bytes(self) -> int:
        """Return how much the disk can still take."""
        disk = os.statvfs(self._objects)
        return disk.f_bavail * disk.f_frsize

    # Objects on their way in

    def begin(self, recipe: Recipe) -> Part:
        """Start or resume taking in an object. Units that an earlier attempt wrote are held already.

        Raises:
            NoSpace: the disk cannot take the object; the number says exactly how much it lacks.
        """
        return self._part(recipe)

    def reopen_damaged(self, recipe: Recipe) -> Part:
        """Make an object whose bytes are not right an unfinished one, in which the good units are held.

        The object is no longer visible afterwards. Where the disk gives no bytes at all the good units are copied, so
        that nothing has to be written onto a bad place.

        Raises:
            Missing: no such object.
            NoSpace: units had to be copied and the disk cannot take them.
        """
        damaged = self.path(recipe.sha256)
        if not damaged.is_file():
            raise Missing(f"no object {recipe.sha256}")
        stem = self._staging / recipe.sha256
        if _readable(damaged):
            self._forget_units(recipe.sha256)
            stem.with_suffix(JOURNAL_SUFFIX).unlink(missing_ok=True)
            damaged.replace(stem.with_suffix(PART_SUFFIX))
            sync_directory(damaged.parent)
            part = self._part(recipe, recheck=True)
        else:
            part = self.begin(recipe)
            part.fill_from(_OneSeed(damaged, recipe))
            self._forget_units(recipe.sha256)
            damaged.unlink(missing_ok=True)
        with self._lock:
            self._damaged.discard(recipe.sha256)
        return part

    def staged_bytes(self, sha256: str) -> int:
        """Return how many bytes of disk an unfinished object has already."""
        try:
            state = (self._staging / (check_sha256(sha256) + PART_SUFFIX)).stat()
        except FileNotFoundError:
            return 0
        return min(state.st_blocks * 512, state.st_size)

    def prune_staged(self, keep: Callable[[str], bool]) -> None:
        """Drop unfinished objects, and litter of crashes, whose id ``keep`` refuses."""
        for entry in self._staging.iterdir():
            name = entry.name.removesuffix(PART_SUFFIX).removesuffix(JOURNAL_SUFFIX)
            if entry != self.meta and not (is_sha256(name) and keep(name)):
                entry.unlink(missing_ok=True)

    def prune_meta(self) -> None:
        """Drop the signed metadata of releases that were on their way in; call it when they arrived."""
        for entry in self.meta.iterdir():
            entry.unlink(missing_ok=True)

    def prune_recipes(self) -> None:
        """Drop recipes and index rows of objects that are not here."""
        with self._lock:
            self._recipes.sweep(set(self.ids()))
        self._indexed(self._index.sweep)

    # Units

    def find(self, hashes: Sequence[bytes]) -> list[list[tuple[str, int]]]:
        """Return for each unit hash the held objects that have the unit, and its ordinal there.

        Objects that are known to be damaged come last.
        """
        found = self._indexed(lambda: self._index.find(hashes))
        if self._damaged:
            for places in found:
                places.sort(key=lambda place: place[0] in self._damaged)
        return found

    def reader(self, sha256: str) -> UnitReader | None:
        """Open a held object for reading units by their ordinals; None when that does not work."""
        recipe = self.recipe_of(sha256)
        try:
            return UnitReader(self.path(sha256), recipe) if recipe else None
        except OSError:
            return None

    def recipe_of(self, sha256: str) -> Recipe | None:
        """Return the recipe of a held object, cut again if need be; None when there is no such object."""
        with self._lock:
            recipe = self._recipes.of(sha256)
        return recipe if recipe is not None else self._cut(sha256)

    def raw_recipe(self, recipe_sha256: str) -> bytes | None:
        """Return the raw recipe of that hash (a base of patches), None when it is not kept."""
        return self._recipes.raw(recipe_sha256)

    def close(self) -> None:
        """Close the index; it is opened again when needed."""
        self._index.close()
        self._index_is_complete = False

    # Damage

    def note_damage(self, sha256: str) -> None:
        """Remember that an object turned out not to have the bytes that it should have."""
        with self._lock:
            self._damaged.add(sha256)

    def damaged(self) -> tuple[str, ...]:
        """Return the objects that were noted, or found by verification, since this was created; not yet healed."""
        with self._lock:
            return tuple(sorted(self._damaged))

    def verify(self, on_object: Callable[[str], None] | None = None) -> tuple[Damage, ...]:
        """Hash every object again; ``on_object`` is called with each id before it is read. Reads the whole disk."""
        found: list[Damage] = []
        for sha256 in self.ids():
            if on_object:
                on_object(sha256)
            self._collect(found, hash_on(self.path(sha256), Cursor(), sha256, WHOLE_BYTES)[2])
        return tuple(found)

    def verify_some(self, budget_bytes: int, cursor: Cursor | None = None) -> tuple[tuple[Damage, ...], Cursor | None]:
        """Hash on for about so many bytes.

        Returns:
            What was found in objects that were read to their end, and the cursor for the next slice; None when the
            round is through.
        """
        cursor = cursor or Cursor()
        found: list[Damage] = []
        for sha256 in self.ids(cursor.done):
            if budget_bytes <= 0:
                return tuple(found), cursor
            cursor, used, damage = hash_on(self.path(sha256), cursor, sha256, budget_bytes)
            self._collect(found, damage)
            if cursor.begun:
                return tuple(found), cursor
            budget_bytes -= max(used, OBJECT_COST_BYTES)
        return tuple(found), None

    def _collect(self, found: list[Damage], damage: Damage | None) -> None:
        if damage is not None:
            found.append(damage)
            self.note_damage(damage.sha256)

    # The index

    def _part(self, recipe: Recipe, *, recheck: bool = False) -> Part:
        stem = self._staging / check_sha256(recipe.sha256)
        final = self.path(recipe.sha256)
        return Part(recipe, stem, final, before=self._keep_recipe, after=self._adopt, recheck=recheck)

    def _keep_recipe(self, recipe: Recipe) -> None:
        with self._lock:
            self._recipes.put(recipe)

    def _adopt(self, recipe: Recipe) -> None:
        with self._lock:
            self._damaged.discard(recipe.sha256)
        self._note_in_index(lambda: self._index.add(recipe.sha256, recipe.unit_hashes))

    def _forget_units(self, sha256: str) -> None:
        with self._lock:
            recipe = self._recipes.of(sha256)
        self._note_in_index(lambda: self._index.remove(sha256, recipe.unit_hashes if recipe else None))

    def _note_in_index(self, work: Callable[[], None]) -> None:
        """Write into the index; what could not be written there is made up for when it is opened again."""
        try:
            self._indexed(work)
        except (OSError, NoSpace):
            self.close()

    def _indexed(self, work: Callable[[], T]) -> T:
        """Do something with an index that is complete and sound.

        Raises:
            OSError: the disk fails.
            NoSpace: it is full.
        """
        with self._lock, space_errors(self.root, 0):
            if not self._index_is_complete:
                self._index.guarded(self._refill, self._refill)
                self._index_is_complete = True
            return self._index.guarded(work, self._refill)

    def _refill(self) -> None:
        """Bring the index in line with the objects that are here."""
        indexed, held = self._index.objects(), set(self.ids())
        for sha256 in indexed - held:
            self._index.remove(sha256, None)
        for sha256 in held - indexed:
            if (recipe := self.recipe_of(sha256)) is not None:
                self._index.add(sha256, recipe.unit_hashes)

    def _cut(self, sha256: str) -> Recipe | None:
        try:
            with self.path(sha256).open("rb") as file:
                if os.fstat(file.fileno()).st_size == 0:
                    recipe = make_recipe(b"")
                else:
                    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                        recipe = make_recipe(data)
        except OSError:
            return None
        if recipe.sha256 != sha256:
            self.note_damage(sha256)  # its units may serve all the same, but a recipe under a wrong name must not stay
            return None
        with self._lock:
            self._recipes.put(recipe)
        return recipe


class _OneSeed:
    """A damaged object as the only seed of its own healing."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self._path, self._recipe = path, recipe

    def find(self, hashes: Sequence[bytes]) -> list[list[tuple[str, int]]]:
        recipe = self._recipe
        ordinals = {recipe.unit_hash(ordinal): ordinal for ordinal in range(recipe.units)}
        return [[(recipe.sha256, ordinals[each])] for each in hashes]

    def reader(self, sha256: str) -> UnitReader | None:
        try:
            return UnitReader(self._path, self._recipe)
        except OSError:
            return None

    def note_damage(self, sha256: str) -> None:
        pass


def _readable(path: Path) -> bool:
    try:
        with path.open("rb", buffering=0) as file:
            while file.read(1024 * 1024):
                pass
    except OSError:
        return False
    return True
