"""The access log: one line an answer, in the combined format that every log reader knows; off unless asked for."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

PENDING_MAX_BYTES = 256 * 1024
"""Lines that wait to be written; more are lost, and counted."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Journal:
    """Appends whole lines, so that several processes may share a file; a file that was moved away is made anew."""

    def __init__(self, file: Path) -> None:
        """Open the file.

        Raises:
            OSError: it cannot be written.
        """
        self._file = file
        self._fd = self._open()
        self._lines: list[bytes] = []
        self._pending_bytes = 0
        self.lost = 0
        """Lines that found no room."""

    def note(self, peer: str, request: str, status: int, body_bytes: int, agent: str, now: datetime) -> None:
        """Remember one answer; ``request`` is the request line."""
        when = f"{now.day:02d}/{_MONTHS[now.month - 1]}/{now.year}:{now:%H:%M:%S} +0000"
        line = f'{peer} - - [{when}] "{_quoted(request)}" {status} {body_bytes} "-" "{_quoted(agent)}"\n'.encode(
            "latin-1"
        )
        if self._pending_bytes + len(line) > PENDING_MAX_BYTES:
            self.lost += 1
            return
        self._lines.append(line)
        self._pending_bytes += len(line)

    def flush(self) -> None:
        """Write what is remembered; a full disk costs the lines, not the service."""
        if not self._lines:
            return
        lines, self._lines, self._pending_bytes = self._lines, [], 0
        try:
            if not _is(self._file, self._fd):
                os.close(self._fd)
                self._fd = -1
            if self._fd < 0:
                self._fd = self._open()
            os.write(self._fd, b"".join(lines))
        except OSError:
            self.lost += len(lines)

    def close(self) -> None:
        """Write the rest."""
        self.flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        return os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _is(file: Path, fd: int) -> bool:
    try:
        there, here = file.stat(), os.fstat(fd)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _quoted(text: str) -> str:
    """Keep a line one line whatever a client sends."""
    if text.isprintable() and text.isascii() and '"' not in text and "\\" not in text:
        return text
    return text.encode("unicode_escape").decode("ascii").replace('"', "\\x22")
