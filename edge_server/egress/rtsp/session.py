"""What a conversation remembers of one session."""

from __future__ import annotations

from dataclasses import dataclass

from edge_server.egress.rtsp.address import CONTROL
from edge_server.egress.rtsp.negotiate import Link
from edge_server.egress.rtsp.replies import BEGINNING_REACHED, END_OF_STREAM
from edge_server.egress.rtsp.words import Title, Wound
from edge_server.pacing.stream import Stream
from wire.rtsp import Headers

REPEAT_NOTICE_S = 2.0
CLOSE_AFTER_END_S = 30.0


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
    gone: bool = False
    """There is nothing to play any more, for whoever would go on."""

    def npt_s(self, now: float) -> float:
        """Return the second of the lesson that the viewer sees about now."""
        if self.wound is None:
            return max(self.from_s, self.stream.position_s(now))
        return self.wound.npt_at(self.stream.position_s(now)) if self.stood_s is None else self.stood_s

    def how_it_plays(self, asked: Headers) -> list[tuple[str, str]]:
        """Write what an answer to PLAY says of speed and RTP's numbers."""
        told = []
        if self.wound is not None:
            told.append(("Scale", f"{self.wound.scale:.1f}"))
        elif "Scale" in asked:
            told.append(("Scale", "1"))
        if "Speed" in asked:
            told.append(("Speed", "1"))
        if self.link.rtp:
            where, stream = f"url={self.base}/{CONTROL}", self.stream
            told.append(("RTP-Info", f"{where};seq={stream.sequence};rtptime={stream.rtp_timestamp()}"))
        return told

    @property
    def live(self) -> bool:
        """Tell whether it is a channel that goes on for ever."""
        return not self.gone and self.title.airtime is not None and self.title.airtime.live_zero_s is not None

    @property
    def closes(self) -> bool:
        """Tell whether nothing can come after its end: who has wound will play on, as who watches a channel."""
        return self.notice == END_OF_STREAM and not self.live

    def next_notice(self) -> float | None:
        """Tell when its end is to be told again, or acted upon; None for never."""
        if self.ended_at is None or (self.repeated and not self.closes):
            return None
        return self.ended_at + (CLOSE_AFTER_END_S if self.repeated else REPEAT_NOTICE_S)

    @property
    def notice(self) -> int:
        """What its end is called."""
        return END_OF_STREAM if self.wound is None or self.wound.scale > 0 else BEGINNING_REACHED
