"""The recipes of held objects: bases of patches, and what the index is made from. Disposable like the index.

``recipes/ab/<recipe hash>``: 32 bytes object hash, u64 length of the raw recipe, u64 length of the object (big-endian),
then the recipe squeezed. The object's hash stands in front so that finding a recipe by object needs no unpacking.
"""

from __future__ import annotations

import contextlib
import struct
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from sync import Corrupt
from sync.ids import check_sha256, is_sha256, sha256_hex
from sync.patch import expand, squeeze
from sync.recipe import RECIPE_MAX_BYTES, Recipe, decode_recipe, encode_recipe
from sync.store.files import write_disposable

CACHE_MAX_BYTES = 24 * 1024 * 1024
"""Of raw recipes; decoded ones are about three times as large."""
_FRONT = struct.Struct(">32sQQ")
_LEVEL = 3
"""zstd's; the folder stays on this disk, so speed counts more than bytes."""


class Recipes:
    """A folder of recipes, and the decoded ones that were used last."""

    def __init__(self, root: Path) -> None:
        """Nothing is read yet; the folder is made with the first recipe."""
        self._root = root
        self._cache: OrderedDict[str, tuple[Recipe, int]] = OrderedDict()
        self._by_object: dict[str, str] | None = None

    def put(self, recipe: Recipe) -> str:
        """Keep the recipe; return its hash. Not durable: after a power cut it may be missing or be refused.

        Raises:
            NoSpace: the disk is full.
        """
        raw = encode_recipe(recipe)
        sha256 = sha256_hex(raw)
        path = self._path(sha256)
        front = _FRONT.pack(bytes.fromhex(recipe.sha256), len(raw), recipe.length_bytes)
        write_disposable(path, front + squeeze(raw, level=_LEVEL))
        if self._by_object is not None:
            self._by_object[recipe.sha256] = sha256
        self._remember(recipe, len(raw))
        return sha256

    def raw(self, recipe_sha256: str) -> bytes | None:
        """Return the raw recipe of that hash; None when it is not here or damaged (then it is dropped)."""
        path = self._path(recipe_sha256)
        try:
            stored = path.read_bytes()
        except FileNotFoundError:
            return None
        with contextlib.suppress(Corrupt, struct.error):
            _, raw_length, _ = _FRONT.unpack_from(stored)
            raw = expand(memoryview(stored)[_FRONT.size :], raw_length, most=RECIPE_MAX_BYTES)
            if sha256_hex(raw) == recipe_sha256:
                return raw
        path.unlink(missing_ok=True)
        return None

    def of(self, sha256: str) -> Recipe | None:
        """Return a recipe of that object; None when there is none."""
        if (known := self._cache.get(sha256)) is not None:
            self._cache.move_to_end(sha256)
            return known[0]
        name = self._names().get(sha256)
        raw = self.raw(name) if name is not None else None
        if raw is None or name is None:
            return None
        try:
            _, _, length = _FRONT.unpack_from(_front(self._path(name)))
            recipe = decode_recipe(raw, sha256=sha256, length_bytes=length)
        except (Corrupt, struct.error):
            self._path(name).unlink(missing_ok=True)
            return None
        self._remember(recipe, len(raw))
        return recipe

    def remove(self, sha256: str) -> None:
        """Drop the recipe of that object, if there is one."""
        self._cache.pop(sha256, None)
        if (name := self._names().pop(sha256, None)) is not None:
            self._path(name).unlink(missing_ok=True)

    def sweep(self, held: set[str]) -> None:
        """Drop the recipes of objects that are not among ``held``, recipes that another one replaced, and litter."""
        names = self._names()
        for path in self._files():
            if not is_sha256(path.name) or names.get(_object_of(path)) != path.name:
                path.unlink(missing_ok=True)
        for sha256 in [each for each in names if each not in held]:
            self.remove(sha256)

    def _names(self) -> dict[str, str]:
        if self._by_object is None:
            self._by_object = {_object_of(path): path.name for path in self._files() if is_sha256(path.name)}
            self._by_object.pop("", None)
        return self._by_object

    def _files(self) -> Iterator[Path]:
        if self._root.is_dir():
            for folder in sorted(self._root.iterdir()):
                yield from sorted(folder.iterdir())

    def _path(self, recipe_sha256: str) -> Path:
        return self._root / check_sha256(recipe_sha256)[:2] / recipe_sha256

    def _remember(self, recipe: Recipe, size: int) -> None:
        self._cache[recipe.sha256] = (recipe, size)
        self._cache.move_to_end(recipe.sha256)
        while len(self._cache) > 1 and sum(each for _, each in self._cache.values()) > CACHE_MAX_BYTES:
            self._cache.popitem(last=False)


def _front(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_FRONT.size)
    except OSError:
        return b""


def _object_of(path: Path) -> str:
    front = _front(path)
    return front[:32].hex() if len(front) == _FRONT.size else ""
