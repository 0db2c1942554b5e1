"""Blocking work beside the event loop that never outlives its caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Like ``asyncio.to_thread``, but when cancelled wait until the function is through.

    A thread cannot be stopped; one that went on after its caller gave back a lock could write beside the next holder.
    For work of seconds at most.
    """
    job = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait([job])
        if not job.cancelled():
            job.exception()  # looked at, so that it is not reported as forgotten: the cancellation says enough
        raise
