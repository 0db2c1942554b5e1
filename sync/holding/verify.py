"""Hashing what is held again, in slices, so that a disk that rots is found out before the lesson is played."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Reason = Literal["altered", "unreadable"]
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Damage:
    """An object that is not what it should be."""

    sha256: str
    reason: Reason


@dataclass(frozen=True)
class Cursor:
    """How far a round of verification has come; objects are taken in the order of their ids.

    ``Cursor(done)`` begins after that object; an object that is half read is begun again after a restart.
    """

    done: str = ""
    """The last object that was verified wholly; empty before the first."""
    begun: str = ""
    """The object that is half read."""
    offset: int = 0
    digest: Any = None


def hash_on(path: Path, cursor: Cursor, sha256: str, budget_bytes: int) -> tuple[Cursor, int, Damage | None]:
    """Hash one object, from where the cursor is in it, at most so many bytes (rounded up to a MiB).

    Returns:
        The cursor after that, how many bytes were read, and what was found when the object is through.
    """
    at, digest = (cursor.offset, cursor.digest) if cursor.begun == sha256 else (0, hashlib.sha256())
    start, buffer = at, bytearray(_READ_BYTES)
    view = memoryview(buffer)
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if at == 0:
                # Ask the disk, not the memory; and leave no gigabytes behind in the memory that players need.
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            while length := os.preadv(file, [buffer], at):
                digest.update(view[:length])
                at += length
                if at - start >= budget_bytes:
                    break
            else:
                fits = digest.hexdigest() == sha256
                return Cursor(sha256), at - start, None if fits else Damage(sha256, "altered")
            os.posix_fadvise(file, start, at - start, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)
    except FileNotFoundError:
        return Cursor(sha256), at - start, None  # removed meanwhile
    except OSError:
        return Cursor(sha256), at - start, Damage(sha256, "unreadable")
    return Cursor(cursor.done, sha256, at, digest), at - start, None
