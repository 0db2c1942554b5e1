"""Files that are either wholly there or not there, also after a power cut."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sync import Busy, NoSpace

TEMPORARY_SUFFIX = ".tmp"


def sync_directory(folder: Path) -> None:
    """Make renames in the folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make the content of a file that somebody else wrote survive a power cut."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def make_directory(folder: Path) -> None:
    """Create the folder and its parents, durably."""
    if folder.is_dir():
        return
    make_directory(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_directory(folder.parent)


def write_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put the file there in one step: temporary file, fsync, rename, fsync of the folder.

    Raises:
        NoSpace: the disk is full; the old file, if any, is untouched.
    """
    make_directory(path.parent)
    temporary = path.parent / f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}"
    try:
        with space_errors(path.parent, len(data)):
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            with os.fdopen(handle, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_disposable(path: Path, data: bytes) -> None:
    """Put the file there in one step for readers, but not durably: a power cut may lose or spoil it.

    For what can be had again and is compared with a hash when it is read.

    Raises:
        NoSpace: the disk is full; the old file, if any, is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        with space_errors(path.parent, len(data)):
            temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def space_errors(folder: Path, needed_bytes: int) -> Iterator[None]:
    """Turn "disk full" into NoSpace."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(needed_bytes, shutil.disk_usage(folder).free) from error
        raise


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold an exclusive lock on the file, against other processes and against other holders in this one.

    The lock belongs to the open file and ends with the process, however that ends.

    Raises:
        Busy: somebody else holds it.
    """
    make_directory(path.parent)
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            holder = handle.read(32).strip() or "unknown"
            raise Busy(f"{what} is in use by process {holder}; wait until it is done") from error
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield
