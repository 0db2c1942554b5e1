"""Messages that nobody would send, for every parser that reads what a stranger sent: ``make fuzz``.

Each door takes any number of changed and made-up messages. Only the errors that its parser declares may come out,
memory must not grow, and no message may take long (some are made as long as they may be). Run by hand, not with the
tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Door:
    """One parser, as strangers reach it."""

    name: str
    seeds: tuple[bytes, ...]
    """Messages that it accepts (most of them)."""
    take: Callable[[bytes], object]
    """Gives it one message; also asserts whatever must hold for what comes out."""
    errors: tuple[type[BaseException], ...] = ()
    """What it may raise."""
    most_bytes: int = 64 * 1024
    """No longer message gets to it; the transport or the parser's first line sees to that."""
    words: tuple[bytes, ...] = ()
    """What to put in besides the words of the seeds."""
    peak_bytes: int = 4 << 20
    """What it may take for any message, besides so much for each of its bytes."""
    wrap: Callable[[bytes], bytes] | None = None
    """Puts what was changed into a frame that is right: a checksum, a compressed head."""
