"""Rows by name, oldest first, that can also be found by other things that they have. Pure.

Whatever is asked of it costs the same however many rows there are: an address with a thousand logins waiting must not
slow the login of another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Rows(Generic[T]):
    """The table. What a row is found by must not change while it is in."""

    def __init__(self, **found_by: Callable[[T], Hashable]) -> None:
        """Begin empty; each argument names one thing and says how it is read from a row."""
        self._rows: OrderedDict[str, T] = OrderedDict()
        self._found_by: Mapping[str, Callable[[T], Hashable]] = found_by
        self._names: dict[str, dict[Hashable, OrderedDict[str, None]]] = {each: {} for each in found_by}

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def __iter__(self) -> Iterator[T]:
        """All rows, the oldest first; a copy, so that they may be taken out meanwhile."""
        return iter(tuple(self._rows.values()))

    def get(self, name: str) -> T | None:
        """Return a row."""
        return self._rows.get(name)

    def put(self, name: str, row: T) -> None:
        """Enter a row as the newest; one of the same name goes."""
        self.pop(name)
        self._rows[name] = row
        for what, read in self._found_by.items():
            self._names[what].setdefault(read(row), OrderedDict())[name] = None

    def touch(self, name: str) -> None:
        """Make a row the newest."""
        row = self._rows[name]
        self._rows.move_to_end(name)
        for what, read in self._found_by.items():
            self._names[what][read(row)].move_to_end(name)

    def pop(self, name: str) -> T | None:
        """Take a row out; None when it was not there."""
        row = self._rows.pop(name, None)
        if row is None:
            return None
        for what, read in self._found_by.items():
            names = self._names[what][read(row)]
            del names[name]
            if not names:
                del self._names[what][read(row)]
        return row

    def oldest(self) -> tuple[str, T] | None:
        """Return the name of the oldest row, and the row."""
        return next(iter(self._rows.items()), None)

    def count(self, what: str, value: Hashable) -> int:
        """Count the rows that have it."""
        return len(self._names[what].get(value, ()))

    def oldest_of(self, what: str, value: Hashable) -> str:
        """Return the name of the oldest row that has it.

        Raises:
            KeyError: none has.
        """
        return next(iter(self._names[what][value]))

    def newest_of(self, what: str, value: Hashable) -> T | None:
        """Return the newest row that has it."""
        names = self._names[what].get(value)
        return self._rows[next(reversed(names))] if names else None

    def all_of(self, what: str, value: Hashable) -> tuple[tuple[str, T], ...]:
        """List the rows that have it, each with its name, the oldest first."""
        return tuple((name, self._rows[name]) for name in self._names[what].get(value, ()))
