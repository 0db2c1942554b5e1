"""The bytes that must come out."""

from __future__ import annotations

import mmap
from pathlib import Path


class Whole:
    """The transport stream that was published, and where each compared session stands in it."""

    def __init__(self, file: Path) -> None:
        with file.open("rb") as source:
            self.bytes = mmap.mmap(source.fileno(), 0, prot=mmap.PROT_READ)
        self.view = memoryview(self.bytes)
        self.at: dict[int, int] = {}

    def same(self, session: int, payload: bytes) -> bool:
        """Tell whether these bytes are the next ones of the file; a stream that begins anew is found again."""
        at = self.at.get(session, -1)
        if at < 0 or self.view[at : at + len(payload)] != payload:
            hint = self.bytes.find(payload) if at < 0 or at + len(payload) > len(self.bytes) else -1
            if hint < 0:
                self.at.pop(session, None)
                return False
            at = hint
        self.at[session] = at + len(payload)
        return True
