"""Settings of the emulator (file < environment ``STB_EMULATOR_…`` < flags). Only the command line reads this."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from runtime.settings import read, setting


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set for one run."""

    allow: str = setting("", "hosts besides loopback that boxes may talk to, separated by commas")
    concurrency: int = setting(8, "boxes that play at the same time in a matrix")
    connect_timeout_s: float = setting(5.0, "longest wait for a connection, seconds")
    silence_timeout_s: float = setting(10.0, "longest wait for the next byte, seconds")


def load(flags: dict[str, object]) -> Settings:
    """Read the settings of this run.

    Raises:
        runtime.settings.ConfigError: a value of the wrong type or an unknown name.
    """
    file = os.environ.get("STB_EMULATOR_DIR")
    path = Path(file) / "stb_emulator.toml" if file else None
    settings, _ = read(Settings, prefix="STB_EMULATOR_", file=path, environ=os.environ, flags=flags)
    return settings
