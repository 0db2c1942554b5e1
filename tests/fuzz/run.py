"""Runs one door: any number of messages, then messages that grow."""

from __future__ import annotations

import gc
import random
import signal
import time
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz import Door
from tests.fuzz.mutate import WORDS, Mutator, grown, pieces

SLOW_S = 0.05
"""CPU time of one message; a slower one is run again, and its best time counts."""
GROWTH_MAX_BYTES = 8 << 20
"""How much memory a process may gain between a tenth of the messages and the last."""
PEAK_PER_BYTE = 256
"""What one message may take while it is read, for each of its bytes."""
STEEP = 9.0
"""Four times the length, more than nine times the time: worse than linear (quadratic: sixteen)."""
STEEP_FROM_S = 0.1
SCREEN_BYTES = 64 * 1024
LONGEST_COUNT = 12
"""So many of the slowest messages are made as long as they may be."""
LETTERS = (
    b"A",
    b"a",
    b"0",
    b"-",
    b" ",
    b"\t",
    b".",
    b"/",
    b'"',
    b"'",
    b"=",
    b",",
    b"\n",
    b"[",
    b"<",
    b"\\",
    b"(",
    b"%",
)
GROWTH_MAX_S = 30.0
"""So long a door's long messages are looked at."""
_PAGE = 4096


@dataclass
class Result:
    """What one door did."""

    door: str
    messages: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    faults: dict[str, bytes] = field(default_factory=dict)
    """Kind of the fault, and the first message that showed it."""
    seconds: float = 0.0
    slowest_s: float = 0.0
    grown_bytes: int = 0
    peak_bytes: int = 0
    longest_bytes: int = 0
    longest_s: float = 0.0
    """CPU time of the slowest of the messages that were made as long as they may be."""

    @property
    def passed(self) -> bool:
        """Tell whether the door held."""
        return not self.faults


def resident_bytes() -> int:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


class TooSlow(BaseException):
    """Not an Exception, so that nobody who catches those swallows it."""


class Watch:
    """Ends a message that takes longer than two ticks of CPU time, also in the middle of a regular expression."""

    TICK_S = 2.0

    def __init__(self) -> None:
        self.number = 0
        self._seen = -1

    def __enter__(self) -> Watch:
        self._before = signal.signal(signal.SIGPROF, self._tick)
        signal.setitimer(signal.ITIMER_PROF, self.TICK_S, self.TICK_S)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self._before)

    def _tick(self, *_: object) -> None:
        if self._seen == self.number:
            raise TooSlow
        self._seen = self.number


WATCH = Watch()


def cost_s(door: Door, message: bytes, result: Result) -> float:
    """Give one message; return its CPU time, and note how it ended."""
    WATCH.number += 1
    began = time.thread_time()
    try:
        door.take(message)
        result.accepted += 1
    except door.errors as error:
        result.refused[type(error).__name__] += 1
    except TooSlow:
        result.faults.setdefault(f"hangs on {len(message)} bytes", message)
        WATCH.number += 1
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
        result.faults.setdefault(f"{type(error).__name__} at {place}", message)
        if isinstance(error, KeyboardInterrupt):
            raise
    return time.thread_time() - began


def run(door: Door, messages: int, *, seed: int = 0, seconds_max: float | None = None, growth: bool = True) -> Result:
    """Run one door.

    Args:
        door: Which.
        messages: How many changed messages.
        seed: The same number makes the same messages.
        seconds_max: Stop earlier.
        growth: Also look at long messages.
    """
    result = Result(door.name)
    wrap = door.wrap or (lambda data: data)
    for each in door.seeds:
        cost_s(door, wrap(each), result)
    if not result.accepted:
        result.faults["no seed gets in: nothing behind the first line is reached"] = b""
    result.accepted, result.refused = 0, Counter()
    make = Mutator(door.seeds, door.words, most_bytes=door.most_bytes, seed=seed)
    began, low = time.monotonic(), resident_bytes()
    settled = max(1, messages // 10)
    for number in range(messages):
        message = wrap(make.message())
        spent = cost_s(door, message, result)
        result.messages += 1
        if spent > result.slowest_s:
            if spent > SLOW_S:
                spent = min(spent, *(cost_s(door, message, Result("again")) for _ in range(3)))
            if spent > SLOW_S * 10:
                result.faults.setdefault(f"slow: {spent:.2f} s for {len(message)} bytes", message)
            result.slowest_s = max(result.slowest_s, spent)
        if number == settled:
            gc.collect()
            low = resident_bytes()
        if seconds_max is not None and number % 256 == 0 and time.monotonic() - began > seconds_max:
            break
    result.seconds = time.monotonic() - began
    gc.collect()
    result.grown_bytes = resident_bytes() - low
    if result.messages > 10 * settled // 2 and result.grown_bytes > GROWTH_MAX_BYTES:
        result.faults.setdefault(f"memory: {result.grown_bytes >> 20} MiB more", b"")
    if growth:
        _grow(door, result, random.Random(seed))
    return result


def _grow(door: Door, result: Result, draw: random.Random) -> None:
    """Repeat words at places of the seeds until the message is as long as it may be."""
    wrap = door.wrap or (lambda data: data)
    cases = _cases(door, draw)
    middle, large = min(SCREEN_BYTES, door.most_bytes), door.most_bytes
    slowest: list[tuple[float, int]] = []
    until = time.monotonic() + GROWTH_MAX_S
    for number, (seed, word, at) in enumerate(cases):
        if time.monotonic() > until:
            break
        message = wrap(grown(seed, word, at, middle))
        spent = cost_s(door, message, result)
        slowest.append((spent, number))
        if spent > STEEP_FROM_S:
            before = min(cost_s(door, wrap(grown(seed, word, at, middle // 4)), Result("again")) for _ in range(2))
            if spent > STEEP * max(before, 0.001):
                kind = f"steep: {word[:20]!r} x {middle >> 10} KiB takes {spent:.2f} s, a quarter {before:.2f} s"
                result.faults.setdefault(kind, message)
    longest = [cases[number] for _, number in sorted(slowest, reverse=True)[:LONGEST_COUNT]]
    until += GROWTH_MAX_S
    make = Mutator(door.seeds, door.words, most_bytes=door.most_bytes, seed=1)
    samples = [wrap(grown(seed, word, at, large)) for seed, word, at in longest]
    for message in samples:
        spent = min(cost_s(door, message, result), cost_s(door, message, Result("again")))
        result.longest_s = max(result.longest_s, spent)
        result.longest_bytes = max(result.longest_bytes, len(message))
        if time.monotonic() > until:
            break
    for message in (*samples, *(wrap(make.message()) for _ in range(300))):
        if time.monotonic() > until:
            break
        tracemalloc.start()
        cost_s(door, message, Result("again"))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        result.peak_bytes = max(result.peak_bytes, peak)
        if peak > door.peak_bytes + PEAK_PER_BYTE * len(message):
            result.faults.setdefault(f"memory: {peak >> 20} MiB for a message of {len(message)} bytes", message)


def _cases(door: Door, draw: random.Random) -> list[tuple[bytes, bytes, int]]:
    """Choose seeds, words and places; single letters first, since they are what expressions run over twice."""
    cases: list[tuple[bytes, bytes, int]] = []
    for each in door.seeds[:24]:
        found = pieces(each) if len(each) <= 16384 else []
        own = list(dict.fromkeys(word for _, word in found))
        for at, word in draw.sample(found, min(40, len(found))):
            cases += [(each, letter, at) for letter in draw.sample(LETTERS, 4)]
            cases += [(each, word, at), (each, draw.choice([*own, *WORDS, *door.words]), at)]
            cases.append((each, draw.choice(own) + draw.choice([*WORDS, *own, *LETTERS]), at))
    draw.shuffle(cases)
    return cases
