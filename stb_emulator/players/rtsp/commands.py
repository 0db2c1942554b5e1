"""What the conversation wants done, and the states that it goes through."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from stb_emulator.players.rtsp.offer import Media
from wire.rtsp import Transport


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Close, and begin again at this address on a new connection."""

    url: str


@dataclass(frozen=True, slots=True)
class Receive:
    """Data will come like this from now on."""

    transport: Transport
    media: Media
    profile: str
    reports: bool = False
    """Send RTCP reports: the box has no other sign of life."""


@dataclass(frozen=True, slots=True)
class Punch:
    """Send this datagram from our data (or control) port to the server's port."""

    data: bytes
    port: int
    control: bool = False
    host: str = ""
    """Another server than the one we talk to."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Play goes on elsewhere, or at another speed; what comes now does not continue what came before."""

    scale: float


@dataclass(frozen=True, slots=True)
class Paused:
    """No data will come until the next PLAY."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The server says that the lesson is over."""

    how: str


@dataclass(frozen=True, slots=True)
class Deviated:
    """The server departed from the protocol."""

    kind: str


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more to say; close."""


Command = Send | Reconnect | Receive | Punch | Moved | Paused | Ended | Deviated | Done


class State(Enum):
    """Where the session is."""

    OPTIONS = auto()
    DESCRIBE = auto()
    SETUP = auto()
    PUNCH = auto()
    PLAY = auto()
    PLAYING = auto()
    TEARDOWN = auto()
    DONE = auto()
