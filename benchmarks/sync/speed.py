"""How fast one core cuts a lesson into a recipe, and puts it together again from units.

    python -m benchmarks.sync.speed LESSON

prints one line of JSON: MB (10^6) of lesson by second of CPU, the best of ``REPEATS``. Cutting includes the hash of the
object, those of the units and the trial rebuild; rebuilding includes checking all of them and writing the file.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sync.recipe import Recipe, decode_recipe, encode_recipe
from sync.recipe.assemble import assemble
from sync.recipe.cutter import make_recipe

REPEATS = 3


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of this process, the fewest of ``REPEATS``; the first also reads the file from the disk."""
    taken = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def rebuild(data: memoryview, recipe: Recipe, raw: bytes, target: Path) -> None:
    """Read the recipe and every unit, check all hashes, write the object.

    Raises:
        RuntimeError: a hash differs.
    """
    recipe = decode_recipe(raw, sha256=recipe.sha256, length_bytes=recipe.length_bytes)

    def unit(ordinal: int) -> bytes:
        offsets, lengths = recipe.extents(ordinal)
        pairs = zip(offsets.tolist(), lengths.tolist(), strict=True)
        found = b"".join(data[start : start + length] for start, length in pairs)
        if hashlib.sha256(found).digest() != recipe.unit_hash(ordinal):
            raise RuntimeError(f"unit {ordinal} differs")
        return found

    whole = hashlib.sha256()
    with target.open("wb") as file:
        for piece in assemble(recipe, unit):
            whole.update(piece)
            file.write(piece)
    if whole.hexdigest() != recipe.sha256:
        raise RuntimeError("the object differs")


def main() -> None:
    """Command line."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    path = Path(sys.argv[1])
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    recipe = make_recipe(data, name=path.name)
    raw = encode_recipe(recipe)
    encode_s = cpu_s(lambda: make_recipe(data, name=path.name))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        rebuild_s = cpu_s(lambda: rebuild(data, recipe, raw, Path(folder) / "again"))
    megabytes = len(data) / 1e6
    print(json.dumps({"encode_mb_per_s": megabytes / encode_s, "rebuild_mb_per_s": megabytes / rebuild_s}))


if __name__ == "__main__":
    main()
