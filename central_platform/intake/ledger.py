"""The ledger: every record that an edge signed, once, as it came, in SQLite. All methods block; any thread may call.

A record is known by its edge, its store and its number. The same one again is nothing new. Another one with the same
three is evidence: it is kept beside the first, and the edge's figures are unverified.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from central_platform.intake.judge import Chain, Link, chain, doubts
from runtime.transactions import Transactions
from wire.records import Held, Line, RecordLineError, read_line, read_lines, to_bytes

LEDGER_NAME = "intake.db"
BUSY_S = 30.0
STRANGERS_MAX_COUNT = 1000
"""Edges that nobody knows, counted; more are left out."""
UNKNOWN = "中心平台没有登记这台边缘服务器，记录未收 / this edge is not entered (edge add); nothing was taken"
FORGED = "签名不符，记录未收 / signature does not fit; not taken"
UNREADABLE = "记录无法解析，未收 / unreadable; not taken"
_TABLES = """
create table if not exists record (
    edge text not null, store text not null, seq integer not null, kind text not null, station text not null,
    at text not null, sure integer not null, digest text not null, prev text not null, line blob not null,
    came_at text not null, road text not null, primary key (edge, store, seq)) without rowid;
create index if not exists by_kind on record (kind, edge, at);
create table if not exists settled (
    edge text not null, store text not null, seq integer not null, primary key (edge, store)) without rowid;
create table if not exists rewritten (
    edge text not null, store text not null, seq integer not null, digest text not null, line blob not null,
    came_at text not null, primary key (edge, store, seq, digest)) without rowid;
create table if not exists refused (
    edge text not null, why text not null, count integer not null, last_at text not null, sample blob not null,
    primary key (edge, why)) without rowid;
"""

KeysOf = Callable[[str], Sequence[Ed25519PublicKey]]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one delivery."""

    fresh: int
    known: int
    rewritten: int
    forged: int
    unreadable: int
    unknown: tuple[str, ...]
    """Edges that are not entered."""
    held: tuple[Held, ...]
    """The answer: of each store in the delivery, what is held now."""


@dataclass(frozen=True, slots=True)
class StoreState:
    """How the records of one store of an edge stand."""

    edge: str
    store: str
    records: int
    chain: Chain
    rewritten: int
    last_at: str
    came_at: str


@dataclass(frozen=True, slots=True)
class EdgeState:
    """How the records of an edge stand."""

    edge: str
    kinds: dict[str, int]
    stores: tuple[StoreState, ...]
    forged: int
    came_at: str

    @property
    def doubts(self) -> list[str]:
        """Why its figures are unverified; empty when they are good."""
        words: list[str] = []
        for each in self.stores:
            words += [w for w in doubts(each.chain, rewritten=each.rewritten, forged=0) if w not in words]
        if len(self.stores) > 1:
            words.append(f"记录库重建过 {len(self.stores) - 1} 次 / its spool was made anew")
        return [*words, *doubts(Chain((), ()), rewritten=0, forged=self.forged)]


class Ledger:
    """The ledger of a platform folder."""

    def __init__(self, root: Path) -> None:
        """Open or make it.

        Raises:
            OSError: the disk fails, or the file is no ledger.
        """
        self._path = root / LEDGER_NAME
        try:
            self._base = sqlite3.connect(self._path, timeout=BUSY_S, check_same_thread=False, isolation_level=None)
            self._base.execute("pragma journal_mode = wal")
            self._base.execute("pragma synchronous = full")
            self._base.executescript(_TABLES)
        except sqlite3.Error as error:
            raise self._as_disk(error) from error
        self._turns = Transactions(self._base, self._as_disk)

    def close(self) -> None:
        """Close the file."""
        self._turns.close()

    def take(self, raw: bytes, keys_of: KeysOf, *, now: datetime, road: str) -> Taken:
        """Take a delivery of lines; when this returns, what is said to be held is on the disk.

        ``road``: how it came, e.g. ``line`` or ``usb``.

        Raises:
            OSError: the disk fails; nothing of it was taken.
        """
        came_at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        counts = dict.fromkeys(("fresh", "known", "rewritten", "forged", "unreadable"), 0)
        touched: dict[tuple[str, str], str] = {}
        unknown: dict[str, None] = {}
        keys: dict[str, Sequence[Ed25519PublicKey]] = {}
        with self._turns.writing():
            for each in read_lines(raw):
                if isinstance(each, RecordLineError):
                    counts["unreadable"] += 1
                    self._refuse("", UNREADABLE, came_at, str(each).encode()[:200])
                    continue
                edge, store = each.record.edge, each.record.store
                if edge not in keys:
                    keys[edge] = keys_of(edge)
                if not keys[edge]:
                    unknown[edge] = None
                    touched.setdefault((edge, store), UNKNOWN)
                    self._refuse(edge, UNKNOWN, came_at, to_bytes(each))
                elif not any(each.is_signed_by(key) for key in keys[edge]):
                    counts["forged"] += 1
                    touched[edge, store] = FORGED
                    self._refuse(edge, FORGED, came_at, to_bytes(each))
                else:
                    touched.setdefault((edge, store), "")
                    counts[self._keep(each, came_at, road)] += 1
            held = []
            for (edge, store), why in touched.items():
                found = self._chain(edge, store)
                self._settle(edge, store, found)
                held.append(Held(edge=edge, store=store, spans=list(found.spans), refused=why))
        return Taken(**counts, unknown=tuple(unknown), held=tuple(held))

    def states(self) -> list[EdgeState]:
        """Return how the records of each edge stand, by name."""
        with self._turns.reading():
            kinds: dict[str, dict[str, int]] = {}
            for edge, kind, count in self._base.execute(
                "select edge, kind, count(*) from record group by edge, kind order by edge, kind"
            ):
                kinds.setdefault(edge, {})[kind] = count
            rewritten = {
                (edge, store): count
                for edge, store, count in self._base.execute(
                    "select edge, store, count(*) from rewritten group by edge, store"
                )
            }
            forged = dict(self._base.execute("select edge, count from refused where why = ?", (FORGED,)))
            stores: dict[str, list[StoreState]] = {edge: [] for edge in kinds}
            for edge, store, count, last_at, came_at in self._base.execute(
                "select edge, store, count(*), max(at), max(came_at) from record group by edge, store order by 1, 5"
            ).fetchall():
                found = self._chain(edge, store)
                stores[edge].append(
                    StoreState(edge, store, count, found, rewritten.get((edge, store), 0), last_at, came_at)
                )
            return [
                EdgeState(
                    edge,
                    kinds.get(edge, {}),
                    tuple(stores.get(edge, ())),
                    forged.get(edge, 0),
                    max((each.came_at for each in stores.get(edge, ())), default=""),
                )
                for edge in sorted({*kinds, *forged})
            ]

    def refused(self) -> list[tuple[str, str, int, str]]:
        """Return what was not taken: edge as it called itself, why, how often, when last."""
        with self._turns.reading():
            return self._base.execute("select edge, why, count, last_at from refused order by edge, why").fetchall()

    def records(self, *, kind: str = "", edge: str = "", since: str = "") -> Iterator[Line]:
        """Yield what is held, by edge, store and number; ``since``: RFC 3339 UTC, by the edge's clock."""
        with self._turns.reading():
            rows = self._base.execute(
                "select line from record where (? = '' or kind = ?) and (? = '' or edge = ?) and at >= ? "
                "order by edge, store, seq",
                (kind, kind, edge, edge, since),
            ).fetchall()
        for (line,) in rows:
            yield read_line(line)

    def _keep(self, line: Line, came_at: str, road: str) -> str:
        record = line.record
        place = (record.edge, record.store, record.seq)
        digest = line.digest
        found = self._base.execute(
            "select digest from record where edge = ? and store = ? and seq = ?", place
        ).fetchone()
        if found is None:
            self._base.execute(
                "insert into record values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *place,
                    record.kind,
                    record.station,
                    record.at,
                    record.sure,
                    digest,
                    record.prev,
                    to_bytes(line),
                    came_at,
                    road,
                ),
            )
            return "fresh"
        if found[0] == digest:
            return "known"
        self._base.execute(
            "insert or ignore into rewritten values (?, ?, ?, ?, ?, ?)", (*place, digest, to_bytes(line), came_at)
        )
        return "rewritten"

    def _refuse(self, edge: str, why: str, at: str, sample: bytes) -> None:
        known = self._base.execute("select 1 from refused where edge = ? and why = ?", (edge, why)).fetchone()
        if known is None:
            (count,) = self._base.execute("select count(*) from refused").fetchone()
            if count >= STRANGERS_MAX_COUNT:
                return
        self._base.execute(
            "insert into refused values (?, ?, 1, ?, ?) on conflict (edge, why) do update set count = count + 1, "
            "last_at = excluded.last_at",
            (edge, why, at, sample),
        )

    def _chain(self, edge: str, store: str) -> Chain:
        """Look at the chain, from where it was whole at the last look."""
        known = self._base.execute("select seq from settled where edge = ? and store = ?", (edge, store)).fetchone()
        settled: int = known[0] if known else 0
        rows = self._base.execute(
            "select seq, digest, prev from record where edge = ? and store = ? and seq >= ? order by seq",
            (edge, store, settled),
        )
        found = chain(Link(*row) for row in rows)
        if not settled or not found.spans:
            return found
        return Chain(((1, found.spans[0][1]), *found.spans[1:]), found.broken)

    def _settle(self, edge: str, store: str, found: Chain) -> None:
        if found.spans and found.spans[0][0] == 1 and not found.broken:
            last = found.spans[0][1]
            self._base.execute(
                "insert into settled values (?, ?, ?) on conflict (edge, store) do update set seq = excluded.seq",
                (edge, store, last),
            )

    def _as_disk(self, error: sqlite3.Error) -> OSError:
        return OSError(f"{self._path}: {error}")
