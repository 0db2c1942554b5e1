"""What the publisher knows of its own packs and cards, in SQLite: which units lie where, which objects have a card.

Disposable: all of it follows from what is published. The file never speaks of a pack that is not durable yet (it is
committed after the pack was put in place), and what it says is looked at again before anything relies on it.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from sync import NoSpace, SyncError

_VERSION, _BEING_BUILT = 2, 1
_CACHE_KIB = 16 * 1024
_BUSY_WAIT_S = 10.0
_TABLES = f"""
create table pack (id integer primary key, sha256 blob not null unique);
create table unit (sha256 blob primary key, pack integer not null, offset integer not null, stored integer not null,
    length integer not null, owner integer not null) without rowid;
create table object (id integer primary key, sha256 blob not null unique, recipe blob not null,
    length integer not null, raw integer not null, stored integer not null);
create index object_length on object (length);
create table delta (recipe blob not null, base blob not null, stored blob, primary key (recipe, base)) without rowid;
create table release (channel text not null, seq integer not null, head blob not null, floor integer not null,
    names integer not null, exact integer not null, primary key (channel, seq)) without rowid;
create table touched (channel text not null, seq integer not null, name text not null, object blob, recipe blob,
    primary key (channel, seq, name)) without rowid;
create table litter (path text primary key, channel text not null, seq integer not null) without rowid;
pragma user_version = {_BEING_BUILT};
"""


class IndexDamaged(SyncError):
    """The index cannot be read; it has to be made anew."""


class Spot(NamedTuple):
    """Where a unit lies."""

    pack: str
    offset: int
    stored: int
    length: int
    owner: int
    """Number of the object that had it last."""


class Known(NamedTuple):
    """An object that has a card."""

    number: int
    sha256: str
    recipe_sha256: str
    length_bytes: int
    raw_length: int
    """Of its recipe, in bytes."""
    stored_length: int
    """Of its recipe as it stands in the card, in bytes."""


class Index:
    """An open index. Changes count from ``commit`` on."""

    def __init__(self, path: Path, *, check: bool = False, build: bool = False) -> None:
        """Open the file.

        Args:
            path: Of the file.
            check: Read all of it through first.
            build: Make it, in place of what is there; it counts from ``built`` on.

        Raises:
            IndexDamaged: it is not there, not finished, not of this version, or damaged.
            NoSpace: the disk is full.
        """
        if build:
            for ending in ("", "-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
        self._path = path
        with self._failures():
            # Durable commits: what was touched by a release must be there once the release is.
            self.database = sqlite3.connect(path, timeout=_BUSY_WAIT_S, isolation_level=None)
            try:
                self._prepare(check, build)
            except BaseException:
                self.database.close()
                raise

    def _prepare(self, check: bool, build: bool) -> None:
        self.database.execute(f"pragma cache_size = -{_CACHE_KIB}")
        self.database.execute("pragma journal_mode = wal")
        self.database.execute("pragma synchronous = full")
        if build:
            self.database.executescript(f"begin; {_TABLES} commit;")
        (version,) = self.database.execute("pragma user_version").fetchone()
        if version != (_BEING_BUILT if build else _VERSION):
            raise IndexDamaged(f"{self._path} is unfinished or of another version")
        if check and (said := self.database.execute("pragma quick_check(1)").fetchone()[0]) != "ok":
            raise IndexDamaged(f"{self._path} is damaged: {said}")
        self.database.execute("begin")

    def commit(self) -> None:
        """Make everything since the last commit count; durable when this returns.

        Raises:
            NoSpace: the disk is full; nothing since the last commit counts.
        """
        with self._failures():
            self.database.execute("commit")
            self.database.execute("begin")

    def built(self) -> None:
        """Let it count, after ``build``."""
        with self._failures():
            self.database.execute(f"pragma user_version = {_VERSION}")
        self.commit()

    def close(self) -> None:
        """Let go of the file; what was not committed is forgotten."""
        with suppress(sqlite3.Error):  # nothing was begun, or the disk is full: closing forgets it too
            self.database.execute("rollback")
        self.database.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one statement or several; failures become ours.

        Raises:
            IndexDamaged: the file is damaged.
            NoSpace: the disk is full.
        """
        with self._failures():
            yield self.database

    def unit(self, digest: bytes) -> Spot | None:
        """Return where a unit of that hash lies."""
        with self._failures():
            row = self.database.execute(
                "select pack.sha256, offset, stored, length, owner from unit join pack on pack.id = unit.pack"
                " where unit.sha256 = ?",
                (digest,),
            ).fetchone()
        return Spot(row[0].hex(), *row[1:]) if row else None

    def add_units(self, rows: Iterable[tuple[bytes, str, int, int, int, int]]) -> None:
        """Tell where units lie: hash, pack, offset, stored length, length, number of the owner."""
        packs: dict[str, int] = {}
        with self._failures():
            for digest, pack, offset, stored, length, owner in rows:
                if pack not in packs:
                    packs[pack] = self._pack_number(pack)
                self.database.execute(
                    "insert or replace into unit values (?, ?, ?, ?, ?, ?)",
                    (digest, packs[pack], offset, stored, length, owner),
                )

    def own(self, digests: Iterable[bytes], owner: int) -> None:
        """Write down which object had these units last."""
        with self._failures():
            self.database.executemany("update unit set owner = ? where sha256 = ?", ((owner, each) for each in digests))

    def object(self, sha256: str) -> Known | None:
        """Return what is known of the object of that hash."""
        return self._object("sha256", bytes.fromhex(sha256))

    def has_length(self, length_bytes: int) -> bool:
        """Tell whether any known object is as long as that: if none is, its hash need not be made to look it up."""
        with self._failures():
            return (
                self.database.execute("select 1 from object where length = ?", (length_bytes,)).fetchone() is not None
            )

    def object_number(self, number: int) -> Known | None:
        """Return what is known of the object of that number."""
        return self._object("id", number)

    def add_object(
        self, sha256: str, recipe_sha256: str, length_bytes: int, raw_length: int, stored_length: int
    ) -> int:
        """Write down an object, in place of what is known of it; return its number."""
        values = (bytes.fromhex(recipe_sha256), length_bytes, raw_length, stored_length)
        with self._failures():
            (number,) = self.database.execute(
                "insert into object (sha256, recipe, length, raw, stored) values (?, ?, ?, ?, ?)"
                " on conflict (sha256) do update set recipe = ?, length = ?, raw = ?, stored = ? returning id",
                (bytes.fromhex(sha256), *values, *values),
            ).fetchone()
        return int(number)

    def remove_object(self, sha256: str) -> None:
        """Forget an object; its units stay until their pack goes."""
        with self._failures():
            self.database.execute("delete from object where sha256 = ?", (bytes.fromhex(sha256),))

    def remove_pack(self, sha256: str) -> None:
        """Forget a pack and all units in it."""
        with self._failures():
            row = self.database.execute("select id from pack where sha256 = ?", (bytes.fromhex(sha256),)).fetchone()
            if row:
                self.database.execute("delete from unit where pack = ?", row)
                self.database.execute("delete from pack where id = ?", row)

    def _object(self, column: str, value: bytes | int) -> Known | None:
        with self._failures():
            row = self.database.execute(
                f"select id, sha256, recipe, length, raw, stored from object where {column} = ?", (value,)
            ).fetchone()
        return Known(row[0], row[1].hex(), row[2].hex(), *row[3:]) if row else None

    def _pack_number(self, sha256: str) -> int:
        key = (bytes.fromhex(sha256),)
        self.database.execute("insert or ignore into pack (sha256) values (?)", key)
        (number,) = self.database.execute("select id from pack where sha256 = ?", key).fetchone()
        return int(number)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        with index_failures(self._path):
            yield


@contextmanager
def index_failures(path: Path) -> Iterator[None]:
    """Turn what SQLite says into our failures."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or (
            code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _free_bytes(path) < _FULL_BELOW_BYTES
        ):
            raise NoSpace(_FULL_BELOW_BYTES, _free_bytes(path)) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT):
            raise IndexDamaged(f"{path}: {error}") from error
        raise SyncError(f"cannot use {path}: {error}") from error


_FULL_BELOW_BYTES = 1024 * 1024
"""SQLite calls a full disk an input-output error when it is its shared memory that does not fit."""


def _free_bytes(path: Path) -> int:
    return shutil.disk_usage(path.parent).free
