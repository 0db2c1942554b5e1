"""Several places that claim to have the same files; none of them is trusted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from runtime.clock import Clock
from sync import Corrupt, Missing, SyncError, Unreachable
from sync.pacing import backoff, jitter_of
from sync.road import NoRanges, Received, Sink, Source, check_file_name
from sync.road.handing import Handing

DISPUTES_MAX = 3
NAMES_MAX = 10_000
"""Of so many files it is remembered who served them."""


@dataclass(eq=False)
class Mirror:
    """What is known of one mirror; for reports."""

    name: str
    requests: int = 0
    body_bytes: int = 0
    """Handed over; refused ones among them."""
    failures: int = 0
    """In a row."""
    rests_until_s: float = 0.0
    """On the clock's monotonic time."""
    disputes: int = 0
    without_ranges: bool = False
    lacking: set[str] = field(default_factory=set)
    """What it was asked to read and does not have."""
    dropped: str = ""
    """Why it is not asked any more; empty when it is."""


@dataclass
class _Span:
    mirror: Mirror
    start: int
    stop: int


class Mirrors:
    """Asks the first mirror that is fit, then the next; a mirror that lies is out until ``forgive``.

    A mirror that does not answer or breaks off rests for a while (``sync.pacing.backoff``); when all rest, all are
    asked. What one began, the next continues at the exact byte.
    """

    def __init__(self, sources: Iterable[Source], clock: Clock, *, edge_id: str = "") -> None:
        """Give the sources in the order of preference; ``edge_id`` spreads the rests over edges.

        Raises:
            ValueError: no source at all.
        """
        self._pairs = [(Mirror(str(source)), source) for source in sources]
        if not self._pairs:
            raise ValueError("give at least one source")
        self._clock, self._edge_id = clock, edge_id
        self._served: dict[str, list[_Span]] = {}

    def __str__(self) -> str:
        """Name all mirrors."""
        return ", ".join(mirror.name for mirror, _ in self._pairs)

    @property
    def standing(self) -> tuple[Mirror, ...]:
        """What is known of each mirror, in the order of preference."""
        return tuple(mirror for mirror, _ in self._pairs)

    def forgive(self) -> None:
        """Begin a new pull: mirrors that were dropped get another chance."""
        self._served.clear()
        for mirror in self.standing:
            mirror.dropped, mirror.disputes, mirror.without_ranges = "", 0, False
            mirror.lacking.clear()

    def reject(self, name: str, start: int = 0, stop: int | None = None) -> bool:
        """Tell that what was served of ``[start, stop)`` of that file is wrong; return whether asking again is of use.

        When one mirror served it all, that one is dropped. When several did, nobody knows who lied: then those that
        broke off get a bad mark, and DISPUTES_MAX of those count as a lie.
        """
        pieces = self._pieces(name, start, stop)
        suspects = list(dict.fromkeys(piece.mirror for piece in pieces))
        if len(suspects) == 1:
            suspects[0].dropped = f"wrong bytes in {name}"
        for mirror in suspects[:-1]:
            mirror.disputes += 1
            if mirror.disputes >= DISPUTES_MAX:
                mirror.dropped = f"several times wrong bytes where it broke off, the last time in {name}"
        return bool(suspects) and any(not mirror.dropped for mirror in self.standing)

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """See Source. When one mirror says that there is no such file, it counts only if no other one has it."""
        check_file_name(name)  # before a mirror is blamed for it
        errors: list[SyncError] = []
        for mirror, source in self._fit():
            mirror.requests += 1
            try:
                data = await source.fetch(name, limit_bytes=limit_bytes, received=received)
            except Missing as error:
                errors.append(error)
            except Unreachable as error:
                self._rest(mirror, False)
                errors.append(error)
            except Corrupt as error:
                mirror.dropped = str(error)
                errors.append(error)
            else:
                self._note(name, mirror, 0).stop = len(data)
                mirror.body_bytes += len(data)
                mirror.failures = 0
                return data
        raise next((error for error in errors if isinstance(error, Missing)), None) or self._verdict(errors)

    async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
        """See Source. Somebody is taken to have what is read, so that silence of one outweighs *no* of another."""
        check_file_name(name)  # before a mirror is blamed for it
        errors: list[SyncError] = []
        handing = Handing(sink, start)
        for mirror, source in self._fit(name):
            mirror.requests += 1
            before = handing.at
            span = self._note(name, mirror, before)

            def take(piece: bytes, mirror: Mirror = mirror, span: _Span = span) -> None:
                span.stop += len(piece)  # at once, and also when the sink refuses it: then is it asked who sent it
                mirror.body_bytes += len(piece)
                handing(piece)

            try:
                await source.read(name, before, stop, take, received=received)
            except SyncError as error:
                if handing.refused:
                    raise
                self._judge(mirror, name, error, handing.at > before)
                errors.append(error)
            else:
                mirror.failures = 0
            if handing.at == stop:
                return
        if errors and all(isinstance(error, Missing) for error in errors) and self._somebody_rests():
            raise Unreachable(f"{name}: {errors[-1]}; those that may have it did not answer a moment ago")
        raise self._verdict(errors)

    async def close(self) -> None:
        """See Source."""
        for _, source in self._pairs:
            await source.close()

    def _fit(self, part_of: str = "") -> list[tuple[Mirror, Source]]:
        """Return whom to ask, in this order; for a part of a file only those that may have it and can cut it."""
        now_s = self._clock.monotonic()
        known = [pair for pair in self._pairs if not pair[0].dropped]
        if part_of:
            known = [pair for pair in known if not pair[0].without_ranges]
            known = [pair for pair in known if part_of not in pair[0].lacking] or known
        rested = [pair for pair in known if pair[0].rests_until_s <= now_s]
        return rested or sorted(known, key=lambda pair: pair[0].rests_until_s)

    def _somebody_rests(self) -> bool:
        now_s = self._clock.monotonic()
        return any(mirror.rests_until_s > now_s and not mirror.dropped for mirror in self.standing)

    def _judge(self, mirror: Mirror, name: str, error: SyncError, progress: bool) -> None:
        if isinstance(error, NoRanges):
            mirror.without_ranges = True
        elif isinstance(error, Missing):
            if len(mirror.lacking) < NAMES_MAX:
                mirror.lacking.add(name)
        elif isinstance(error, Unreachable):
            self._rest(mirror, progress)
        elif isinstance(error, Corrupt):
            mirror.dropped = str(error)

    def _rest(self, mirror: Mirror, progress: bool) -> None:
        mirror.failures = 1 if progress else mirror.failures + 1
        jitter = jitter_of(f"{self._edge_id} {mirror.name} {mirror.failures}")
        mirror.rests_until_s = self._clock.monotonic() + backoff(mirror.failures, jitter)

    def _note(self, name: str, mirror: Mirror, start: int) -> _Span:
        if name not in self._served and len(self._served) >= NAMES_MAX:
            del self._served[next(iter(self._served))]
        span = _Span(mirror, start, start)
        self._served.setdefault(name, []).append(span)
        return span

    def _pieces(self, name: str, start: int, stop: int | None) -> list[_Span]:
        """Return who served what of that range last, in order of position."""
        spans = self._served.get(name, [])
        end = max((span.stop for span in spans), default=0)
        wanted, found = [(start, end if stop is None else stop)], []
        for span in reversed(spans):
            left = []
            for low, high in wanted:
                first, last = max(low, span.start), min(high, span.stop)
                if first < last:
                    found.append(_Span(span.mirror, first, last))
                    left += [(a, b) for a, b in ((low, first), (last, high)) if a < b]
                else:
                    left.append((low, high))
            wanted = left
        return sorted(found, key=lambda piece: piece.start)

    def _verdict(self, errors: list[SyncError]) -> SyncError:
        """Return what tells most about whether to ask again."""
        for error in errors:
            if isinstance(error, Unreachable) and not isinstance(error, Missing):
                return error
        if errors:
            return next((error for error in errors if isinstance(error, Corrupt)), errors[-1])
        why = "; ".join(f"{mirror.name}: {mirror.dropped or 'gives no parts of files'}" for mirror in self.standing)
        if all(mirror.dropped for mirror in self.standing):
            return Corrupt(f"no mirror is left: {why}")
        return NoRanges(f"no mirror is left for parts of files: {why}")
