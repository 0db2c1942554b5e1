"""What a variant got to know, and whether the variants of a row agree. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from stb_emulator.boxes import Box
from stb_emulator.lab.disagreements.trying import Lab
from stb_emulator.observe import Reason

SECONDS_TOLERANCE_S = 0.1
Facts = Mapping[str, Any]
"""Names of facts that end with ``_s`` are seconds."""
Doing = Callable[[Lab, Box], Awaitable[Facts]]
"""Lets a box do what the row is about; raises PlayError where it could not, NotShown where nothing can be shown."""


class Status(StrEnum):
    """What a row, or one variant of it, came to."""

    GREEN = "green"
    RED = "red"
    NOT_SHOWN = "not_shown"
    """This edge is not set up for it; nothing is known."""
    NOT_COVERED = "not_covered"
    """The emulator cannot try it yet."""
    NOT_APPLICABLE = "not_applicable"
    """Of a part that does not exist."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way in which boxes of the field do it."""

    name: str
    box: Box
    do: Doing
    group: str = ""
    """Only variants of one group are compared."""


@dataclass(frozen=True, slots=True)
class Row:
    """One disagreement."""

    name: str
    title: Reason
    variants: Callable[[Lab], Sequence[Variant]] | None = None
    why_not: Reason | None = None
    """Why there are no variants."""
    applicable: bool = True


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One variant's part of the result."""

    variant: str
    status: Status
    reason: str = ""
    facts: dict[str, Any] = msgspec.field(default_factory=dict)
    group: str = ""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a row came to."""

    row: str
    title: str
    status: Status
    reason: str = ""
    told: tuple[Told, ...] = ()


def judge(row: Row, told: Sequence[Told]) -> Result:
    """Compare the variants of a row with the first of their group."""
    canon: dict[str, Told] = {}
    judged: list[Told] = []
    for each in told:
        first = canon.setdefault(each.group, each)
        if each.status is Status.GREEN and first.status is Status.GREEN:
            difference = _difference(first, each)
            if difference:
                each = msgspec.structs.replace(each, status=Status.RED, reason=difference)
        judged.append(each)
    for status in (Status.RED, Status.NOT_SHOWN):
        found = [each for each in judged if each.status is status]
        if found:
            said = dict.fromkeys(each.reason for each in found)
            reason = "; ".join(f"{', '.join(t.variant for t in found if t.reason == why)}: {why}" for why in said)
            return Result(row=row.name, title=str(row.title), status=status, reason=reason, told=tuple(judged))
    return Result(row=row.name, title=str(row.title), status=Status.GREEN, told=tuple(judged))


def _difference(canon: Told, other: Told) -> str:
    for name in canon.facts.keys() | other.facts.keys():
        here, there = other.facts.get(name), canon.facts.get(name)
        if name.endswith("_s") and isinstance(here, int | float) and isinstance(there, int | float):
            if abs(here - there) <= SECONDS_TOLERANCE_S:
                continue
        elif here == there:
            continue
        words = f"{name}: {_brief(here)} instead of {_brief(there)} ({canon.variant})"
        return str(Reason(f"结果不一致 {words}", words))
    return ""


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
