"""One SQLite connection for several threads: each use is alone with it, and a change is whole or did not happen."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Transactions:
    """Guards a connection that was opened with ``isolation_level=None`` and ``check_same_thread=False``."""

    def __init__(self, base: sqlite3.Connection, as_disk: Callable[[sqlite3.Error], OSError]) -> None:
        """``as_disk`` says what a fault of SQLite is to whoever waits."""
        self._base, self._as_disk, self._lock = base, as_disk, threading.Lock()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Change something; it is on the disk when the block ends, or nothing of it is.

        Raises:
            OSError: as ``as_disk`` makes it.
        """
        with self._lock:
            try:
                self._base.execute("begin immediate")
                try:
                    yield
                except BaseException:
                    self._base.execute("rollback")
                    raise
                self._base.execute("commit")
            except sqlite3.Error as error:
                if self._base.in_transaction:
                    self._base.execute("rollback")
                raise self._as_disk(error) from error

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Look at something.

        Raises:
            OSError: as ``as_disk`` makes it.
        """
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise self._as_disk(error) from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._base.close()
