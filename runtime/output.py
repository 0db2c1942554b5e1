"""What the command lines print: JSON lines for programs on stdout, words for people on stderr.

Long jobs print one object a line with ``type`` = ``progress`` | ``item`` | ``error`` | ``summary`` (architecture §7).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

import click
import msgspec

from runtime.settings import Origin


class Exit(IntEnum):
    """Exit codes of all three programs (architecture §7)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    BAD_CONFIG = 4
    UNREACHABLE = 5
    DISK_FULL = 6
    BENCH_MISSED = 99
    INTERRUPTED = 130


JSON = click.option("--json", "as_json", is_flag=True, help="JSON 行输出 / JSON lines on stdout.")
"""What every command takes."""


class Output:
    """One command's voice."""

    def __init__(self, *, json: bool) -> None:
        """``json`` chooses JSON lines; otherwise plain words."""
        self.json = json

    def emit(self, kind: str, /, **fields: Any) -> None:
        """Print one JSON line (nothing without ``--json``)."""
        if self.json:
            line = msgspec.json.encode({"type": kind, **fields}, order=None)
            click.echo(line.decode())
            sys.stdout.flush()

    def say(self, text: str) -> None:
        """Print words for a person: on stdout, or on stderr when stdout belongs to JSON."""
        click.echo(text, err=self.json)

    def settings(self, origins: Mapping[str, Origin]) -> None:
        """Print each setting with its value and where that came from."""
        for name, origin in origins.items():
            self.emit("item", setting=name, value=origin.value, source=origin.source)
            if not self.json:
                self.say(f"{name} = {origin.value!r}  ({origin.source})")

    def fail(self, code: Exit, reason: str, text: str, **fields: Any) -> click.exceptions.Exit:
        """Print an error both ways and return the exception that ends the command."""
        self.emit("error", reason=reason, message=text, **fields)
        click.echo(text, err=True)
        return click.exceptions.Exit(int(code))

    def progress(self, label: str) -> Callable[[float], None]:
        """Return a function that takes a fraction 0..1 and shows it: a bar on a TTY, JSON lines otherwise."""
        return _Progress(self, label)


class _Progress:
    """Shows steps of one per cent at most, so that a pipe is not flooded."""

    def __init__(self, output: Output, label: str) -> None:
        self._output, self._label, self._shown = output, label, -1
        self._bar: Any = None

    def __call__(self, fraction: float) -> None:
        percent = int(min(1.0, max(0.0, fraction)) * 100)
        if percent <= self._shown:
            return
        step, self._shown = percent - max(0, self._shown), percent
        if self._output.json:
            self._output.emit("progress", label=self._label, percent=percent)
        elif sys.stderr.isatty():
            if self._bar is None:
                self._bar = click.progressbar(length=100, label=self._label, file=sys.stderr)
                self._bar.__enter__()
            self._bar.update(step)
            if percent >= 100:
                self._bar.__exit__(None, None, None)
