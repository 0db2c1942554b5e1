"""Tells systemd that the program is ready, alive, and stopping (sd_notify(3)); silent under any other supervisor."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping

import structlog

from runtime.clock import Clock

log = structlog.get_logger()


class Supervision:
    """A ``runtime.service.Service``; the last of a stack, so that ready means all are.

    The sign of life comes from the event loop: when that hangs for longer than ``WatchdogSec``, systemd starts anew.
    """

    def __init__(self, clock: Clock, environ: Mapping[str, str] | None = None) -> None:
        """Read ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC``, by which systemd says where and how often."""
        given = os.environ if environ is None else environ
        self._clock, self._address = clock, given.get("NOTIFY_SOCKET", "")
        period = given.get("WATCHDOG_USEC", "")
        self._every_s = int(period) / 2e6 if period.isascii() and period.isdigit() and int(period) else 0.0

    async def run(self, ready: Callable[[], None]) -> None:
        """Say that all is ready, and then that it lives, until cancelled."""
        self._tell("READY=1")
        ready()
        due_s = self._clock.monotonic()
        while True:
            due_s += self._every_s or 3600.0
            await self._clock.sleep_until(due_s)
            if self._every_s:
                self._tell("WATCHDOG=1")

    async def drain(self) -> None:
        """Say that it stops."""
        self._tell("STOPPING=1")

    def _tell(self, word: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto(word.encode(), address)
        except OSError as error:
            log.warning("systemd was not told", word=word, why=str(error))
