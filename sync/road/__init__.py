"""The roads on which published files come: the port, and what all its implementations share.

Nothing that comes by a road is believed before somebody else checked it against a hash. Policies (counting, trying
again, several mirrors) are small sources around a source; a cap on the rate is a ``Gate`` that sources pass through,
since only whoever reads the socket can slow it down. Names and rules of answers: ``docs/formats/sync.md`` §1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from sync import Corrupt, Missing

NAME_MAX_BYTES = 512

Received = Callable[[int], None]
"""Called with the number of body bytes each time some arrive, wanted or not."""

Sink = Callable[[bytes], None]
"""Called with the wanted bytes, in order, as they arrive. What it raises ends the transfer and is raised as it is."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class NoRanges(Missing):
    """The source has the file but cannot give that part of it; asking again is useless, another mirror may do it."""


class Source(Protocol):
    """The published files, wherever they lie."""

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """Return the whole file of that name (relative, ``/``-separated, as in the format's table of files).

        Raises:
            Missing: the source has no such file.
            Unreachable: no answer, or the answer broke off.
            TooLong: the file is longer than ``limit_bytes``.
            Corrupt: it was encoded on the way, or is nothing that can be read.
        """

    async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
        """Hand the bytes of ``[start, stop)`` of that file to ``sink`` as they come; returns when all were handed over.

        Never more than those bytes are handed over, and none of them twice, however the call ends. After an error the
        caller may go on behind the last byte that it got.

        Raises:
            NoRanges: the source cannot give a part of a file.
            Missing: the source has no such file, or it ends before ``start``.
            Unreachable: no answer, or the answer broke off.
            Corrupt: the answer is not that part, was encoded on the way, or is longer than announced.
            ValueError: not ``0 <= start <= stop``.
        """

    async def close(self) -> None:
        """Let go of connections; may be called twice; a later fetch or read opens them again."""


class Gate(Protocol):
    """What holds sources back so that all of them together stay below a rate."""

    @property
    def rate_bps(self) -> float | None:
        """The cap at this moment, in bits of body per second; None without one, 0 while nothing may move."""

    def passed(self, length_bytes: int) -> None:
        """Tell that so many body bytes came, wanted or not."""

    async def ready(self) -> None:
        """Wait until everything that came so far is within the cap: then more may be asked for."""


class OpenGate:
    """No cap."""

    @property
    def rate_bps(self) -> float | None:
        """See Gate."""
        return None

    def passed(self, length_bytes: int) -> None:
        """See Gate."""

    async def ready(self) -> None:
        """See Gate."""


OPEN = OpenGate()


def check_file_name(name: str) -> str:
    """Return the name of a published file unchanged: it may become part of a URL or a path.

    Raises:
        Corrupt: not 1 to NAME_MAX_BYTES of ``A-Z a-z 0-9 _ - .`` in parts between ``/``, none beginning with a dot.
    """
    if len(name) > NAME_MAX_BYTES or not _NAME.fullmatch(name):
        raise Corrupt(f"{name[:80]!r} cannot be the name of a published file")
    return name


def check_range(start: int, stop: int) -> int:
    """Return the length of the range.

    Raises:
        ValueError: not ``0 <= start <= stop``.
    """
    if not 0 <= start <= stop:
        raise ValueError(f"[{start}, {stop}) is no range of bytes")
    return stop - start
