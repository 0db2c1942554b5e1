"""Runs a stack of services as a program in the foreground: signals stop it, in reverse order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence

from runtime.service import Service, serve


class Started:
    """A last service: calls back once everything below it is ready."""

    def __init__(self, on_ready: Callable[[], None]) -> None:
        """``on_ready`` is called once."""
        self._on_ready = on_ready

    async def run(self, ready: Callable[[], None]) -> None:
        """Report readiness, then wait to be cancelled."""
        self._on_ready()
        ready()
        await asyncio.Event().wait()

    async def drain(self) -> None:
        """Nothing to finish."""


async def run_until_signal(stack: Sequence[Service], *, on_ready: Callable[[], None], grace_s: float) -> None:
    """Serve until SIGINT or SIGTERM, then drain each service for at most ``grace_s`` seconds.

    Raises:
        ExceptionGroup: a service failed; all others were stopped first.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await serve([*stack, Started(on_ready)], stop, grace=grace_s)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
