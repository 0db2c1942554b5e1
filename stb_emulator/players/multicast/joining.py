"""Fast channel change as a box does it: ask, take the burst, join when told, say from where on. No sockets, no clock.

The burst and the group carry the same sequence numbers. From the first packet of the group on, later ones of the burst
are not wanted: nothing comes twice, and what lies between still comes by the burst.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wire.fcc import COPIES, Action, End, Face, Join, Message, Punch, Request, Response, write

FIRST_PACKET_S = 1.0
"""How long the first packet of a burst is waited for."""
JOIN_MAX_S = 15.0
"""Longest burst without being told to join."""
REDIRECTS_MAX = 5

Server = tuple[str, int]


class State(StrEnum):
    """Where a change of channel is."""

    ASKED = "asked"
    WAITING = "waiting"
    """A burst was promised."""
    BURST = "burst"
    JOINING = "joining"
    """The group was asked for, and the burst goes on."""
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Say:
    """Send this to a server."""

    data: bytes
    server: Server
    by_media: bool = False
    """From the media port instead of the signalling one."""


@dataclass(frozen=True, slots=True)
class JoinGroup:
    """Join the group now."""


@dataclass(frozen=True, slots=True)
class Noted:
    """Something for the report."""

    zh: str
    en: str


Command = Say | JoinGroup | Noted


class Joining:
    """One change to one channel."""

    def __init__(self, face: Face, request: Request, server: Server, answer_s: float) -> None:
        """Ask ``server`` for what ``request`` says; without an answer after ``answer_s`` join at once."""
        self.state = State.ASKED
        self.first_multicast: int | None = None
        self.burst_packets = 0
        self._face, self._request, self._server, self._answer_s = face, request, server, answer_s
        self._due = 0.0
        self._redirects = 0

    def start(self, now: float) -> list[Command]:
        """Ask."""
        self.state, self._due = State.ASKED, now + self._answer_s
        return self._say(self._request)

    @property
    def next_timer(self) -> float | None:
        """When `tick` is due."""
        return None if self.state in (State.JOINING, State.DONE) else self._due

    def tick(self, now: float) -> list[Command]:
        """Give up waiting."""
        if self.next_timer is None or now < self._due:
            return []
        words = {
            State.ASKED: ("快速换台没有应答", "no answer to the request for a burst"),
            State.WAITING: ("快速换台没有数据", "the burst did not begin"),
            State.BURST: ("快速换台没有通知加入组播", "the server did not say when to join"),
        }[self.state]
        return [Noted(*words), *self._join()]

    def message(self, message: Message, now: float) -> list[Command]:
        """Take what the server says; every message comes several times."""
        match message:
            case Response() if self.state is State.ASKED:
                return self._answered(message, now)
            case Join() if self.state in (State.WAITING, State.BURST):
                return self._join()
        return []

    def burst(self, sequence: int, now: float) -> bool:
        """Take a packet of the burst; False when it is not wanted, because the group brings it too."""
        if self.state is State.WAITING:
            self.state, self._due = State.BURST, now + JOIN_MAX_S
        if self.first_multicast is not None and (sequence - self.first_multicast) & 0xFFFF < 0x8000:
            return False
        self.burst_packets += 1
        return True

    def multicast(self, sequence: int) -> list[Command]:
        """Take the first packet of the group: the burst may end before it."""
        if self.first_multicast is not None:
            return []
        self.first_multicast, self.state = sequence, State.DONE
        return self._say(End(self._request.group, sequence))

    def leave(self) -> list[Command]:
        """The viewer turns away: end what still runs."""
        if self.state is State.DONE:
            return []
        self.state = State.DONE
        return self._say(End(self._request.group, None))

    def _answered(self, response: Response, now: float) -> list[Command]:
        if not response.ok:
            return [Noted("快速换台被拒绝", "the server refuses a burst"), *self._join()]
        if response.action is Action.JOIN:
            return self._join()
        host = self._server[0] if response.server == "0.0.0.0" else response.server
        if response.action is Action.REDIRECT:
            self._redirects += 1
            if self._redirects > REDIRECTS_MAX:
                words = f"more than {REDIRECTS_MAX} redirects of a burst"
                return [Noted("快速换台重定向过多", words), *self._join()]
            port = response.signal_port if self._face == "telecom" else response.media_port
            self._server = (host, port or self._server[1])
            return self.start(now)
        self.state, self._due = State.WAITING, now + FIRST_PACKET_S
        media = (host, response.media_port or self._server[1])
        self._server = (host, response.signal_port or self._server[1])
        if self._face == "huawei" and response.punch and response.session:
            return [Say(write(Punch(response.session), "huawei"), media, by_media=True)] * COPIES
        if self._face == "telecom" and media[1] != self._server[1]:
            return [Say(b"", media)]
        return []

    def _join(self) -> list[Command]:
        self.state = State.JOINING
        return [JoinGroup()]

    def _say(self, message: Message) -> list[Command]:
        return [Say(write(message, self._face), self._server)] * COPIES
