"""A recipe as bytes: ``docs/formats/sync.md`` §7. Every length is checked before anything of that length is made."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sync import Corrupt, TooLong
from sync.ids import check_sha256
from sync.recipe.layout import lay_unordered
from sync.recipe.value import (
    HASH_BYTES,
    OBJECT_MAX_BYTES,
    RECIPE_MAX_BYTES,
    RUNS_MAX,
    SKELETON_MAX_BYTES,
    STREAMS_MAX,
    TABLES_MAX,
    UNIT_MAX_BYTES,
    UNITS_MAX,
    Recipe,
    Table,
)

MAGIC = b"RMR2"
_HEADER = struct.Struct(">4sQ32s5I")
_TABLE = struct.Struct(">IIB")
_RUN_BYTES = 4 + 1 + 4
_UNIT_BYTES = 4 + HASH_BYTES
_MOST = (STREAMS_MAX, RUNS_MAX, UNITS_MAX, TABLES_MAX, SKELETON_MAX_BYTES)


def encode_recipe(recipe: Recipe) -> bytes:
    """Return the raw recipe; its SHA-256 is the recipe hash.

    Raises:
        Corrupt: the recipe breaks a rule of the format; TooLong when it is a bound.
    """
    counts = (recipe.streams, len(recipe.run_length), recipe.units, len(recipe.tables), len(recipe.skeleton))
    _check_bounds(recipe.length_bytes, counts)
    _check_sums(recipe)
    _ = recipe.layout
    unit_order = np.argsort(recipe.unit_stream, kind="stable")
    run_order = np.argsort(recipe.run_stream, kind="stable")
    hashes = np.frombuffer(recipe.unit_hashes, f"V{HASH_BYTES}")
    return b"".join(
        (
            _HEADER.pack(MAGIC, recipe.length_bytes, bytes.fromhex(check_sha256(recipe.sha256)), *counts),
            np.bincount(recipe.unit_stream, minlength=recipe.streams)[: recipe.streams].astype(">u4").tobytes(),
            recipe.run_skip.astype(">u4").tobytes(),
            recipe.run_stream.tobytes(),
            recipe.run_length[run_order].astype(">u4").tobytes(),
            recipe.unit_length[unit_order].astype(">u4").tobytes(),
            hashes[unit_order].tobytes(),
            b"".join(_TABLE.pack(table.position, table.count, table.width) for table in recipe.tables),
            _with_differences(recipe.skeleton, recipe.tables),
        )
    )


def decode_recipe(raw: bytes | memoryview, *, sha256: str, length_bytes: int) -> Recipe:
    """Read a raw recipe, which may come from anybody, as the one of this object.

    Raises:
        Corrupt: not a recipe, not the one of this object, or its lengths do not add up; TooLong when it passes a bound.
    """
    if len(raw) > RECIPE_MAX_BYTES:
        raise TooLong(f"a recipe of {len(raw):,} bytes; at most {RECIPE_MAX_BYTES:,}")
    if len(raw) < _HEADER.size:
        raise Corrupt("a recipe is cut off within its header")
    magic, length, digest, *numbers = _HEADER.unpack_from(raw)
    if magic != MAGIC:
        raise Corrupt(f"not a recipe of this format: begins with {magic!r}")
    if digest.hex() != sha256 or length != length_bytes:
        raise Corrupt(f"a recipe of another object than {sha256} with {length_bytes:,} bytes")
    streams, runs, units, tables, skeleton_bytes = counts = tuple(numbers)
    _check_bounds(length, counts)
    expected = 4 * streams + _RUN_BYTES * runs + _UNIT_BYTES * units + _TABLE.size * tables + skeleton_bytes
    if len(raw) != _HEADER.size + expected:
        raise Corrupt(f"a recipe of {len(raw):,} bytes announces {_HEADER.size + expected:,}")
    reader = _Reader(raw)
    units_of_streams = reader.take(">u4", streams).astype(np.int64)
    if not np.all(units_of_streams) or int(units_of_streams.sum()) != units:
        raise Corrupt("the units of the streams of a recipe do not add up")
    run_skip = reader.take(">u4", runs).astype(np.uint32)
    run_stream = reader.take("u1", runs).astype(np.uint8)
    run_length = np.empty(runs, np.uint32)
    run_length[np.argsort(run_stream, kind="stable")] = reader.take(">u4", runs)
    unit_length = reader.take(">u4", units).astype(np.uint32)
    hashes = reader.take(f"V{HASH_BYTES}", units)
    unit_stream = np.repeat(np.arange(streams, dtype=np.uint8), units_of_streams)
    table_bytes = reader.take("u1", _TABLE.size * tables)
    places = tuple(Table(*numbers) for numbers in _TABLE.iter_unpack(table_bytes.tobytes()))
    _check_tables(places, skeleton_bytes)
    _check_lengths(length, skeleton_bytes, run_skip, run_length, unit_length)
    play = np.argsort(lay_unordered(run_skip, run_stream, run_length, unit_stream, unit_length).unit_start)
    recipe = Recipe(
        sha256,
        length,
        _from_differences(reader.take("u1", skeleton_bytes), places),
        places,
        run_skip,
        run_stream,
        run_length,
        unit_stream[play],
        unit_length[play],
        hashes[play].tobytes(),
    )
    _ = recipe.layout
    return recipe


class _Reader:
    """Takes arrays from the front of a recipe whose length was checked already."""

    def __init__(self, raw: bytes | memoryview) -> None:
        self._raw = raw
        self._at = _HEADER.size

    def take(self, kind: str, count: int) -> NDArray[Any]:
        array = np.frombuffer(self._raw, kind, count, self._at)
        self._at += array.nbytes
        return array


def _check_bounds(length_bytes: int, counts: tuple[int, ...]) -> None:
    if not 0 <= length_bytes <= OBJECT_MAX_BYTES:
        raise TooLong(f"an object of {length_bytes:,} bytes; at most {OBJECT_MAX_BYTES:,}")
    if any(count > most for count, most in zip(counts, _MOST, strict=True)):
        raise TooLong(f"streams, runs, units, tables, skeleton bytes of a recipe are {counts}; at most {_MOST}")


def _check_sums(recipe: Recipe) -> None:
    _check_tables(recipe.tables, len(recipe.skeleton))
    _check_lengths(recipe.length_bytes, len(recipe.skeleton), recipe.run_skip, recipe.run_length, recipe.unit_length)
    if len(recipe.unit_hashes) != HASH_BYTES * recipe.units:
        raise Corrupt("a recipe has another number of hashes than of units")
    if not np.all(np.bincount(recipe.unit_stream)):
        raise Corrupt("a recipe has a stream without units")


def _check_tables(tables: tuple[Table, ...], skeleton_bytes: int) -> None:
    position = 0
    for table in tables:
        if table.width not in (4, 8) or table.position < position or table.stop > skeleton_bytes:
            raise Corrupt("the tables of a recipe are not ascending, apart and inside its skeleton")
        position = table.stop


def _check_lengths(
    length_bytes: int,
    skeleton_bytes: int,
    run_skip: NDArray[np.uint32],
    run_length: NDArray[np.uint32],
    unit_length: NDArray[np.uint32],
) -> None:
    if int(run_skip.sum(dtype=np.int64)) > skeleton_bytes:
        raise Corrupt("a recipe takes more from its skeleton than there is")
    if skeleton_bytes + int(run_length.sum(dtype=np.int64)) != length_bytes:
        raise Corrupt("the lengths in a recipe do not add up to that of the object")
    if unit_length.size and int(unit_length.max()) > UNIT_MAX_BYTES:
        raise TooLong(f"a unit of more than {UNIT_MAX_BYTES:,} bytes")


def _with_differences(skeleton: bytes, tables: tuple[Table, ...]) -> bytes:
    if not tables:
        return skeleton
    changed = bytearray(skeleton)
    for table in tables:
        values = np.frombuffer(changed, f">u{table.width}", table.count, table.position)
        values[1:] = np.diff(values.astype(f"u{table.width}"))
    return bytes(changed)


def _from_differences(skeleton: NDArray[np.uint8], tables: tuple[Table, ...]) -> bytes:
    if not tables:
        return skeleton.tobytes()
    changed = bytearray(skeleton)
    for table in tables:
        values = np.frombuffer(changed, f">u{table.width}", table.count, table.position)
        kind = np.dtype(f"u{table.width}")
        values[:] = np.cumsum(values.astype(kind), dtype=kind)
    return bytes(changed)
