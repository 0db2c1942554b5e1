"""Which names each release touched, and what they held before: what merged releases are made of.

Kept in the index, for the last HISTORY_RELEASES_MAX releases of a channel. A release is written down before it is
signed, with the hash of its head; rows that the signed head does not confirm are leftovers of a crash. When the rows of
the signed head are lost, they are made anew from the published skip list: coarser (touched "at or before"), so that
merged releases say more than they need to for a while, but never less.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sync.publishing.index import Index

HISTORY_RELEASES_MAX = 512
HISTORY_NAMES_MAX = 50_000
"""Touched names that are kept for one channel. A release that touches more starts afresh: after it the whole listing
costs an edge little more than the merged releases would."""


class Before(NamedTuple):
    """What a name held before a release touched it; empty when it was not there, or nobody knows any more."""

    sha256: str
    recipe_sha256: str


NOTHING = Before("", "")


class Era(NamedTuple):
    """How far back the history of a channel reaches."""

    floor: int
    """Merged releases may begin here or later."""
    exact: bool
    """Whether ``Before`` of the newest release is known."""


class History:
    """The history of one channel."""

    def __init__(self, index: Index, channel: str) -> None:
        """Nothing is read yet."""
        self._index, self._channel = index, channel

    def era(self, seq: int, head_sha256: str) -> Era | None:
        """Return how far the history reaches when it ends with that head; drop what was written down after it.

        None when it is lost.
        """
        with self._index.reading() as database:
            for table in ("touched", "release"):
                database.execute(f"delete from {table} where channel = ? and seq > ?", (self._channel, seq))
            row = database.execute(
                "select head, floor, exact from release where channel = ? and seq = ?", (self._channel, seq)
            ).fetchone()
        if row is None or row[0] != bytes.fromhex(head_sha256):
            return None
        return Era(row[1], bool(row[2]))

    def restart(self, seq: int, head_sha256: str, touched: Sequence[tuple[int, Iterable[str]]], floor: int) -> None:
        """Replace everything by what is known from a skip list.

        Args:
            seq: Of the newest release.
            head_sha256: Of its head.
            touched: Seq and names: those names were touched at that seq or earlier.
            floor: See ``Era``.
        """
        with self._index.reading() as database:
            for table in ("touched", "release"):
                database.execute(f"delete from {table} where channel = ?", (self._channel,))
            names = 0
            for at, touched_names in touched:
                rows = [(self._channel, at, name) for name in touched_names]
                names += len(rows)
                database.executemany("insert or ignore into touched values (?, ?, ?, null, null)", rows)
            database.execute(
                "insert into release values (?, ?, ?, ?, ?, 0)",
                (self._channel, seq, bytes.fromhex(head_sha256), floor, names),
            )

    def floor_after(self, seq: int, floor: int, names: int) -> int:
        """Return how far back the history may reach once release ``seq`` has touched that many names."""
        floor, total = max(floor, seq - HISTORY_RELEASES_MAX), 0
        with self._index.reading() as database:
            counts = database.execute(
                "select seq, count(*) from touched where channel = ? and seq > ? and seq < ? group by seq"
                " order by seq desc",
                (self._channel, floor, seq),
            ).fetchall()
        for at, count in [(seq, names), *counts]:
            total += count
            if total > HISTORY_NAMES_MAX:
                return int(at)
        return floor

    def record(self, seq: int, head_sha256: str, befores: Mapping[str, Before], floor: int) -> None:
        """Write down a release that is about to be signed: what each touched name held before it."""
        with self._index.reading() as database:
            if floor < seq:
                database.executemany(
                    "insert or replace into touched values (?, ?, ?, ?, ?)",
                    (
                        (self._channel, seq, name, _key(before.sha256), _key(before.recipe_sha256))
                        for name, before in befores.items()
                    ),
                )
            database.execute(
                "insert or replace into release values (?, ?, ?, ?, ?, ?)",
                (self._channel, seq, bytes.fromhex(head_sha256), floor, len(befores), floor < seq or seq == 1),
            )

    def befores(self, seq: int, bases: Sequence[int]) -> Iterator[tuple[int, Mapping[str, Before]]]:
        """Yield for each base (descending) all names touched after it, up to ``seq``, and what they held at base.

        The mapping is the same one each time, growing: use it before going on.
        """
        held: dict[str, Before] = {}
        above = seq
        for base in bases:
            with self._index.reading() as database:
                rows = database.execute(
                    "select name, object, recipe from touched where channel = ? and seq > ? and seq <= ?"
                    " order by seq desc",
                    (self._channel, base, above),
                ).fetchall()
            for name, sha256, recipe in rows:
                held[name] = Before(sha256.hex(), recipe.hex()) if sha256 else NOTHING
            above = base
            yield base, held

    def names_after(self, base: int) -> set[str]:
        """Return the names that were touched after the base."""
        with self._index.reading() as database:
            rows = database.execute(
                "select distinct name from touched where channel = ? and seq > ?", (self._channel, base)
            ).fetchall()
        return {row[0] for row in rows}

    def objects_before(self, seq: int, releases: int) -> set[Before] | None:
        """Return the objects that were replaced or removed by the last releases; None when that is not known."""
        with self._index.reading() as database:
            exact = database.execute(
                "select min(exact), count(*) from release where channel = ? and seq > ?",
                (self._channel, seq - releases),
            ).fetchone()
            if not exact[0] or exact[1] < min(releases, seq):
                return None
            rows = database.execute(
                "select distinct object, recipe from touched where channel = ? and seq > ? and object is not null",
                (self._channel, seq - releases),
            ).fetchall()
        return {Before(row[0].hex(), row[1].hex()) for row in rows}

    def trim(self, seq: int, floor: int) -> None:
        """Drop what lies below the floor. Only when the release at ``seq`` is signed."""
        with self._index.reading() as database:
            database.execute("delete from touched where channel = ? and seq <= ?", (self._channel, floor))
            database.execute(
                "delete from release where channel = ? and seq < ?", (self._channel, seq - HISTORY_RELEASES_MAX)
            )


def _key(sha256: str) -> bytes | None:
    return bytes.fromhex(sha256) if sha256 else None
