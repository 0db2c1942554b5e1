"""HLS of linear channels: a sliding window on the lessons' own segments, and spans of the past (catch-up).

``/live/{channel}/index.m3u8`` lists ``{item}/{rendition}/{version}/seg-NNNNN.ts`` below itself: `egress.hls` has them.
Numbers of segments and joins count from the channel's epoch, so that every process writes the same playlist and a
restart changes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web

from edge_server.egress import EgressContext
from edge_server.linear.round import Airing, Round
from edge_server.packager import Offered, offered_version
from edge_server.sessions.tickets import Allowed, Refused
from media.ts_index import TsSegment
from wire.m3u8 import MediaPlaylist, Segment, nearest
from wire.m3u8_write import write_media
from wire.mpegts import PTS_HZ
from wire.playseek import Playseek, PlayseekError, find_playseek

WINDOW_S = 60.0
"""What a live playlist lists of the past."""
AHEAD_TARGETS = 2
"""Segments that begin so many target durations ahead are listed: players begin three segments before the end, and so
show what is on now."""
CATCH_UP_S = 7 * 86400.0
"""How far back spans may begin."""
SPAN_MAX_S = 6 * 3600.0
RENDITION = "R12"
PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
ANYWHERE = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-cache"}
NO_CHANNEL = "没有这个频道，或现在没有节目 / no such channel, or nothing is on\n"
TOO_OLD = "这个时段不能回看 / this span of time is not offered\n"

Rounds = Callable[[str], Round | None]
Look = Callable[[str, str], Offered | None]
"""Gives the packaged lesson of an item id and a version."""


class NotOffered(LookupError):
    """The span lies in the future, or too far back."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """One segment on air."""

    airing: Airing
    number: int
    """In its lesson, from 0."""
    begins_ticks: int
    segment: TsSegment


def live_playlist(round_: Round, look: Look, now: datetime) -> MediaPlaylist | None:
    """List what is on now; None when a lesson has just been withdrawn (the channel is made anew within a second)."""
    at = round_.ticks_of(now)
    ahead = AHEAD_TARGETS * target_s(round_) * PTS_HZ
    return _playlist(round_, look, at - int(WINDOW_S * PTS_HZ), at + ahead, ended=False, event=False)


def span_playlist(round_: Round, look: Look, span: Playseek, now: datetime) -> MediaPlaylist | None:
    """List a span; it grows while it is not over.

    Raises:
        NotOffered: see there.
    """
    if span.since >= now or (now - span.since).total_seconds() > CATCH_UP_S:
        raise NotOffered
    end = span.since + timedelta(seconds=SPAN_MAX_S)
    end = end if span.until is None else min(end, span.until)
    since, at = round_.ticks_of(span.since), round_.ticks_of(now)
    until = min(round_.ticks_of(end), at + AHEAD_TARGETS * target_s(round_) * PTS_HZ)
    return _playlist(round_, look, since, until, ended=end <= now, event=end > now)


def target_s(round_: Round) -> int:
    """Return the target duration, which must not change: the longest segment of the round (RFC 8216 §6.2.1)."""
    return max(1, *(nearest(slot.segment_max_s) for slot in round_.channel.slots))


def _playlist(round_: Round, look: Look, since: int, until: int, *, ended: bool, event: bool) -> MediaPlaylist | None:
    try:
        cuts = [each for each in _cuts(round_, look, since, until) if each.begins_ticks < until]
    except NotOffered:
        return None
    if not cuts:
        return None
    first = cuts[0]
    segments = []
    for each in cuts:
        slot, joins = each.airing.slot, each is not first and each.number == 0
        uri = f"{slot.item_id}/{RENDITION}/{slot.version}/seg-{each.number + 1:05d}.ts"
        starts = round_.moment_of(each.begins_ticks) if joins or each is first else None
        segments.append(Segment(uri, each.segment.duration_s, discontinuity=joins, starts_at=starts))
    return MediaPlaylist(
        segments=tuple(segments),
        target_duration_s=target_s(round_),
        version=3,
        media_sequence=first.airing.segments_before + first.number,
        vod=ended,
        ended=ended,
        discontinuity_sequence=first.airing.number,
        event=event,
    )


def _cuts(round_: Round, look: Look, since: int, until: int) -> Iterator[_Cut]:
    """Yield the segments from the one that is on at ``since``."""
    number = round_.number_at(since)
    while (airing := round_.airing(number)).begins_ticks < until:
        found = look(airing.slot.item_id, airing.slot.version)
        if found is None:
            raise NotOffered
        segments = found.packaged.ts_index.segments
        zero = airing.begins_ticks + round_.lead_ticks(number)
        for place, segment in enumerate(segments):
            begins = zero + round(segment.start_s * PTS_HZ)
            if begins + segment.duration_s * PTS_HZ > since:
                yield _Cut(airing, place, begins, segment)
        number += 1


def routes(ctx: EgressContext, rounds: Rounds, door: Callable[[str], Allowed | Refused]) -> list[web.RouteDef]:
    """Offer the playlists."""

    def look(item_id: str, version: str) -> Offered | None:
        return offered_version(ctx.view(), ctx.shelf, item_id, RENDITION, version)

    async def index(request: web.Request) -> web.StreamResponse:
        ticket, channel_id = request.match_info.get("ticket"), request.match_info["channel"]
        path = f"/live/{channel_id}/index.m3u8"
        judged = door(path if ticket is None else f"/t/{ticket}{path}")
        if isinstance(judged, Refused):
            return web.Response(status=judged.status, text=judged.words, headers=ANYWHERE)
        round_ = rounds(channel_id)
        if round_ is None:
            return web.Response(status=404, text=NO_CHANNEL, headers=ANYWHERE)
        now = ctx.clock.utc()
        try:
            span = find_playseek(dict(request.query))
            made = live_playlist(round_, look, now) if span is None else span_playlist(round_, look, span, now)
        except PlayseekError as error:
            return web.Response(status=400, text=f"playseek: {error}\n", headers=ANYWHERE)
        except NotOffered:
            return web.Response(status=404, text=TOO_OLD, headers=ANYWHERE)
        if made is None:
            return web.Response(status=404, text=NO_CHANNEL, headers=ANYWHERE)
        return web.Response(body=write_media(made).encode(), content_type=PLAYLIST_TYPE, headers=ANYWHERE)

    ways = ("/live/{channel}/index.m3u8", "/t/{ticket}/live/{channel}/index.m3u8")
    return [web.get(way, index) for way in ways]
