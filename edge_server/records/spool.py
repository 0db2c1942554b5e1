"""The spool: records in SQLite, signed and chained as they come, marked when the central platform says it holds them.

Each record is on the disk (``synchronous=FULL``) before `Spool.append` returns: what was acknowledged to a person
survives the power. All methods block; a spool may be used from several threads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.records import DISPENSABLE, Body, Kind, decode_body, encode_body, kind_of
from runtime.transactions import Transactions
from wire.records import Held, Line, Record, read_line, to_bytes, write_line

SPOOL_NAME = "records.db"
SPOOL_MAX_BYTES = 512 * 1024 * 1024
"""2.5 years of a township of 60 stations (about 0.5 MB a day)."""
DISPENSABLE_MAX_BYTES = SPOOL_MAX_BYTES // 2
"""From here on probes and heartbeats are left out, so that sessions, faults and answers have room."""
KEPT = {"session": timedelta(days=400), "fault": timedelta(days=400)}
KEPT_ELSE = timedelta(days=100)
"""After it was delivered; SEC-11 allows session detail for 13 months, the check page shows 90 days."""
BUSY_S = 5.0
FAILURE_MAX_LETTERS = 300
_AT = "%Y-%m-%dT%H:%M:%S.%fZ"
_EMPTY = (("home_at", ""), ("failure", ""))
_TABLES = """
create table if not exists record (
    seq integer primary key autoincrement, at text not null, kind text not null, station text not null,
    line blob not null, home integer not null default 0);
create index if not exists not_home on record (seq) where home = 0;
create index if not exists by_kind on record (kind, seq);
create table if not exists fact (name text primary key, value text not null) without rowid;
"""
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
log = structlog.get_logger()


class SpoolFull(OSError):
    """No room: the disk is full, or SPOOL_MAX_BYTES are reached. Nothing was recorded."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A record as it is shown here."""

    seq: int
    at: str
    kind: Kind
    station: str
    body: Body
    home: bool
    """Whether the central platform holds it."""


@dataclass(frozen=True, slots=True)
class SpoolState:
    """For people."""

    store: str
    last_seq: int
    waiting: int
    """Records that are not home yet."""
    oldest_waiting_at: str
    dropped: int
    """Probes and heartbeats, since the spool was made, for which there was no room."""
    bytes: int
    home_at: str
    """When the last delivery was answered; empty before the first."""
    failure: str
    """Why the last delivery was not, or what of it was refused; empty when all is well."""


class Spool:
    """The spool of one edge folder."""

    def __init__(self, root: Path, edge: str, key: Ed25519PrivateKey, *, new_id: Callable[[], str]) -> None:
        """Open it, or make it. ``new_id`` gives 16 random hexadecimal digits for a spool that is made.

        One that is damaged is put aside, and a new one begun: numbers of the old one that were not home are lost, and
        the central platform sees a new store.

        Raises:
            OSError: the disk fails.
        """
        self._path, self._edge, self._key, self._new_id = root / SPOOL_NAME, edge, key, new_id
        try:
            self._base = self._open()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode not in _BROKEN:
                raise OSError(f"{self._path}: {error}") from error
            self._put_aside(error)
            self._base = self._open()
        self._turns = Transactions(self._base, _as_disk)

    def close(self) -> None:
        """Close the file."""
        self._turns.close()

    def append(self, body: Body, *, station: str, now: datetime, sure: bool) -> int:
        """Record something; it is on the disk when this returns. Returns its number.

        Raises:
            domain.records.RecordError: a member is out of its bounds.
            SpoolFull: see there.
            OSError: the disk fails.
        """
        kind, raw = kind_of(body), encode_body(body)
        with self._turns.writing():
            facts = self._facts()
            limit = DISPENSABLE_MAX_BYTES if kind in DISPENSABLE else SPOOL_MAX_BYTES
            if self._bytes() > limit:
                self._put("dropped", str(int(facts["dropped"]) + 1))
                full = True
            else:
                full, seq = False, int(facts["seq"]) + 1
                at = now.strftime(_AT)
                record = Record(
                    edge=self._edge,
                    store=facts["store"],
                    seq=seq,
                    at=at,
                    sure=sure,
                    station=station,
                    kind=kind,
                    body=msgspec.Raw(raw),
                    prev=facts["head"],
                )
                line = write_line(record, self._key)
                self._base.execute(
                    "insert into record (seq, at, kind, station, line) values (?, ?, ?, ?, ?)",
                    (seq, at, kind, station, to_bytes(line)),
                )
                self._put("seq", str(seq))
                self._put("head", line.digest)
        if full:
            raise SpoolFull("the spool of records is full; bring what waits home (uplink or USB)")
        return seq

    def waiting(self, *, max_bytes: int) -> list[bytes]:
        """Return lines that are not home, oldest first, of about so many bytes (one at least)."""
        lines: list[bytes] = []
        length = 0
        with self._turns.reading():
            for (line,) in self._base.execute("select line from record where home = 0 order by seq"):
                if lines and length + len(line) > max_bytes:
                    break
                lines.append(line)
                length += len(line)
        return lines

    def arrived(self, held: Held) -> int:
        """Mark what the central platform holds; return how many came home by that."""
        changed = 0
        with self._turns.writing():
            if held.edge != self._edge or held.store != self._facts()["store"]:
                return 0
            for first, last in held.spans:
                found = self._base.execute(
                    "update record set home = 1 where home = 0 and seq between ? and ?", (first, last)
                )
                changed += found.rowcount
        return changed

    def send_again(self) -> int:
        """Forget that anything is home: all that is kept here is delivered once more. Returns how many."""
        with self._turns.writing():
            return self._base.execute("update record set home = 0 where home = 1").rowcount

    def forget(self, now: datetime) -> int:
        """Remove what is home and old; return how many."""
        removed = 0
        with self._turns.writing():
            for kind in [kind for (kind,) in self._base.execute("select distinct kind from record")]:
                before = (now - KEPT.get(kind, KEPT_ELSE)).strftime(_AT)
                removed += self._base.execute(
                    "delete from record where home = 1 and kind = ? and at < ?", (kind, before)
                ).rowcount
        return removed

    def shown(
        self, kinds: Iterable[Kind], *, since: datetime, station: str | None = None, max_count: int
    ) -> list[Noted]:
        """Return the newest records of these kinds, newest first."""
        wanted = list(kinds)
        marks = ",".join("?" * len(wanted))
        at = since.strftime(_AT)
        where, values = ("", []) if station is None else (" and station = ?", [station])
        with self._turns.reading():
            rows = self._base.execute(
                f"select seq, kind, station, line, home from record where kind in ({marks}) and at >= ?{where} "
                "order by seq desc limit ?",
                (*wanted, at, *values, max_count),
            ).fetchall()
        return [
            Noted(seq, line.record.at, kind, of, decode_body(kind, line.record.body), bool(home))
            for seq, kind, of, line, home in ((s, k, o, _line(raw), h) for s, k, o, raw, h in rows)
        ]

    def state(self) -> SpoolState:
        """Return how it stands."""
        with self._turns.reading():
            facts = self._facts()
            waiting, oldest = self._base.execute("select count(*), min(at) from record where home = 0").fetchone()
            return SpoolState(
                facts["store"],
                int(facts["seq"]),
                waiting,
                oldest or "",
                int(facts["dropped"]),
                self._bytes(),
                facts["home_at"],
                facts["failure"],
            )

    def note_delivery(self, now: datetime, failure: str) -> None:
        """Keep how the last delivery ended; ``failure`` is empty when it was answered and nothing refused."""
        with self._turns.writing():
            if not failure:
                self._put("home_at", now.strftime(_AT))
            self._put("failure", failure[:FAILURE_MAX_LETTERS])

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        base = sqlite3.connect(self._path, timeout=BUSY_S, check_same_thread=False, isolation_level=None)
        try:
            base.execute("pragma journal_mode = wal")
            base.execute("pragma synchronous = full")
            base.executescript(_TABLES)
            with base:
                base.execute("begin immediate")
                for name, value in (("store", self._new_id()), ("seq", "0"), ("head", ""), ("dropped", "0"), *_EMPTY):
                    base.execute("insert or ignore into fact values (?, ?)", (name, value))
            if base.execute("pragma quick_check(1)").fetchone() != ("ok",):
                error = sqlite3.DatabaseError("damaged pages")
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error
        except BaseException:
            base.close()
            raise
        return base

    def _put_aside(self, error: Exception) -> None:
        for number in range(1000):
            aside = self._path.with_name(f"{SPOOL_NAME}.damaged-{number}")
            if not aside.exists():
                break
        log.error("the spool of records is damaged and put aside", file=str(aside), why=str(error))
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(SPOOL_NAME + suffix).unlink(missing_ok=True)

    def _facts(self) -> dict[str, str]:
        return dict(self._base.execute("select name, value from fact"))

    def _put(self, name: str, value: str) -> None:
        self._base.execute("update fact set value = ? where name = ?", (value, name))

    def _bytes(self) -> int:
        pages, free, size = (
            self._base.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)


def _line(raw: bytes) -> Line:
    return read_line(raw)


def _as_disk(error: sqlite3.Error) -> OSError:
    code = getattr(error, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_FULL,):
        return SpoolFull("磁盘已满，没有记录 / the disk is full; nothing was recorded")
    return OSError(f"the spool of records: {error}")
