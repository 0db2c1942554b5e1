"""mpv and VLC as strangers: without a screen or a sound card, told over their own control sockets to play and seek."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fixtures import frame_code

NOBODY = "65534"
"""VLC refuses to run as root."""
WITHIN_S = 40.0
OURS = ("Taking screenshot failed", "Audio device underrun", "[ao/null] illegal state")
"""What mpv says because the test asks before there is a picture, or because the machine is busy."""
Position = Callable[[], float | None]


def until(look: Callable[[], Any], what: str) -> Any:
    """Ask again and again until there is something."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"never: {what}")


def lands(at: Position, to_s: float, asked_s: float) -> Callable[[], bool]:
    """Make the question whether playing goes on at most 3 s from where it was sent, and what has passed since."""

    def there() -> bool:
        passed_s = time.monotonic() - asked_s
        return (now_s := at()) is not None and to_s - 3 <= now_s <= to_s + 3 + passed_s

    return there


def advances(at: Position, from_s: float) -> Callable[[], bool]:
    """Make the question whether playing has gone on by a second."""
    return lambda: (now_s := at()) is not None and from_s + 1 <= now_s <= from_s + 10


@dataclass
class Mpv:
    """One running mpv (its manual, "JSON IPC")."""

    connection: socket.socket
    folder: Path
    frame_rate: int
    _number: int = 0
    _held: bytes = b""
    events: list[dict[str, Any]] = field(default_factory=list)

    def _line(self) -> dict[str, Any]:
        while b"\n" not in self._held:
            piece = self.connection.recv(65536)
            if not piece:
                raise ConnectionError("mpv has ended")
            self._held += piece
        line, _, self._held = self._held.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        if "event" in told:
            self.events.append(told)
        return told

    def ask(self, *command: str | float) -> Any:
        """Run one command; None where mpv has nothing to say (yet)."""
        self._number += 1
        self.connection.sendall(json.dumps({"command": command, "request_id": self._number}).encode() + b"\n")
        while (told := self._line()).get("request_id") != self._number:
            pass
        return told.get("data")

    def position_s(self) -> float | None:
        """Where the picture that is shown is in the lesson; its own number says so, not the player."""
        file = self.folder / "shown.png"
        file.unlink(missing_ok=True)
        self.ask("screenshot-to-file", str(file), "video")
        if not file.exists():
            return None
        with Image.open(file) as picture:
            number = frame_code.read(np.asarray(picture.convert("L")))
        return None if number is None else number / self.frame_rate

    def end(self) -> str:
        """Wait for the end of the file; return why it ended."""
        with suppress(ConnectionError):
            while not any(each["event"] == "end-file" for each in self.events):
                self._line()
        return str(next(each["reason"] for each in self.events if each["event"] == "end-file"))


@contextmanager
def mpv(folder: Path, url: str, *options: str, frame_rate: int = 25, fine: Collection[str] = ()) -> Iterator[Mpv]:
    """Play an address until the block ends; whatever mpv calls an error, and is not ``fine``, is one."""
    door, said = folder / "mpv", folder / "mpv.out"
    command = ["mpv", "--no-config", "--vo=null", "--ao=null", "--msg-level=all=error", f"--input-ipc-server={door}"]
    with said.open("wb") as out:
        process = subprocess.Popen([*command, *options, url], stdout=out, stderr=subprocess.STDOUT)
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            until(lambda: connection.connect_ex(str(door)) == 0, "mpv listens")
            connection.settimeout(WITHIN_S)
            yield Mpv(connection, folder, frame_rate)
        finally:
            process.terminate()
            process.wait(10)
    errors = [each for each in said.read_text().splitlines() if each and not each.startswith((*OURS, *fine))]
    assert errors == []


def as_nobody(*command: str) -> list[str]:
    """Run a program as another user, if this one is root."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]


@dataclass
class Vlc:
    """One running VLC, by its remote control interface."""

    connection: socket.socket

    def ask(self, command: str) -> str:
        """Send a command; return what is told in the next moment."""
        self.connection.sendall(command.encode() + b"\n")
        time.sleep(0.1)
        return self.connection.recv(65536).decode()

    def position_s(self) -> float | None:
        """Whole seconds, by VLC's own word."""
        lines = [each for each in self.ask("get_time").split() if each.isdigit()]
        return float(lines[-1]) if lines else None

    def counted(self, what: str) -> int:
        """Look into the statistics, e.g. for ``frames displayed``."""
        told = self.ask("stats").partition(what)[2].partition(":")[2].split()
        return int(told[0]) if told else 0


@contextmanager
def vlc(url: str, *options: str) -> Iterator[Vlc]:
    """Play an address until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = as_nobody("vlc", "-I", "oldrc", "--rc-fake-tty", f"--rc-host=127.0.0.1:{port}", "--no-interact")
    command += ["--vout=dummy", "--aout=dummy", "--no-media-library", "--play-and-exit", *options, url]
    quiet = subprocess.DEVNULL
    environment = {**os.environ, "HOME": "/nonexistent"}
    process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)
    connection: list[socket.socket] = []

    def open_() -> bool:
        with suppress(OSError):
            connection.append(socket.create_connection(("127.0.0.1", port), timeout=10))
        return bool(connection)

    try:
        until(open_, "VLC listens")
        yield Vlc(connection[0])
    finally:
        for each in connection:
            each.close()
        process.terminate()
        process.wait(10)
