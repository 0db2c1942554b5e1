"""Where an object is cut. Today at fixed distances; content-defined cuts can come without changing the manifest."""

from __future__ import annotations

from collections.abc import Iterator

CHUNK_MAX_BYTES = 4 * 1024 * 1024
"""Every chunk but the last has exactly this length; the last has 1 to this length."""


def chunk_count(length_bytes: int) -> int:
    """Return the number of chunks of an object; an empty object has none."""
    return -(-length_bytes // CHUNK_MAX_BYTES)


def spans(length_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of each chunk in bytes, in order."""
    for start in range(0, length_bytes, CHUNK_MAX_BYTES):
        yield start, min(start + CHUNK_MAX_BYTES, length_bytes)
