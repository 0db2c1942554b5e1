"""What may follow what between boxes and the port: who gets a burst, when it joins, when it ends. Pure.

The two message sets come to one port; lengths tell them apart (D8). What is no message, names no group of ours or comes
from elsewhere than the local segment gets no answer: an answer would help only who tries addresses out.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from edge_server.egress.fcc.burst import Burst
from edge_server.egress.fcc.words import (
    Address,
    CaughtUp,
    Close,
    Command,
    Event,
    Heard,
    NotOpened,
    Open,
    Opened,
    Over,
    Punched,
    Send,
    Start,
    Tick,
    Unwanted,
)
from edge_server.pacing.recent import Recent
from wire import fcc

Groups = Callable[[], Mapping[Address, Recent]]
"""What is sent to groups now, by address and port."""
SYNC_MAX_S = 12.0
"""A burst that would take longer to catch up is not begun: boxes wait 15 s."""
LEASE_MAX_S = 20.0
"""No burst lasts longer, whatever the box says or does not say."""
JOINED_MAX_S = 4.0
"""How long a burst goes on beside the group, at the group's rate, for a box that does not say that it has joined."""
AGAIN_S = 2.0
"""The copies of a request come together; later the same request is another one."""
ADDRESS_MAX_COUNT = 2
"""Bursts of one address at the same time: one for each picture on the screen."""
BEGINS_MAX_COUNT = 10
"""Bursts that one address may begin in `BEGINS_S`: as fast as somebody presses the button."""
BEGINS_S = 10.0
ADDRESSES_MAX_COUNT = 1024
"""Addresses of which begins are remembered; the one that began first is forgotten first."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say."""

    rate: float = 1.3
    """Times the rate of the group; above 1."""
    bursts_max_count: int = 50
    intolerant: frozenset[str] = frozenset()
    """With D8 only Telecom's messages are known; for laboratories."""


@dataclass(slots=True)
class _Lease:
    """One burst."""

    number: int
    source: Address
    """Where the request came from: answers go there."""
    face: fcc.Face
    group: str
    key: Address
    to: Address
    """Where media go: the same host, and the port that it named."""
    burst: Burst
    ends_at: float
    began_at: float
    session: int = 0
    punched: bool = True
    """The way to the box is open; an address translator has to be opened by the box."""
    response: bytes = b""


@dataclass(slots=True)
class _Begins:
    """When one address began bursts lately."""

    at: deque[float] = field(default_factory=deque)


class Conversation:
    """All boxes of the port: `handle` says what to do; answers to Open go in at once."""

    def __init__(
        self,
        groups: Groups,
        rules: Rules,
        *,
        local: Callable[[str], bool],
        draw: Callable[[int], int],
        counters: Counter[str],
    ) -> None:
        """Begin with nobody; ``local`` tells whether an address is on the segment, ``draw`` gives random bits."""
        self._groups, self._rules, self._local, self._draw, self._counters = groups, rules, local, draw, counters
        self._leases: dict[int, _Lease] = {}
        self._begins: dict[str, _Begins] = {}
        self._last = 0

    def __len__(self) -> int:
        """Count the bursts."""
        return len(self._leases)

    def next_timer(self) -> float:
        """Tell when a Tick is wanted next; infinity for never."""
        return min((each.ends_at for each in self._leases.values()), default=inf)

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take an event; return what to do, in order."""
        match event:
            case Heard():
                return self._heard(event, now)
            case Tick():
                late = [each for each in self._leases.values() if each.ends_at <= now]
                return [each for lease in late for each in self._end(lease, "timed out")]
            case _:
                lease = self._leases.get(event.lease)
                return [] if lease is None else self._about(lease, event, now)

    def _about(self, lease: _Lease, event: Event, now: float) -> list[Command]:
        match event:
            case Opened(_, port):
                return self._begin(lease, port)
            case Punched():
                return self._punch(lease, event)
            case CaughtUp():
                lease.ends_at = min(lease.ends_at, now + JOINED_MAX_S)
                return [Send(fcc.write(fcc.Join(lease.group), lease.face), lease.source)] * fcc.COPIES
            case NotOpened():
                return self._end(lease, "failed")
            case Over():
                return self._end(lease, "cut" if lease.burst.recent.ended else "ended")
            case Unwanted():
                return self._end(lease, "unwanted")
            case _:
                return []

    # Requests

    def _heard(self, event: Heard, now: float) -> list[Command]:
        if not self._local(event.source[0]):
            return self._silent("foreign")
        face = face_of(event.data)
        if "D8" in self._rules.intolerant and face != "telecom":
            return self._silent("unreadable")
        try:
            message = fcc.parse(event.data, face)
        except fcc.FccError:
            return self._silent("unreadable")
        match message:
            case fcc.Request():
                return self._asked(message, face, event.source, now)
            case fcc.End():
                return self._ended(message, face, event.source)
            case _:
                return self._silent("unreadable")

    def _asked(self, request: fcc.Request, face: fcc.Face, source: Address, now: float) -> list[Command]:
        key = self._find(request)
        if key is None:
            return self._silent("unknown")
        old = next((each for each in self._leases.values() if each.source == source), None)
        if old is not None and old.key == key and now - old.began_at < AGAIN_S:
            return [Send(old.response, source)] if old.response else []
        changes = [] if old is None else self._end(old, "replaced")
        if not self._may_begin(source[0], now):
            return [*changes, *self._silent("rate")]
        recent = self._groups()[key]
        first = recent.newest_key()
        rate = self._rules.rate
        if first is None or (now - first.sent_at) / (rate - 1) > SYNC_MAX_S or self._full(source[0]):
            self._counters["joins without a burst"] += 1
            told = fcc.Response(request.group, ok=True, action=fcc.Action.JOIN)
            return [*changes, Send(fcc.write(told, face), source)]
        self._last += 1
        lease = _Lease(
            self._last,
            source,
            face,
            request.group,
            key,
            (source[0], media_port(request, face) or source[1]),
            Burst(recent, first, rate, now),
            now + LEASE_MAX_S,
            now,
        )
        if face == "huawei" and request.client_ip not in (source[0], "0.0.0.0"):
            lease.punched, lease.session = False, self._draw(32) or 1
        self._leases[lease.number] = lease
        return [*changes, Open(lease.number)]

    def _find(self, request: fcc.Request) -> Address | None:
        """Find the group; Huawei's request has no port, and then the address must be enough."""
        if request.group_port:
            key = (request.group, request.group_port)
            return key if key in self._groups() else None
        found = [each for each in self._groups() if each[0] == request.group]
        return found[0] if len(found) == 1 else None

    def _may_begin(self, address: str, now: float) -> bool:
        begins = self._begins.pop(address, None) or _Begins()
        self._begins[address] = begins
        if len(self._begins) > ADDRESSES_MAX_COUNT:
            del self._begins[next(iter(self._begins))]
        while begins.at and begins.at[0] <= now - BEGINS_S:
            begins.at.popleft()
        if len(begins.at) >= BEGINS_MAX_COUNT:
            return False
        begins.at.append(now)
        return True

    def _full(self, address: str) -> bool:
        same = sum(each.source[0] == address for each in self._leases.values())
        return same >= ADDRESS_MAX_COUNT or len(self._leases) >= self._rules.bursts_max_count

    def _begin(self, lease: _Lease, port: int) -> list[Command]:
        bps = round(lease.burst.recent.bps())
        told = fcc.Response(
            lease.group,
            ok=True,
            action=fcc.Action.BURST,
            media_port=port,
            burst_bps=round(bps * self._rules.rate),
            after_bps=bps,
            valid_s=int(LEASE_MAX_S),
            first_sequence=lease.burst.first_sequence,
            session=lease.session,
            punch=not lease.punched,
        )
        lease.response = fcc.write(told, lease.face)
        self._counters["bursts begun"] += 1
        start = [Start(lease.number, lease.burst, lease.to)] if lease.punched else []
        return [Send(lease.response, lease.source), *start]

    def _punch(self, lease: _Lease, event: Punched) -> list[Command]:
        """Let the media go where the punch came from, once: the same host, with the number that only it was told."""
        try:
            message = fcc.parse(event.data, lease.face)
        except fcc.FccError:
            return []
        right = isinstance(message, fcc.Punch) and message.session == lease.session
        if lease.punched or not right or event.source[0] != lease.source[0]:
            return []
        lease.punched, lease.to = True, event.source
        return [Start(lease.number, lease.burst, lease.to)]

    def _ended(self, end: fcc.End, face: fcc.Face, source: Address) -> list[Command]:
        for lease in self._leases.values():
            if lease.source == source and lease.face == face and lease.group == end.group:
                if end.first_multicast is None:
                    return self._end(lease, "ended")
                lease.burst.stop_before(end.first_multicast)
                return self._end(lease, "ended") if lease.burst.over else []
        return []

    def _end(self, lease: _Lease, why: str) -> list[Command]:
        self._counters[f"bursts {why}"] += 1
        del self._leases[lease.number]
        return [Close(lease.number)]

    def _silent(self, why: str) -> list[Command]:
        self._counters[f"requests {why}"] += 1
        return []


def media_port(request: fcc.Request, face: fcc.Face) -> int:
    """Tell the port that a box takes the burst at: in Huawei's set the one below that of its signalling."""
    return request.client_port - 1 if face == "huawei" and request.client_port > 1 else request.client_port


def face_of(data: bytes) -> fcc.Face:
    """Tell the message set of a datagram: format 5 asks in Huawei's set (32 bytes) and ends in the other (16 bytes)."""
    kind = data[0] & 0x1F if data else 0
    return "huawei" if kind == 9 or (kind == 5 and len(data) > 16) else "telecom"
