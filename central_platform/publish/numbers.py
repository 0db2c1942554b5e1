"""Item and column numbers: given out once, never again, also across crashes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: int = 0
    columns: int = 0


class NumbersDamaged(ValueError):
    """The file of numbers cannot be read; giving out numbers from it could use one twice."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """How many numbers of each kind were given out, kept in one small file."""

    file: Path

    def read(self) -> tuple[int, int]:
        """Return how many item and column numbers were ever given out.

        Raises:
            NumbersDamaged: the file is there and is not ours.
        """
        if not self.file.exists():
            return 0, 0
        try:
            stored = msgspec.json.decode(self.file.read_bytes(), type=_Stored)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise NumbersDamaged(f"{self.file}: {error}; restore it from a backup") from error
        return stored.items, stored.columns

    def write(self, items: int, columns: int) -> None:
        """Keep the new counts: on disk before the first use of a number."""
        draft = self.file.with_suffix(".tmp")
        with draft.open("wb") as out:
            out.write(msgspec.json.encode(_Stored(items, columns)))
            out.flush()
            os.fsync(out.fileno())
        draft.replace(self.file)
        folder = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
