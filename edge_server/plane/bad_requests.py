"""What the log says of requests that cannot be read: one line now and then, however many a client sends."""

from __future__ import annotations

import logging

from aiohttp import ClientConnectionResetError, web
from aiohttp.http_exceptions import HttpProcessingError

from runtime.clock import Clock

LINE_EVERY_S = 60.0
FAULT_MAX_CHARS = 200
_CLIENTS_FAULTS = (HttpProcessingError, web.RequestPayloadError, ClientConnectionResetError)
"""No HTTP, a body that is none, or gone before the answer. A fault of a route of ours is none of these."""


class BadRequests(logging.Filter):
    """Turns aiohttp's stack traces of clients' faults into one line with their number; all else passes."""

    def __init__(self, clock: Clock) -> None:
        """Nothing was said yet, so the first one is told at once."""
        super().__init__()
        self._clock = clock
        self._unsaid_count = 0
        self._said_s = clock.monotonic() - LINE_EVERY_S

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        fault = record.exc_info[1] if record.exc_info else None
        if not isinstance(fault, _CLIENTS_FAULTS):
            return True
        self._unsaid_count += 1
        now_s = self._clock.monotonic()
        if now_s - self._said_s < LINE_EVERY_S:
            return False
        record.msg, record.args = "bad requests: %d; the last: %s", (self._unsaid_count, repr(fault)[:FAULT_MAX_CHARS])
        record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
        self._unsaid_count, self._said_s = 0, now_s
        return True
