"""The last warnings and errors of a process, in memory, so that a page can show them."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

EVENTS_MAX_COUNT = 200
WORDS_MAX_LETTERS = 300
_HIDDEN = frozenset({"event", "level", "logger", "time", "exception", "_record", "_from_structlog"})


@dataclass(frozen=True, slots=True)
class Recent:
    """One event."""

    at_s: float
    """Unix time by this machine's clock."""
    level: str
    words: str


class RecentEvents(logging.Handler):
    """Remembers the newest EVENTS_MAX_COUNT events of level warning and above."""

    def __init__(self) -> None:
        """Nothing is remembered yet."""
        super().__init__(logging.WARNING)
        self._events: deque[Recent] = deque(maxlen=EVENTS_MAX_COUNT)

    def emit(self, record: logging.LogRecord) -> None:
        """Remember one event."""
        message = record.msg
        if isinstance(message, dict):  # as structlog hands it over
            more = " ".join(f"{key}={value}" for key, value in message.items() if key not in _HIDDEN)
            words = f"{message.get('event', '')} {more}".strip()
        else:
            words = record.getMessage()
        self._events.append(Recent(record.created, record.levelname.lower(), words[:WORDS_MAX_LETTERS]))

    def newest(self) -> list[Recent]:
        """Return what is remembered, newest first."""
        return list(self._events)[::-1]


def remember_events() -> RecentEvents:
    """Begin to remember the events of this process; call it behind `runtime.log.log_to_stderr`."""
    handler = RecentEvents()
    logging.getLogger().addHandler(handler)
    return handler
