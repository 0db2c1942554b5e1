"""Moves named bytes from A to B, verified and signed; knows no courseware.

This module holds the failures that every part of sync shares. Missing and damaged are different errors because they
ask for different acts: try again or elsewhere, or refuse and raise an alarm. Wire format: ``docs/formats/sync.md``.
"""

from __future__ import annotations

from typing import Literal

Reason = Literal["rollback", "freeze", "tampered", "oversized", "no-anchor", "other-area"]
"""Why metadata was not believed. ``tampered`` covers forged, damaged and mixed-up metadata alike: to somebody who
only sees a signature or hash that does not fit, they look the same."""


class SyncError(Exception):
    """Base of everything that can go wrong while publishing or pulling."""


class Unreachable(SyncError):
    """The source did not answer, or stopped answering; try again later."""


class Missing(Unreachable):
    """The source answers but has no such name; asking again at once is useless, another mirror may have it."""


class NoChannel(SyncError):
    """The signed metadata is fine but names no such channel: nothing was published on it yet, or it is misspelt."""


class Untrusted(SyncError):
    """Signed metadata that must not be believed."""

    def __init__(self, reason: Reason, message: str) -> None:
        """``reason`` is for programs, ``message`` for people."""
        super().__init__(f"{reason}: {message}")
        self.reason: Reason = reason


class Corrupt(SyncError):
    """Bytes that are not the ones which were signed, or not of a format that this version reads."""


class TooLong(Corrupt):
    """Longer than what is allowed or signed; reading was stopped there."""


class NoSpace(SyncError):
    """The disk cannot take what is needed."""

    def __init__(self, needed_bytes: int, free_bytes: int) -> None:
        """Both numbers count bytes on the disk that holds the objects."""
        super().__init__(
            f"needs {needed_bytes:,} bytes on disk but only {free_bytes:,} are free; "
            f"free at least {max(0, needed_bytes - free_bytes):,} more"
        )
        self.needed_bytes, self.free_bytes = needed_bytes, free_bytes


class Busy(SyncError):
    """Another process holds the lock."""
