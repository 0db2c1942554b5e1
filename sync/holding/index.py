"""Where units lie: unit hash → (object, ordinal), in SQLite. Disposable: everything in it follows from the recipes.

16 bytes of a hash are kept. That is safe because nothing is believed for being in the index: bytes that were found by
it are hashed in full. At 160 KB a unit, 1 TB of lessons makes 6.5 million rows.
"""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

KEY_BYTES = 16
HASH_BYTES = 32
_ASK_AT_ONCE = 500
_VERSION = 1
_CACHE_KIB = 8 * 1024
_TABLES = f"""
create table object (id integer primary key autoincrement, sha256 blob not null unique);
create table unit (key blob not null, object integer not null, ordinal integer not null, primary key (key, object))
    without rowid;
pragma user_version = {_VERSION};
"""
T = TypeVar("T")


class UnitIndex:
    """One connection, used by one thread at a time; opened when first needed."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet."""
        self._path = path
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None

    def objects(self) -> set[str]:
        """Return the ids of the objects whose units are in the index."""
        with self._opened() as database:
            return {row[0].hex() for row in database.execute("select sha256 from object")}

    def add(self, sha256: str, hashes: bytes) -> None:
        """Add an object; ``hashes`` are those of its units, HASH_BYTES each, in play order."""
        with self._opened() as database, database:
            self._forget(database, sha256, hashes)
            number = database.execute("insert into object (sha256) values (?)", (bytes.fromhex(sha256),)).lastrowid
            rows = ((key, number, ordinal) for ordinal, key in enumerate(_keys(hashes)))
            database.executemany("insert or ignore into unit values (?, ?, ?)", rows)

    def remove(self, sha256: str, hashes: bytes | None) -> None:
        """Drop an object. Without its ``hashes`` its rows stay until ``sweep``, and are not found any more."""
        with self._opened() as database, database:
            self._forget(database, sha256, hashes)

    def find(self, hashes: Sequence[bytes]) -> list[list[tuple[str, int]]]:
        """Return for each hash the objects that have such a unit, and its ordinal there (its first one)."""
        found: dict[bytes, list[tuple[str, int]]] = {}
        keys = [each[:KEY_BYTES] for each in hashes]
        once = list(dict.fromkeys(keys))
        with self._opened() as database:
            for start in range(0, len(once), _ASK_AT_ONCE):
                asked = once[start : start + _ASK_AT_ONCE]
                rows = database.execute(
                    "select key, sha256, ordinal from unit join object on object.id = unit.object"
                    f" where key in ({','.join('?' * len(asked))}) order by object.id desc",
                    asked,
                )
                for key, sha256, ordinal in rows:
                    found.setdefault(key, []).append((sha256.hex(), ordinal))
        return [list(found.get(key, ())) for key in keys]

    def sweep(self) -> None:
        """Drop the rows of objects that are gone."""
        with self._opened() as database, database:
            database.execute("delete from unit where object not in (select id from object)")

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def reset(self) -> None:
        """Begin with an empty file."""
        with self._lock:
            self.close()
            for ending in ("", "-wal", "-shm", "-journal"):
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)

    def guarded(self, work: Callable[[], T], refill: Callable[[], None]) -> T:
        """Do the work; when the file turns out to be damaged, throw it away, refill it, and do the work once more.

        Raises:
            OSError: that does not work either; ENOSPC when the disk is full.
        """
        try:
            return work()
        except sqlite3.Error:
            self.reset()
        try:
            refill()
            return work()
        except sqlite3.Error as error:
            self.close()
            number = errno.ENOSPC if error.sqlite_errorcode == sqlite3.SQLITE_FULL else errno.EIO
            raise OSError(number, f"the index {self._path} cannot be used: {error}") from error

    def _forget(self, database: sqlite3.Connection, sha256: str, hashes: bytes | None) -> None:
        row = database.execute("select id from object where sha256 = ?", (bytes.fromhex(sha256),)).fetchone()
        if row is None:
            return
        if hashes is not None:
            pairs: Iterable[tuple[bytes, int]] = ((key, row[0]) for key in _keys(hashes))
            database.executemany("delete from unit where key = ? and object = ?", pairs)
        database.execute("delete from object where id = ?", row)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._database is None:
                self._database = self._open()
            yield self._database

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, check_same_thread=False)
        try:
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = off")  # what a power cut spoils is made again
            database.execute(f"pragma cache_size = -{_CACHE_KIB}")
            version = database.execute("pragma user_version").fetchone()[0]
            if version == 0:
                database.executescript(_TABLES)
            elif version != _VERSION:
                raise sqlite3.DatabaseError(f"index of version {version}")
        except BaseException:
            database.close()
            raise
        return database


def _keys(hashes: bytes) -> Iterator[bytes]:
    for start in range(0, len(hashes), HASH_BYTES):
        yield hashes[start : start + KEY_BYTES]
