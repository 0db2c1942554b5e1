"""Which moment counts. Pure; whoever calls brings the clock's reading.

An edge may have no battery behind its clock, or a wrong one:

* *Behind*, by any amount: normal. Expiry is judged at the newest ``issued`` of the heads that were verified (the
  *floor*), so a clock that was set back does not stretch freshness. Before the first head there is no floor: such an
  edge has no protection against freezing yet, but it always has that against rollback (versions are on the disk).
* *Ahead* of all expiries: updating stops with ``freeze`` and a sentence that says to check the clock; nothing is
  written that would outlast the wrong clock, and serving goes on. Once the clock is right, so is the edge.

A publisher's clock matters more, because its heads become everybody's floor: it may not run back, and a leap of more
than 30 days has to be confirmed. If heads were signed with a clock that was far ahead all the same, rotating the
timestamp key with the right time begins a new *era*, in which edges do not count the heads of the former
(``sync/trust/memory.py``).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sync import SyncError

LEAP_MAX_DAYS = 30
CLOCK_SLACK_S = 300
"""A publisher's clock that is set back by less than this, as time servers do, is no reason to refuse."""


class ClockDoubtful(SyncError):
    """The publisher's clock cannot be right; nothing was signed."""


def judged_now(clock: datetime, floor: datetime | None) -> datetime:
    """Return the moment at which an edge judges expiry: the later of its clock and the newest release it has seen."""
    return clock if floor is None else max(clock, floor)


def check_publisher_clock(now: datetime, signed_at: datetime, *, sure: bool) -> None:
    """Let the publisher sign at ``now`` only when that fits the moment of its last signing.

    Args:
        now: What the clock says.
        signed_at: When the newest timestamp was signed.
        sure: A leap forward was confirmed by somebody.

    Raises:
        ClockDoubtful: ``now`` is before ``signed_at``, or more than LEAP_MAX_DAYS after it and not confirmed.
    """
    if now < signed_at - timedelta(seconds=CLOCK_SLACK_S):
        raise ClockDoubtful(
            f"this clock says {now:%Y-%m-%d %H:%M} UTC, but something was signed here at {signed_at:%Y-%m-%d %H:%M} "
            "UTC already; set the clock right (if it was wrong then, rotate the timestamp key)"
        )
    if now > signed_at + timedelta(days=LEAP_MAX_DAYS) and not sure:
        raise ClockDoubtful(
            f"this clock says {now:%Y-%m-%d %H:%M} UTC, {(now - signed_at).days} days after the last signing; "
            "if that is right, say so (force), or every edge will believe a wrong date"
        )
