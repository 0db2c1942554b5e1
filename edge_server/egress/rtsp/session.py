"""What a conversation remembers of one session."""

from __future__ import annotations

from dataclasses import dataclass

from edge_server.egress.rtsp.negotiate import Link
from edge_server.egress.rtsp.replies import BEGINNING_REACHED, END_OF_STREAM
from edge_server.egress.rtsp.words import Title, Wound
from edge_server.pacing.stream import Stream


@dataclass(slots=True)
class Session:
    """One title, one transport, one place in it."""

    session_id: str
    title: Title
    link: Link
    stream: Stream
    base: str
    nat_key: int
    """Number by which a punch of the box shows that it is this session's; nobody else knows it."""
    ended_at: float | None = None
    repeated: bool = False
    wound: Wound | None = None
    """Key pictures at another speed are what it plays."""
    from_s: float = 0.0
    """Second of the lesson from which it last began to play."""
    stood_s: float | None = None
    """Second of the lesson at which a winding was stopped."""

    def npt_s(self, now: float) -> float:
        """Return the second of the lesson that the viewer sees about now."""
        if self.wound is None:
            return max(self.from_s, self.stream.position_s(now))
        return self.wound.npt_at(self.stream.position_s(now)) if self.stood_s is None else self.stood_s

    @property
    def notice(self) -> int:
        """What its end is called."""
        return END_OF_STREAM if self.wound is None or self.wound.scale > 0 else BEGINNING_REACHED
