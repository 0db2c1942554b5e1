"""Where the log goes: one line of JSON an event on stderr, whoever says it; stdout belongs to a command's answers."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog

LEVELS = ("debug", "info", "warning", "error")
_ABOUT_EVERY = (
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.format_exc_info,
)
_FIRST = ("time", "level", "event")


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what is stderr at that moment."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # as logging's own handler of last resort
        return sys.stderr


def log_to_stderr(program: str, level: str) -> None:
    """Send the events of a program to stderr, and of the libraries that it uses what is urgent; may be called again.

    Each line is a JSON object with ``time`` (UTC), ``level``, ``event``, ``logger``, perhaps ``exception``,
    and what else belongs to the event. Where stderr is a terminal, lines are for people.

    Args:
        program: its package.
        level: one of ``LEVELS``; what is less urgent is left out.

    Raises:
        ValueError: it is none of them.
    """
    if level not in LEVELS:
        raise ValueError(f"{level!r}; write one of {', '.join(LEVELS)}")
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_ABOUT_EVERY,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_last()],
    )
    handler = _Stderr()
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=max(logging.WARNING, logging.getLevelName(level.upper())), force=True)
    logging.getLogger(program).setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_ABOUT_EVERY,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _last() -> list[structlog.typing.Processor]:
    if sys.stderr.isatty():
        return [structlog.dev.ConsoleRenderer(timestamp_key="time")]
    return [
        _in_order,
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
    ]


def _in_order(
    _logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Put first what people look for first."""
    return {**{key: event[key] for key in _FIRST if key in event}, **event}
