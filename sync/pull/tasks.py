"""Small tools for tasks that work together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sync import SyncError


@asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup whose failure is raised as the one error that it is, when it is one that callers expect."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        expected, others = failures.split((SyncError, OSError))
        if expected is None or others is not None:
            raise
        raise _first(expected) from failures


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    for each in failures.exceptions:
        return _first(each) if isinstance(each, BaseExceptionGroup) else each
    raise AssertionError("an exception group is never empty")


class Bell:
    """Wakes whoever waits for a change of shared state. For one event loop; the state is changed in it only."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Let everybody who waits look again."""
        self._rung.set()
        self._rung = asyncio.Event()

    async def until(self, fits: Callable[[], bool]) -> None:
        """Wait until the condition holds."""
        while not fits():
            await self._rung.wait()
