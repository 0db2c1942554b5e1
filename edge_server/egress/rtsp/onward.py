"""How a linear channel goes on where the title of a session ends: a channel has no end, its titles have. Pure."""

from __future__ import annotations

from edge_server.egress.rtsp.session import Session
from edge_server.egress.rtsp.words import Command, Event, Follow, Found


def needs_newer(value: str | None, session: Session, now: float) -> bool:
    """Tell whether a PLAY with this Range leads behind the end of what the session has: after a pause of hours."""
    air = session.title.airtime
    if air is None or air.live_zero_s is None or value is None or value.replace(" ", "").startswith("npt=now"):
        return False
    return now - air.live_zero_s >= session.title.timeline.duration_s


def renewed(session: Session, found: Event) -> list[Command]:
    """Take what is on now; the PLAY that follows chooses the place. What was there stays when there is nothing."""
    if not isinstance(found, Found) or found.title is None:
        return []
    session.title, session.wound = found.title, None
    return [Follow(session.session_id, found.title)]


def gone_on(session: Session, found: Event, now: float) -> list[Command]:
    """Go on with the next title, at the very packet where the last one ended; a channel become another one begins now.

    Returns:
        Nothing when the channel is no more.
    """
    stream = session.stream
    title = found.title if isinstance(found, Found) else None
    air = None if title is None else title.airtime
    if title is None or air is None or air.live_zero_s is None:
        return []
    if isinstance(found, Found) and found.at_bytes is not None:
        stream.play(found.at_bytes, stream.end_at, timeline=title.timeline, seamless=True)
    else:
        _, offset = title.seek(now - air.live_zero_s)
        stream.play(offset, now, timeline=title.timeline)
    session.title = title
    session.from_s = title.timeline.npt_at(stream.offset_bytes)
    return [Follow(session.session_id, title)]
