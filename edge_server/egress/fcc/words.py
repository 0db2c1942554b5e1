"""Events that the conversation is told, and commands that it gives. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from edge_server.egress.fcc.burst import Burst

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Heard:
    """A datagram came to the port."""

    data: bytes
    source: Address


@dataclass(frozen=True, slots=True)
class Opened:
    """Answer to Open: the burst can leave from this port."""

    lease: int
    port: int


@dataclass(frozen=True, slots=True)
class NotOpened:
    """Answer to Open: no port."""

    lease: int


@dataclass(frozen=True, slots=True)
class Punched:
    """A datagram came to the port that a burst leaves from."""

    lease: int
    data: bytes
    source: Address


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """The box has, or will have in a moment, all that the group has had."""

    lease: int


@dataclass(frozen=True, slots=True)
class Over:
    """All is sent that will be."""

    lease: int


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Nobody listens there: the system of the box says so."""

    lease: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = Heard | Opened | NotOpened | Punched | CaughtUp | Over | Unwanted | Tick


@dataclass(frozen=True, slots=True)
class Send:
    """Answer from the port."""

    data: bytes
    to: Address


@dataclass(frozen=True, slots=True)
class Open:
    """Take a port for a burst, and answer with Opened or NotOpened at once."""

    lease: int


@dataclass(frozen=True, slots=True)
class Start:
    """Send the burst there by the clock."""

    lease: int
    burst: Burst
    to: Address


@dataclass(frozen=True, slots=True)
class Close:
    """Send no more, and give the port back."""

    lease: int


Command = Send | Open | Start | Close
