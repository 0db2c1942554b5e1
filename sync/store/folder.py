"""Published files in a local folder: a USB disk, or a mirror that another program fills."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sync import Missing, TooLong, Unreachable
from sync.store import Received


class FolderSource:
    """See Source; ``root`` is the folder that holds ``metadata/``, ``targets/`` and the rest."""

    def __init__(self, root: Path) -> None:
        """Nothing is opened yet."""
        self._root = root

    def __str__(self) -> str:
        """Name the folder."""
        return str(self._root)

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """See Source."""
        data = await asyncio.to_thread(self._read, name, limit_bytes + 1)
        received(len(data))
        if len(data) > limit_bytes:
            raise TooLong(f"{name} is longer than the {limit_bytes} bytes that are allowed or signed")
        return data

    def _read(self, name: str, most: int) -> bytes:
        if not self._root.is_dir():
            raise Unreachable(f"no folder {self._root}")
        try:
            with (self._root / name).open("rb") as file:
                return file.read(most)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise Missing(f"{self._root} has no {name}") from error
        except OSError as error:
            raise Unreachable(f"cannot read {name} in {self._root}: {error.strerror}") from error

    async def close(self) -> None:
        """See Source."""
