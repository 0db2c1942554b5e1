"""Which bytes of which pack an object can give, in SQLite.

Written down when the object comes, since only then the edge is told the places. Disposable: an object whose places are
lost serves boxes as before, only neighbours do not get it from here.

A row is a row of units that lie back to back in one pack, of about SPAN_MAX_BYTES, so that a part of a pack is found by
few rows. 1 TB of lessons makes 250,000 rows.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sync.recipe import UNIT_MAX_BYTES

SPAN_MAX_BYTES = 4 * 1024 * 1024
"""Of a row; one unit may be longer."""
_REACH_BYTES = max(SPAN_MAX_BYTES, UNIT_MAX_BYTES)
_VERSION = 1
_BUSY_S = 2.0
_CACHE_KIB = 2 * 1024
_TABLES = f"""
create table span (pack blob not null, start integer not null, stop integer not null, object blob not null,
    first integer not null, stored blob not null, primary key (pack, start, object)) without rowid;
create index by_object on span (object);
pragma user_version = {_VERSION};
"""
_STORED = np.dtype("<u4")
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
T = TypeVar("T")


@dataclass(frozen=True)
class Span:
    """Units of one object that lie back to back in a pack."""

    pack: bytes
    """Hash, 32 bytes."""
    start: int
    stop: int
    sha256: str
    """Of the object."""
    first: int
    """Ordinal of the first unit."""
    stored: NDArray[np.int64]
    """Bytes of each unit in the pack."""


class Book:
    """One connection, used by one thread at a time; opened when first needed. Never fails: it knows less instead.

    Several processes may have it open.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet."""
        self._path = path
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None

    def put(self, sha256: str, spans: Iterable[Span]) -> None:
        """Write down the places of an object, in place of those that were known."""
        rows = [
            (each.pack, each.start, each.stop, bytes.fromhex(sha256), each.first, each.stored.astype(_STORED).tobytes())
            for each in spans
        ]

        def work(database: sqlite3.Connection) -> None:
            with database:
                database.execute("delete from span where object = ?", (bytes.fromhex(sha256),))
                database.executemany("insert or replace into span values (?, ?, ?, ?, ?, ?)", rows)

        self._guarded(work, None)

    def remove(self, sha256: str) -> None:
        """Forget the places of an object."""
        self.put(sha256, ())

    def of(self, sha256: str) -> list[Span]:
        """Return the places of an object."""
        query = "select pack, start, stop, object, first, stored from span where object = ? order by first"
        return self._spans(query, (bytes.fromhex(sha256),))

    def within(self, pack: str, start: int, stop: int) -> list[Span]:
        """Return what has bytes of that part of a pack, by position."""
        query = (
            "select pack, start, stop, object, first, stored from span"
            " where pack = ? and start > ? and start < ? and stop > ? order by start"
        )
        return self._spans(query, (bytes.fromhex(pack), start - _REACH_BYTES, stop, start))

    def objects(self) -> set[str]:
        """Return the objects whose places are known."""
        rows: list[Any] = self._guarded(lambda it: it.execute("select distinct object from span").fetchall(), [])
        return {row[0].hex() for row in rows}

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _spans(self, query: str, words: tuple[Any, ...]) -> list[Span]:
        rows: list[Any] = self._guarded(lambda it: it.execute(query, words).fetchall(), [])
        found = []
        for pack, start, stop, sha256, first, raw in rows:
            stored = np.frombuffer(raw, _STORED).astype(np.int64)
            if start + int(stored.sum()) == stop:
                found.append(Span(pack, start, stop, sha256.hex(), first, stored))
        return found

    def _guarded(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Do the work, or nothing when the disk fails or others write; a damaged file makes room for a new one."""
        with self._lock:
            try:
                with self._opened() as database:
                    return work(database)
            except sqlite3.Error as error:
                with suppress(sqlite3.Error, OSError):
                    self.close()
                    if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_NOTADB) & 0xFF in _DAMAGED:
                        for ending in ("", "-wal", "-shm", "-journal"):
                            self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
            return otherwise

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        if self._database is None:
            database = sqlite3.connect(self._path, timeout=_BUSY_S, check_same_thread=False)
            try:
                database.execute("pragma journal_mode = wal")
                database.execute("pragma synchronous = off")
                database.execute(f"pragma cache_size = -{_CACHE_KIB}")
                version = database.execute("pragma user_version").fetchone()[0]
                if version == 0:
                    database.executescript(_TABLES)
                elif version != _VERSION:
                    raise sqlite3.DatabaseError(f"places of version {version}")
            except BaseException:
                database.close()
                raise
            self._database = database
        yield self._database


def spans_of(
    sha256: str, packs: list[bytes], pack: NDArray[Any], offset: NDArray[Any], stored: NDArray[Any]
) -> Iterator[Span]:
    """Cut the places of an object's units (in play order; pack -1: not told) into spans."""
    units = len(pack)
    where, at, size = (np.asarray(each, np.int64) for each in (pack, offset, stored))
    goes_on = (where[1:] == where[:-1]) & (at[1:] == at[:-1] + size[:-1])
    breaks = [0, *(np.flatnonzero(~goes_on) + 1).tolist(), units]
    for low, high in pairwise(breaks):
        if low == high or where[low] < 0:
            continue
        start = low
        while start < high:
            ends = np.cumsum(size[start:high])
            count = max(1, int(np.searchsorted(ends, SPAN_MAX_BYTES, side="right")))
            begin = int(at[start])
            stop = begin + int(ends[count - 1])
            yield Span(packs[int(where[start])], begin, stop, sha256, start, size[start : start + count])
            start += count
