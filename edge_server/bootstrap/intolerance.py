"""Tolerances that a laboratory may switch off one by one, to see that the box which needs them fails."""

from __future__ import annotations

from typing import Final

from edge_server.config import EdgeConfig
from runtime.settings import ConfigError

SWITCHES: Final = frozenset(f"D{each}" for each in (*range(1, 13), *range(14, 22), 24))
"""Rows of docs/protocols/disagreements.md whose tolerance lives on the edge."""


def make_intolerance(config: EdgeConfig) -> frozenset[str]:
    """Read the setting.

    Raises:
        runtime.settings.ConfigError: an unknown row, or an edge that villages watch.
    """
    named = frozenset(each.strip().upper() for each in config.intolerant.split(",") if each.strip())
    if unknown := named - SWITCHES:
        known = ", ".join(sorted(SWITCHES, key=lambda each: int(each[1:])))
        raise ConfigError(f"intolerant: {', '.join(sorted(unknown))} cannot be switched off here; there are: {known}")
    if named and not config.lab:
        raise ConfigError("intolerant: only for an edge on which boxes are tried; set `lab` too, or leave it empty")
    return named
