"""Keeping memory that is not used any more from staying with the process."""

from __future__ import annotations

import ctypes

LARGE_MIN_BYTES = 1024 * 1024
_M_MMAP_THRESHOLD = -3
"""From glibc's malloc.h (mallopt(3))."""


def give_back_large_buffers() -> bool:
    """Let every buffer of LARGE_MIN_BYTES or more go back to the system when it is freed; call it once, at the start.

    glibc raises that limit by itself to 32 MiB as soon as large buffers come and go, and then keeps them in the heaps
    of its threads. Taking in a lesson of 2 GB with a new title took 195 to 201 MB so, and takes 145 MB with a fixed
    limit (``benchmarks.sync --big``).

    Returns:
        Whether this C library can do it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt is not None and mallopt(_M_MMAP_THRESHOLD, LARGE_MIN_BYTES))
