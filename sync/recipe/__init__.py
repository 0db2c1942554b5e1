"""Recipes: how an object is built from a skeleton and units. Written in ``docs/formats/sync.md`` §7.

Pure: nothing here reads a file or a clock. :mod:`sync.recipe.cutter` makes recipes, :mod:`sync.recipe.assemble` turns
units back into the object.
"""

from __future__ import annotations

from sync.recipe.codec import decode_recipe, encode_recipe
from sync.recipe.layout import Layout
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

__all__ = [
    "HASH_BYTES",
    "OBJECT_MAX_BYTES",
    "RECIPE_MAX_BYTES",
    "RUNS_MAX",
    "SKELETON_MAX_BYTES",
    "STREAMS_MAX",
    "TABLES_MAX",
    "UNITS_MAX",
    "UNIT_MAX_BYTES",
    "Layout",
    "Recipe",
    "Table",
    "decode_recipe",
    "encode_recipe",
]
