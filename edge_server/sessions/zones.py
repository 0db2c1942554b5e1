"""In which zone a box spells moments that name none: local time or UTC, eight hours apart (disagreement D12). Pure.

What the box's account says comes first, then what the operator has written of its model; others mean UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_server.sessions.accounts import Account

MODEL_MAX_CHARS = 512


@dataclass(frozen=True, slots=True)
class Zones:
    """The rules of one edge."""

    local_minutes: int = 480
    """Local time, ahead of UTC."""
    local_models: tuple[str, ...] = ()
    """Parts of STBType or User-Agent, in small letters, of boxes that mean local time."""

    def of(self, account: Account, model: str) -> int:
        """Return minutes ahead of UTC, for a box that calls itself ``model``."""
        if account.times:
            return self.local_minutes if account.times == "local" else 0
        said = model[:MODEL_MAX_CHARS].lower()
        return self.local_minutes if any(each in said for each in self.local_models) else 0


def make_zones(models: str, utc_offset_h: float) -> Zones:
    """Read the list of models, comma-separated."""
    return Zones(round(utc_offset_h * 60), tuple(each.strip().lower() for each in models.split(",") if each.strip()))
