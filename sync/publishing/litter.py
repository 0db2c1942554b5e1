"""Small files that nothing leads to any more: written down when they are made, removed two releases later."""

from __future__ import annotations

from collections.abc import Iterable

from sync.publishing.index import Index
from sync.publishing.outbox import Outbox


def note_litter(index: Index, channel: str, seq: int, names: Iterable[str]) -> None:
    """Write down that release ``seq`` leads to these files; whatever it does not name is litter some time."""
    with index.reading() as database:
        database.executemany(
            "insert into litter values (?, ?, ?) on conflict (path) do update set seq = max(seq, excluded.seq)",
            ((name, channel, seq) for name in names),
        )


def clear_litter(outbox: Outbox, index: Index, channel: str, seq: int) -> None:
    """Remove the files to which neither release ``seq``, which is signed, nor the one before leads."""
    with index.reading() as database:
        rows = database.execute("select path from litter where channel = ? and seq < ?", (channel, seq - 1)).fetchall()
        for (name,) in rows:
            outbox.path(name).unlink(missing_ok=True)
        database.execute("delete from litter where channel = ? and seq < ?", (channel, seq - 1))
