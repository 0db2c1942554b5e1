"""Edges on the same LAN bring a release over the uplink once, together, and give it to each other.

Each is a mirror to the others, no better trusted than any. Nobody is in charge: who brings which part of a pack over
the uplink is told by a hash of edge and part (the highest random weight, so that all come to the same answer), and each
says in its ``standing`` what it is about to fetch and what is on its line, so that nobody fetches the same meanwhile.
Whoever turns out to be away, slow, or lying is left out until the next pull, and costs a delay but never the release.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from runtime.clock import Clock
from sync import Corrupt, Missing, SyncError, Unreachable
from sync.ids import sha256_hex
from sync.road import Received, Sink, Source, check_file_name, check_range
from sync.road.circle import Circle, Connect, Neighbour, Peer, Record, kind_of, lan_source
from sync.road.handing import Handing
from sync.road.metered import Meter, Metered
from sync.road.standing import Bulletin, Claim

__all__ = ["Bulletin", "Neighbour", "Neighbourly", "Peer"]

SLOT_BYTES = 4 * 1024 * 1024
"""Parts of a pack that begin in the same stretch of so many bytes have the same owner."""
ASKED_MAX = 8
"""So many are asked for one file or part before the uplink."""
STANDING_FRESH_S = 10.0
"""So old may be what a neighbour said when it is only about whom to ask for a small file."""
GRACE_S = 1.0
"""So long the owner of a part has for getting to it, before somebody else takes it over."""
STALL_S = 15.0
"""A neighbour that is waited for and takes in nothing for so long is left out."""
PATIENCE_S = 1200.0
"""For one part that a neighbour is fetching: what 4 MiB take at 64 kbit/s beside another part of that size."""
POLL_MIN_S = 0.1
POLL_MAX_S = 0.25
POLL_S_PER_NEIGHBOUR = 0.05
"""Whoever waits asks so often: all the time the line idles because nobody knows yet that something came is lost."""
SETTLE_S = 0.05
SETTLE_ROUNDS = 10
"""Of two that mean to fetch the same, the nearer one looks again so often whether the other has seen it, and yields."""
UPLINK_REST_S = 60.0
"""An uplink that did not answer is asked last for so long."""

_PACK = re.compile(r"packs/[0-9a-f]{2}/[0-9a-f]{64}")
_ROOT = re.compile(r"metadata/[0-9]+\.root\.json")
_HASHED = re.compile(r"(?:releases|skips)/([0-9a-f]{64})|targets/ch/[a-z0-9_-]+/([0-9a-f]{64})\.head\.json")
_CARD = re.compile(r"cards/[0-9a-f]{2}/[0-9a-f]{64}")
_NEVER_S = float("-inf")


@runtime_checkable
class _Judging(Protocol):
    def reject(self, name: str, start: int = 0, stop: int | None = None) -> bool: ...

    def forgive(self) -> None: ...


@dataclass(eq=False)
class _Part:
    """A part of a pack on its way."""

    name: str
    stop: int
    handing: Handing
    received: Received | None
    key: str
    since_s: float
    """Since when its owner could have begun."""
    awaited: Neighbour | None = None
    awaited_since_s: float = _NEVER_S
    hopeful: set[Neighbour] = field(default_factory=set)
    """Who may have it by now: those that were awaited, or meant to fetch it."""

    @property
    def at(self) -> int:
        """Position of the byte that is needed next."""
        return self.handing.at

    @property
    def is_done(self) -> bool:
        return self.at >= self.stop


def weight(edge_id: str, key: str) -> bytes:
    """Return what decides, between edges, who brings the part with that key: the highest does."""
    return hashlib.sha256(f"{edge_id} {key}".encode()).digest()


class Neighbourly:
    """A source that asks neighbours where that spares the uplink; without any it is the uplink."""

    def __init__(
        self,
        bulletin: Bulletin,
        uplink: Source,
        peers: Callable[[], Sequence[Peer]],
        clock: Clock,
        *,
        connect: Connect = lan_source,
        uplink_meter: Meter | None = None,
        lan_meter: Meter | None = None,
    ) -> None:
        """Nobody is asked yet.

        Args:
            bulletin: What this edge tells the others. Whoever pulls writes into it what is coming and what is held.
            uplink: Where to fetch what no neighbour has.
            peers: Who may be there now; asked before each transfer, so it must be quick. This edge may be among them.
            clock: For waiting.
            connect: Makes the source of a neighbour.
            uplink_meter: Counts, by the first part of names, what moved over the uplink.
            lan_meter: Counts likewise what came from neighbours.
        """
        self._bulletin, self._clock = bulletin, clock
        self.uplink_meter, self.lan_meter = uplink_meter or Meter(clock), lan_meter or Meter(clock)
        self._judge = uplink if isinstance(uplink, _Judging) else None
        self._uplink = Metered(uplink, self.uplink_meter)
        self._circle = Circle(bulletin, peers, clock, connect=connect, meter=self.lan_meter)
        self._record = Record()
        self._uplink_rests_until_s = _NEVER_S
        self._pulls = 0

    def __str__(self) -> str:
        """Name the uplink."""
        return str(self._uplink)

    @property
    def neighbours(self) -> tuple[Neighbour, ...]:
        """What is known of each that was asked."""
        return self._circle.known

    def forgive(self) -> None:
        """Begin a new pull: who was left out gets another chance."""
        self._pulls += 1
        self._record.clear()
        self._circle.forgive()
        if self._judge is not None:
            self._judge.forgive()

    def reject(self, name: str, start: int = 0, stop: int | None = None) -> bool:
        """Tell that what was served of ``[start, stop)`` is wrong; return whether asking again is of use.

        Every neighbour that had a part in it is left out: another one, or the uplink, costs little.
        """
        servers = self._record.servers(name, start, stop)
        suspects = {each for each in servers if each is not None}
        for each in suspects:
            each.leave_out(f"wrong bytes in {name}")
        if suspects:
            return True
        return self._judge.reject(name, start, stop) if self._judge is not None and servers else False

    async def close(self) -> None:
        """See Source."""
        await self._circle.close()
        await self._uplink.close()

    # Whole files

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """See Source. What its name proves comes from a neighbour if one has it, all else from the uplink first.

        Freshness must not depend on a neighbour, and metadata that nobody can check here could stop a pull for good.
        """
        check_file_name(name)
        is_alone, failure = self._circle.is_empty, None
        proven = _HASHED.fullmatch(name) or _CARD.fullmatch(name)
        if is_alone or not (proven or self._clock.monotonic() < self._uplink_rests_until_s):
            try:
                return await self._fetch_uplink(name, limit_bytes, received)
            except Missing:
                raise
            except Unreachable as error:
                failure = error
        candidates = [] if is_alone else await self._candidates(name)
        for each in candidates:
            data = await self._fetch_from(each, name, limit_bytes, received)
            if data is not None:
                return data
        if failure is None:
            try:
                return await self._fetch_uplink(name, limit_bytes, received)
            except Missing:
                raise
            except Unreachable as error:
                failure = error
        if candidates and _ROOT.fullmatch(name):
            raise Missing(f"no neighbour has {name}, and {failure}") from failure  # the usual case: there is no such
        raise failure

    async def _fetch_uplink(self, name: str, limit_bytes: int, received: Received) -> bytes:
        try:
            data = await self._uplink.fetch(name, limit_bytes=limit_bytes, received=received)
        except Missing:
            raise
        except Unreachable:
            self._uplink_rests_until_s = self._clock.monotonic() + UPLINK_REST_S
            raise
        self._uplink_rests_until_s = _NEVER_S
        self._record.begin(name, 0, None).stop = len(data)
        return data

    async def _fetch_from(self, each: Neighbour, name: str, limit_bytes: int, received: Received) -> bytes | None:
        began_s = self._clock.monotonic()

        def count(length: int) -> None:
            each.body_bytes += length
            received(length)

        try:
            data = await each.source.fetch(name, limit_bytes=limit_bytes, received=count)
        except SyncError as error:
            each.note_failure(name, error, self._clock.monotonic() - began_s)
            return None
        found = _HASHED.fullmatch(name)
        if found is not None and sha256_hex(data) != (found[1] or found[2]):
            each.leave_out(f"wrong bytes in {name}")
            return None
        each.note_success(name)
        self._record.begin(name, 0, each).stop = len(data)
        return data

    async def _candidates(self, name: str) -> list[Neighbour]:
        """Return whom to ask for a small file; another one first in each pull, so that none can spoil them all."""
        kind = kind_of(name)
        found = [each for each in await self._circle.survey(STANDING_FRESH_S) if not each.lacks(kind)]
        return sorted(found, key=lambda each: weight(each.id, f"{self._pulls} {kind}"), reverse=True)[:ASKED_MAX]

    # Parts of packs

    async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
        """See Source."""
        if not check_range(start, stop):
            return
        key = f"{check_file_name(name)} {start // SLOT_BYTES}"
        part = _Part(name, stop, Handing(sink, start), received, key, self._clock.monotonic())
        if self._circle.is_empty or not _PACK.fullmatch(name):
            with self._bulletin.claim(name, start, stop) as claim:
                await self._from_uplink(part, claim)
        elif not await self._from_any(part, await self._circle.survey()):
            await self._in_turn(part)

    async def _in_turn(self, part: _Part) -> None:
        """Bring it over the uplink if nobody else does; wait for whoever does.

        The claim stands before the others are asked: of two that come at the same moment at least one sees the other.
        """
        pause_s, down_until_s = POLL_MIN_S, _NEVER_S
        failure: Unreachable | None = None
        while True:
            with self._bulletin.claim(part.name, part.at, part.stop) as claim:
                others = await self._circle.survey()
                is_down = self._clock.monotonic() < down_until_s
                ahead = self._ahead(others, part, is_down=is_down)
                for _ in range(SETTLE_ROUNDS):
                    if ahead is not None or not any(each.claims(part.name, part.at, part.stop) for each in others):
                        break
                    await self._clock.sleep_until(self._clock.monotonic() + SETTLE_S)
                    others = await self._circle.survey()
                    ahead = self._ahead(others, part, is_down=is_down)
                if ahead is None:
                    # Between the last question and the last survey it may have come in somewhere.
                    if (is_down or part.hopeful) and await self._from_any(part, others):
                        return
                    if is_down and failure is not None:
                        raise failure
                    failure = await self._try_uplink(part, claim, others)
                    if failure is None:
                        return
                    down_until_s = self._clock.monotonic() + UPLINK_REST_S
                    continue
            await self._clock.sleep_until(self._clock.monotonic() + pause_s)
            pause_s = min(2 * pause_s, max(POLL_MAX_S, POLL_S_PER_NEIGHBOUR * len(others)))
            if await self._from_any(part, [each for each in others if each in part.hopeful]):
                return

    async def _try_uplink(self, part: _Part, claim: Claim, others: Sequence[Neighbour]) -> Unreachable | None:
        """Fetch over the uplink; when it is down and somebody else may still bring the part, return what it said.

        Raises:
            SyncError: nobody else can.
        """
        before = part.at
        try:
            await self._from_uplink(part, claim)
        except Missing:
            raise
        except Unreachable as error:
            coming = any(each.is_coming_to(self._bulletin) for each in others)
            if part.handing.refused or part.at > before or not coming:
                raise
            return error
        return None

    def _ahead(self, others: Sequence[Neighbour], part: _Part, *, is_down: bool) -> Neighbour | None:
        """Return whom to wait for; None when it is our turn to fetch the part over the uplink."""
        now_s = self._clock.monotonic()
        ahead = self._nearer(others, part, is_down=is_down)
        if ahead is None:
            return None
        if part.awaited is not ahead:
            part.awaited, part.awaited_since_s = ahead, now_s
            part.hopeful.add(ahead)
        if self._fetches(ahead, part):
            part.since_s = now_s  # when it came, there is the time of an owner for writing it down
        stalled = now_s - max(ahead.grown_at_s, part.awaited_since_s) >= STALL_S
        if not stalled and now_s - part.awaited_since_s < PATIENCE_S:
            return ahead
        ahead.leave_out(f"did not bring what it was to bring of {part.name}")
        return self._ahead([each for each in others if each is not ahead], part, is_down=is_down)

    def _nearer(self, others: Sequence[Neighbour], part: _Part, *, is_down: bool) -> Neighbour | None:
        """Return who has the part on its line, or else has a better right to it than we have."""
        part.hopeful.update(each for each in others if each.claims(part.name, part.at, part.stop))
        for each in others:
            if self._fetches(each, part):
                return each
        mine = b"" if is_down else weight(self._bulletin.edge_id, part.key)
        is_early = self._clock.monotonic() - part.since_s < GRACE_S
        entitled = [
            each
            for each in others
            if each.claims(part.name, part.at, part.stop)
            or ((is_early or is_down) and each.is_coming_to(self._bulletin))
        ]
        best = max(entitled, key=lambda each: weight(each.id, part.key), default=None)
        return best if best is not None and weight(best.id, part.key) > mine else None

    def _is_coming(self, each: Neighbour, part: _Part) -> bool:
        return each in part.hopeful or each.is_coming_to(self._bulletin)

    @staticmethod
    def _fetches(each: Neighbour, part: _Part) -> bool:
        return each.claims(part.name, part.at, part.stop, begun=True)

    async def _from_any(self, part: _Part, others: Sequence[Neighbour]) -> bool:
        """Ask who may have it: first those that have the release, then those to whom it is coming."""
        ready = []
        for each in others:
            is_coming = self._is_coming(each, part)
            if not self._fetches(each, part) and (is_coming or not each.lacks("packs")):
                ready.append((is_coming, weight(each.id, part.key), each))
        for _, _, each in sorted(ready, key=lambda row: (not row[0], row[1]), reverse=True)[:ASKED_MAX]:
            if await self._from_neighbour(part, each):
                return True
        return False

    async def _from_uplink(self, part: _Part, claim: Claim) -> None:
        claim.begun = True
        await self._read(part, self._uplink, None)

    async def _from_neighbour(self, part: _Part, each: Neighbour) -> bool:
        """Return whether all of it came."""
        if each.left_out:
            return False
        before, began_s = part.at, self._clock.monotonic()
        try:
            await self._read(part, each.source, each)
        except SyncError as error:
            if part.handing.refused:
                raise
            if isinstance(error, Missing) and self._is_coming(each, part):
                pass  # not yet
            elif part.at > before and not isinstance(error, Corrupt):
                each.leave_out(f"broke off: {error}")
            else:
                each.note_failure(part.name, error, self._clock.monotonic() - began_s)
        else:
            each.note_success(part.name)
        return part.is_done

    async def _read(self, part: _Part, source: Source, by: Neighbour | None) -> None:
        served = self._record.begin(part.name, part.at, by)

        def take(piece: bytes) -> None:
            served.stop += len(piece)
            self._bulletin.moved += len(piece)
            if by is not None:
                by.body_bytes += len(piece)
            part.handing(piece)

        await source.read(part.name, part.at, part.stop, take, received=part.received)
