"""Who is on the LAN, how they stand, and whether they are worth asking. ``sync.road.neighbours`` decides what to ask.

Believed is nothing; whoever is away, slow, busy for long or wrong is left out until ``forgive``.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from runtime.clock import Clock
from sync import Missing, SyncError, TooLong, Unreachable
from sync.road import Source
from sync.road.http import HttpSource
from sync.road.metered import Meter, Metered
from sync.road.standing import STANDING_MAX_BYTES, STANDING_NAME, Bulletin, Standing, decode_standing

PEERS_MAX = 32
KNOWN_MAX = 4 * PEERS_MAX
"""Addresses change; so many are remembered until connections are closed."""
SLOW_S = 5.0
"""A neighbour from whom no byte comes for so long is left out."""
STANDING_TIMEOUT_S = 2.0
LACKING_MAX = 8
"""So often in a row somebody may lack a kind of file; then it is not asked for that kind any more."""
BUSY_MAX = 20
"""So often in a row somebody may refuse, or break off before the first byte."""
SERVED_MAX = 10_000
"""Of so many transfers it is remembered who served them."""


@dataclass(frozen=True)
class Peer:
    """Where another edge may be."""

    url: str
    """Of the folder with its ``standing``, its ``metadata/`` and so on."""


Connect = Callable[[Peer], Source]


def lan_source(peer: Peer) -> Source:
    """Return the source by which a neighbour is asked."""
    return HttpSource(peer.url, progress_timeout_s=SLOW_S)


@dataclass(eq=False)
class Neighbour:
    """What is known of one; for reports."""

    url: str
    source: Source
    ear: Source
    """Another connection, so that its standing need not wait for what it is sending."""
    standing: Standing | None = None
    asked_at_s: float = float("-inf")
    grown_at_s: float = float("-inf")
    """When it last had taken in more than before."""
    left_out: str = ""
    """Why it is not asked any more in this pull; empty when it is."""
    body_bytes: int = 0
    """That came from it; refused ones among them."""
    busy: int = 0
    lacking: Counter[str] = field(default_factory=Counter)
    """Misses in a row, by kind (``kind_of``)."""

    @property
    def id(self) -> str:
        """What it calls itself; empty when it was not heard yet."""
        return self.standing.id if self.standing is not None else ""

    def leave_out(self, why: str) -> None:
        """Do not ask it again before the next pull."""
        self.left_out = self.left_out or why

    def lacks(self, kind: str) -> bool:
        """Tell whether asking for that kind of file is of no use."""
        return self.lacking[kind] >= LACKING_MAX

    def is_coming_to(self, bulletin: Bulletin) -> bool:
        """Tell whether it is fetching a release that we are fetching, too."""
        channels = self.standing.channels if self.standing is not None else {}
        return any(channels.get(name, (0, 0))[1] == seq for name, seq in bulletin.coming.items())

    def claims(self, name: str, start: int, stop: int, *, begun: bool = False) -> bool:
        """Tell whether it means to bring some of those bytes over its uplink; with ``begun`` whether it does now."""
        errands = self.standing.fetching if self.standing is not None else []
        return any(each.overlaps(name, start, stop) and (each.begun or not begun) for each in errands)

    def note_success(self, name: str) -> None:
        """Remember that it gave something."""
        self.busy = 0
        self.lacking[kind_of(name)] = 0

    def note_failure(self, name: str, error: SyncError, took_s: float) -> None:
        """Remember that it did not, and how long that took."""
        if isinstance(error, Missing):
            self.lacking[kind_of(name)] += 1
        elif isinstance(error, TooLong) or not isinstance(error, Unreachable):
            self.leave_out(str(error))
        else:
            self.busy += 1
            if took_s >= SLOW_S * 0.9 or self.busy >= BUSY_MAX:
                self.leave_out(str(error))


class Circle:
    """All neighbours. For one event loop."""

    def __init__(
        self,
        bulletin: Bulletin,
        peers: Callable[[], Sequence[Peer]],
        clock: Clock,
        *,
        connect: Connect,
        meter: Meter,
    ) -> None:
        """Nobody is asked yet; ``peers`` tells who may be there now, and must be quick."""
        self._bulletin, self._peers, self._clock = bulletin, peers, clock
        self._connect, self._meter = connect, meter
        self._known: dict[str, Neighbour] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nobody can be there."""
        return not self._peers()

    @property
    def known(self) -> tuple[Neighbour, ...]:
        """Everybody who was asked once."""
        return tuple(self._known.values())

    def forgive(self) -> None:
        """Ask everybody again."""
        for each in self.known:
            each.left_out, each.busy, each.asked_at_s = "", 0, float("-inf")
            each.lacking.clear()

    async def survey(self, age_s: float = 0.0) -> list[Neighbour]:
        """Ask all how they stand, unless they said it less than ``age_s`` ago; return who answers."""
        here = [each for peer in self._peers()[:PEERS_MAX] if (each := self._neighbour(peer)) is not None]
        due_s = self._clock.monotonic() - age_s
        async with asyncio.TaskGroup() as group:
            for each in here:
                if not each.left_out and each.asked_at_s <= due_s:
                    group.create_task(self._ask(each))
        found: dict[str, Neighbour] = {}
        for each in here:
            if not each.left_out and each.id and each.id != self._bulletin.edge_id:
                found.setdefault(each.id, each)  # one edge may be known by several addresses
        return list(found.values())

    async def close(self) -> None:
        """Let go of connections."""
        for each in self.known:
            await each.source.close()
            await each.ear.close()
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()

    def _neighbour(self, peer: Peer) -> Neighbour | None:
        if peer.url not in self._known:
            if len(self._known) >= KNOWN_MAX:
                return None
            source = Metered(self._connect(peer), self._meter)
            self._known[peer.url] = Neighbour(peer.url, source, Metered(self._connect(peer), self._meter))
        return self._known[peer.url]

    async def _ask(self, neighbour: Neighbour) -> None:
        try:
            async with asyncio.timeout(STANDING_TIMEOUT_S):
                raw = await neighbour.ear.fetch(STANDING_NAME, limit_bytes=STANDING_MAX_BYTES, received=_ignore)
            standing = decode_standing(raw)
        except TimeoutError:
            neighbour.leave_out("does not say in time how it stands")
        except SyncError as error:
            neighbour.leave_out(str(error))
        else:
            self._hear(neighbour, standing)

    def _hear(self, neighbour: Neighbour, standing: Standing) -> None:
        if standing.area != self._bulletin.area:
            neighbour.leave_out(f"is of area {standing.area!r}")
            return
        now_s, old = self._clock.monotonic(), neighbour.standing
        if old is None or old.moved != standing.moved:
            neighbour.grown_at_s = now_s
        neighbour.standing, neighbour.asked_at_s = standing, now_s


@dataclass
class Served:
    """Who gave a part of a file."""

    name: str
    start: int
    stop: int
    by: Neighbour | None
    """None: the uplink."""


class Record:
    """Who served what, for when it turns out to be wrong."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._served: deque[Served] = deque(maxlen=SERVED_MAX)

    def begin(self, name: str, at: int, by: Neighbour | None) -> Served:
        """Note that something begins to come; move ``stop`` as it does."""
        self._served.append(served := Served(name, at, at, by))
        return served

    def clear(self) -> None:
        """Forget all."""
        self._served.clear()

    def servers(self, name: str, start: int, stop: int | None) -> list[Neighbour | None]:
        """Return who served that range last."""
        mine = [each for each in self._served if each.name == name]
        wanted = [(start, stop if stop is not None else max((each.stop for each in mine), default=0))]
        found: list[Neighbour | None] = []
        for each in reversed(mine):
            left = []
            for low, high in wanted:
                first, last = max(low, each.start), min(high, each.stop)
                if first < last:
                    found.append(each.by)
                    left += [(a, b) for a, b in ((low, first), (last, high)) if a < b]
                else:
                    left.append((low, high))
            wanted = left
        return found


def kind_of(name: str) -> str:
    """Return the first part of the name of a published file."""
    return name.split("/")[0]


def _ignore(length_bytes: int) -> None:
    pass
