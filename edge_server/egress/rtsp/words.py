"""Events that a conversation is told, and commands that it gives. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge_server.egress.rtsp.address import Air
from edge_server.egress.rtsp.negotiate import Link
from edge_server.pacing.joined import Airtime
from edge_server.pacing.stream import Stream
from edge_server.pacing.timeline import Timeline
from wire.rtsp import Interleaved, Request, Response


class Title(Protocol):
    """One rendition of one item, as far as the conversation needs it."""

    @property
    def item_id(self) -> str:
        """Id of the courseware."""

    @property
    def name(self) -> str:
        """Title for people."""

    @property
    def timeline(self) -> Timeline:
        """Bytes and seconds."""

    @property
    def zero_s(self) -> float:
        """Presentation time inside the stream at which the lesson begins, in seconds."""

    def seek(self, npt_s: float) -> tuple[float, int]:
        """Return second and byte of the last key frame not after this second."""

    @property
    def airtime(self) -> Airtime | None:
        """What ties npt to the calendar; None for a lesson."""

    def wind(self, from_s: float, scale: float, until_s: float | None = None) -> Wound:
        """Return the key pictures from about this second on, at this speed; negative goes back.

        Pictures after ``until_s`` have not been on air yet.
        """


class Wound(Protocol):
    """Fast forward or rewind, as far as the conversation needs it."""

    @property
    def scale(self) -> float:
        """Seconds of the lesson a second."""

    @property
    def start_s(self) -> float:
        """Return npt of the first picture."""

    @property
    def end_s(self) -> float:
        """Return npt of where it leads to."""

    @property
    def timeline(self) -> Timeline:
        """Bytes and seconds of its own."""

    def npt_at(self, shown_s: float) -> float:
        """Return npt of the picture on the screen so many seconds after the first one came there."""


# Events beside the messages of the wire


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The peer's bytes are no RTSP."""

    why: str


@dataclass(frozen=True, slots=True)
class Found:
    """Answer to Look and Onward: the title, or None when there is none to play."""

    title: Title | None
    at_bytes: int | None = None
    """Where in it the title before goes on; None: nowhere."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Answer to Open: the media can flow. ``server_port`` is None for interleaved media."""

    server_port: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class NotOpened:
    """Answer to Open: no file or no port."""

    why: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A datagram came to a port of this session."""

    session_id: str
    control: bool = False
    """To the control port."""
    data: bytes = b""
    source: tuple[str, int] | None = None
    """Where from, when not from the port that media goes to."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The stream of this session has been sent and played to its end."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Stuck:
    """The reader of this session takes nothing any more."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Draining:
    """The service is going to stop."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone."""


Event = (
    Request
    | Response
    | Interleaved
    | Unreadable
    | Found
    | Opened
    | NotOpened
    | Heard
    | Ended
    | Stuck
    | Tick
    | Draining
    | Lost
)

# Commands


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes to the RTSP connection."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Look:
    """Find the title and answer with Found before the next request."""

    item_id: str
    rendition: str
    air: Air | None = None
    """A linear channel instead of a lesson."""


@dataclass(frozen=True, slots=True)
class Onward:
    """Find what goes on where this title ends, or what is on ``now``; answer with Found at once."""

    title: Title
    now: bool = False


@dataclass(frozen=True, slots=True)
class Follow:
    """Take the session's packets from this title from now on."""

    session_id: str
    title: Title


@dataclass(frozen=True, slots=True)
class Open:
    """Open file (lease) and sockets and answer with Opened or NotOpened at once."""

    session_id: str
    title: Title
    link: Link
    stream: Stream
    listens: bool = False
    """Datagrams from elsewhere than the announced port are heard, too."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Send media (or control) of this session to another port from now on."""

    session_id: str
    control: bool
    address: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this datagram where media (or control) goes."""

    session_id: str
    control: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Wind:
    """Take the session's packets from this winding; None: from the file again."""

    session_id: str
    wound: Wound | None


@dataclass(frozen=True, slots=True)
class Start:
    """Give the session's stream to the pacer."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Take the session's stream from the pacer; ``goodbye`` sends RTCP BYE."""

    session_id: str
    goodbye: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """Give back file and sockets of the session, after a BYE if its media was flowing."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close the connection when what was written has gone out."""

    why: str


Command = Send | Look | Onward | Follow | Open | Turn | Reply | Wind | Start | Stop | Close | Hangup
