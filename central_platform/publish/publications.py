"""Numbers the publications, so that people can say "everything since the 37th" of all columns at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec


@dataclass(frozen=True, slots=True)
class Publications:
    """A file with one line a publication: the new release of each channel that it changed.

    A line that is missing or damaged (the machine stopped between publishing and noting) only makes a bundle carry more
    than it must.
    """

    file: Path

    def note(self, seqs: Mapping[str, int]) -> None:
        """Add a publication."""
        with self.file.open("ab") as out:
            out.write(msgspec.json.encode(seqs) + b"\n")

    @property
    def count(self) -> int:
        """How many there were."""
        return len(self._lines())

    def seqs_at(self, number: int) -> dict[str, int]:
        """Return the newest release of each channel at that publication; 0: before the first."""
        seqs: dict[str, int] = {}
        for line in self._lines()[:number]:
            try:
                seqs.update(msgspec.json.decode(line, type=dict[str, int]))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
        return seqs

    def _lines(self) -> list[bytes]:
        try:
            return self.file.read_bytes().splitlines()
        except FileNotFoundError:
            return []
