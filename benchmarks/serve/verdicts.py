"""What numbers mean: ratios of repeats, targets, and when a number may not be used. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

CLIENT_BUSY_MAX = 0.95
"""Share of its core above which the client was the limit."""
OTHERS_MAX = 0.10
"""Share of the server's core that went to other programs above which rates and delays say nothing."""
PASSED, FAILED, MISSED = 0, 1, 99
"""Exit codes: all good, something could not be measured or was wrong, a target was missed."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of the repeats."""

    median: float
    least: float
    most: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Summarise repeats.

    Raises:
        ValueError: there are none, or one is no number.
    """
    if not values or any(not math.isfinite(value) for value in values):
        raise ValueError(f"no numbers: {list(values)!r}")
    return Spread(statistics.median(values), min(values), max(values), len(values))


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Summarise ours by theirs, repeat by repeat: what slows both down in one repeat does not count.

    Raises:
        ValueError: not as many of both, none, or a zero to divide by.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} repeats of ours, {len(theirs)} of theirs")
    if any(value <= 0 for value in theirs):
        raise ValueError("nothing to divide by")
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def geomean(values: Iterable[float]) -> float:
    """The geometric mean.

    Raises:
        ValueError: no values, or one that is not positive.
    """
    found = list(values)
    if not found or any(value <= 0 for value in found):
        raise ValueError(f"no geometric mean of {found!r}")
    return math.exp(sum(math.log(value) for value in found) / len(found))


class State(Enum):
    """How a target fared."""

    MET = "met"
    MISSED = "missed"
    INVALID = "invalid"
    """Measured, and the number says nothing about us: the client or the machine was the limit."""
    ABSENT = "not measured"
    """A tool or a part is not there, or did not work."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target, judged."""

    name: str
    limit: float
    at_least: bool
    unit: str
    value: float | None
    state: State
    note: str = ""
    spread: tuple[float, float] | None = None
    """Least and greatest repeat."""


def judge(
    name: str,
    value: float | Spread | None,
    *,
    most: float | None = None,
    least: float | None = None,
    unit: str = "",
    note: str = "",
    invalid: str = "",
) -> Verdict:
    """Judge one number against its limit.

    Args:
        name: what it is.
        value: the number; None when there is none, which ``note`` explains.
        most: the limit, when small is good.
        least: the limit, when large is good.
        unit: of both.
        note: words beside the number.
        invalid: why the number says nothing about us; empty when it does.

    Raises:
        ValueError: not exactly one limit.
    """
    if (most is None) == (least is None):
        raise ValueError("one limit, please")
    at_least = least is not None
    limit = least if least is not None else most
    assert limit is not None
    number = value.median if isinstance(value, Spread) else value
    range_ = (value.least, value.most) if isinstance(value, Spread) else None
    if number is None:
        state = State.INVALID if invalid else State.ABSENT
    elif invalid:
        state = State.INVALID
    else:
        state = State.MET if (number >= limit if at_least else number <= limit) else State.MISSED
    return Verdict(
        name, limit, at_least, unit, number, state, " ".join("; ".join(w for w in (invalid, note) if w).split()), range_
    )


def exit_code(verdicts: Iterable[Verdict], faults: Sequence[str]) -> int:
    """Decide how the program ends; a missed target weighs most, an invalid measure nothing."""
    states = {verdict.state for verdict in verdicts}
    if State.MISSED in states:
        return MISSED
    return FAILED if faults or State.ABSENT in states else PASSED


def client_was_limit(busy: Sequence[float]) -> str:
    """Say that the client used up its core in the median repeat; empty when it did not."""
    share = statistics.median(busy) if busy else 0.0
    return f"the client used {share:.0%} of its core" if share > CLIENT_BUSY_MAX else ""


def others_were_limit(shares: Sequence[float]) -> str:
    """Say that other programs wanted the server's core in the median repeat; empty when they did not."""
    share = statistics.median(shares) if shares else 0.0
    return f"others used {share:.0%} of the server's core" if share > OTHERS_MAX else ""


def machine_was_limit(shares: Sequence[float]) -> str:
    """Say that others used the machine just before the median repeat; empty when they did not."""
    share = statistics.median(shares) if shares else 0.0
    return f"others used {share:.0%} of the machine" if share > OTHERS_MAX else ""


def capacity(runs: Iterable[tuple[int, bool]]) -> int:
    """Return the greatest load at which more than half of the runs held and no smaller load failed; 0: none."""
    held: dict[int, list[bool]] = {}
    for load, fine in runs:
        held.setdefault(load, []).append(fine)
    best = 0
    for load in sorted(held):
        if 2 * sum(held[load]) <= len(held[load]):
            break
        best = load
    return best


def majority(runs: Iterable[bool], planned: int) -> bool:
    """Tell whether more than half of the planned runs hold; takes no more runs than it needs to know."""
    held = failed = 0
    for fine in runs:
        held, failed = held + fine, failed + (not fine)
        if 2 * held > planned or 2 * failed >= planned:
            break
    return 2 * held > planned
