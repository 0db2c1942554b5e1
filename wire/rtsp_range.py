"""The Range header: npt in every spelling of the boxes, and clock (RFC 2326 §3.6, §3.7, §12.29; stb_protocols §4.7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from wire.rtsp_headers import WireError

Word = Literal["beginning", "now", "end"]
NptTime = float | Word
"""Seconds from the start of the presentation, or one of the three words."""
ClockTime = datetime | Word
"""A moment in UTC, or one of the three words."""

_VALUE_MAX_CHARACTERS = 128
_WORDS: dict[str, Word] = {"beginning": "beginning", "begin": "beginning", "now": "now", "end": "end"}
_SECONDS = re.compile(r"[0-9]{1,10}(?:\.[0-9]{0,9})?\Z")
_HMS = re.compile(r"([0-9]{1,6}):([0-5]?[0-9]):([0-5]?[0-9](?:\.[0-9]{0,9})?)\Z")
_CLOCK = re.compile(r"([0-9]{8}T[0-9]{6})(?:\.([0-9]{1,6})[0-9]*)?Z\Z")


@dataclass(frozen=True, slots=True)
class NptRange:
    """``npt=start-end``; an absent end plays to the end of the stream, an absent start begins where ``start`` says."""

    start: NptTime | None
    """None only for the form ``npt=-N``."""
    end: NptTime | None = None


@dataclass(frozen=True, slots=True)
class ClockRange:
    """``clock=start-end``: absolute time, for time-shift."""

    start: ClockTime | None
    end: ClockTime | None = None


def parse_range(value: str) -> NptRange | ClockRange:
    """Read a Range header value. A ``;time=`` parameter is not looked at.

    Raises:
        WireError: another unit, no dash, or a time that is none.
    """
    if len(value) > _VALUE_MAX_CHARACTERS:
        raise WireError("Range header too long")
    unit, equals, rest = value.partition(";")[0].strip().partition("=")
    unit = unit.strip().lower()
    if not equals or unit not in ("npt", "clock"):
        raise WireError(f"range {value!r}: unit must be npt or clock")
    first, dash, second = (part.strip() for part in rest.partition("-"))
    if not dash or not (first or second):
        raise WireError(f"range {value!r}: expected start-end")
    if unit == "npt":
        return NptRange(_npt(first) if first else None, _npt(second) if second else None)
    return ClockRange(_clock(first) if first else None, _clock(second) if second else None)


def write_npt(start: NptTime, end: NptTime | None = None) -> str:
    """Write ``npt=start-end``: seconds with three decimals.

    Raises:
        ValueError: a negative or endless time.
    """
    return f"npt={_npt_text(start)}-{'' if end is None else _npt_text(end)}"


def write_clock(start: ClockTime, end: ClockTime | None = None) -> str:
    """Write ``clock=start-end`` in UTC with two decimals, as the boxes do."""
    return f"clock={_clock_text(start)}-{'' if end is None else _clock_text(end)}"


def _npt(text: str) -> NptTime:
    word = _WORDS.get(text.lower())
    if word is not None:
        return word
    if _SECONDS.match(text):
        return float(text)
    match = _HMS.match(text)
    if match is None:
        raise WireError(f"{text!r} is not a normal play time")
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def _npt_text(time: NptTime) -> str:
    if isinstance(time, str):
        return time
    if not 0 <= time < 1e10:
        raise ValueError(f"{time!r} cannot be a normal play time")
    return f"{time:.3f}"


def _clock(text: str) -> ClockTime:
    word = _WORDS.get(text.lower())
    if word is not None:
        return word
    match = _CLOCK.match(text)
    if match is None:
        raise WireError(f"{text!r} is not YYYYMMDDTHHMMSS[.fraction]Z")
    try:
        moment = datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise WireError(f"{text!r} is no date") from error
    return moment + timedelta(microseconds=int((match[2] or "0").ljust(6, "0")))


def _clock_text(time: ClockTime) -> str:
    if isinstance(time, str):
        return time
    utc = time.astimezone(UTC)
    return f"{utc:%Y%m%dT%H%M%S}.{utc.microsecond // 10000:02d}Z"
