"""HLS of linear channels: a sliding window on the lessons' own segments, and spans of the past (catch-up).

``/live/{channel}/master.m3u8`` names ``{rendition}.m3u8`` beside it; ``/live/{channel}/index.m3u8`` is the one that all
boxes play. A playlist lists ``{item}/{rendition}/{version}/seg-NNNNN.ts`` below itself: `egress.hls` has them.
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
from wire.m3u8 import MasterPlaylist, MediaPlaylist, Segment, Variant, nearest
from wire.m3u8_write import write_master, write_media
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
MASTER = "master"
PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
ANYWHERE = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-cache"}
NO_CHANNEL = "没有这个频道，或现在没有节目 / no such channel, or nothing is on\n"
TOO_OLD = "这个时段不能回看 / this span of time is not offered\n"

Rounds = Callable[[str], Round | None]
Look = Callable[[str, str, str], Offered | None]
"""Gives the packaged lesson of an item id, the name of a rendition, and a version."""


class NotOffered(LookupError):
    """The span lies in the future, or too far back."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """One segment on air."""

    airing: Airing
    number: int
    """In its lesson, from 0."""
    begins_ticks: int
    version: str
    """Of the rendition."""
    segment: TsSegment


def live_playlist(round_: Round, look: Look, now: datetime, name: str = RENDITION) -> MediaPlaylist | None:
    """List what is on now in one of ``round_.ladder``.

    None when a lesson has just been withdrawn (the channel is made anew within a second).
    """
    at = round_.ticks_of(now)
    ahead = AHEAD_TARGETS * target_s(round_, name) * PTS_HZ
    return _playlist(round_, look, name, at - int(WINDOW_S * PTS_HZ), at + ahead, ended=False, event=False)


def span_playlist(
    round_: Round, look: Look, span: Playseek, now: datetime, name: str = RENDITION
) -> MediaPlaylist | None:
    """List a span; it grows while it is not over.

    Raises:
        NotOffered: see there.
    """
    if span.since >= now or (now - span.since).total_seconds() > CATCH_UP_S:
        raise NotOffered
    end = span.since + timedelta(seconds=SPAN_MAX_S)
    end = end if span.until is None else min(end, span.until)
    since, at = round_.ticks_of(span.since), round_.ticks_of(now)
    until = min(round_.ticks_of(end), at + AHEAD_TARGETS * target_s(round_, name) * PTS_HZ)
    return _playlist(round_, look, name, since, until, ended=end <= now, event=end > now)


def target_s(round_: Round, name: str = RENDITION) -> int:
    """Return the target duration, which must not change: the longest segment of the round (RFC 8216 §6.2.1)."""
    return max(1, *(nearest(step.segment_max_s) for step in round_.steps(name)))


def master_playlist(round_: Round, query: str = "") -> MasterPlaylist:
    """Name the renditions that every lesson of the round has; ``query`` goes on to their playlists.

    Each is cut by itself, so their media sequences are not the same; numbers of joins are (RFC 8216 §6.2.4).
    """
    variants = []
    for name in round_.ladder():
        steps = round_.steps(name)
        variants.append(
            Variant(
                uri=f"{name}.m3u8{'?' if query else ''}{query}",
                bandwidth_bps=max(each.peak_bps for each in steps),
                average_bandwidth_bps=max(each.average_bps for each in steps),
                codecs=",".join(dict.fromkeys(codec for each in steps for codec in each.codecs)),
                resolution=max(each.resolution for each in steps),
                frame_rate=max(each.frame_rate for each in steps),
            )
        )
    return MasterPlaylist(tuple(variants), version=3)


def _playlist(
    round_: Round, look: Look, name: str, since: int, until: int, *, ended: bool, event: bool
) -> MediaPlaylist | None:
    try:
        cuts = [each for each in _cuts(round_, look, name, since, until) if each.begins_ticks < until]
    except NotOffered:
        return None
    if not cuts:
        return None
    first = cuts[0]
    segments = []
    for each in cuts:
        joins = each is not first and each.number == 0
        uri = f"{each.airing.slot.item_id}/{name}/{each.version}/seg-{each.number + 1:05d}.ts"
        starts = round_.moment_of(each.begins_ticks) if joins or each is first else None
        segments.append(Segment(uri, each.segment.duration_s, discontinuity=joins, starts_at=starts))
    return MediaPlaylist(
        segments=tuple(segments),
        target_duration_s=target_s(round_, name),
        version=3,
        media_sequence=round_.segments_before(first.airing.number, name) + first.number,
        vod=ended,
        ended=ended,
        discontinuity_sequence=first.airing.number,
        event=event,
    )


def _cuts(round_: Round, look: Look, name: str, since: int, until: int) -> Iterator[_Cut]:
    """Yield the segments from the one that is on at ``since``."""
    number, steps = round_.number_at(since), round_.steps(name)
    while (airing := round_.airing(number)).begins_ticks < until:
        version = steps[number % len(steps)].version
        found = look(airing.slot.item_id, name, version)
        if found is None:
            raise NotOffered
        segments = found.packaged.ts_index.segments
        zero = airing.begins_ticks + round_.lead_ticks(number)
        for place, segment in enumerate(segments):
            begins = zero + round(segment.start_s * PTS_HZ)
            if begins + segment.duration_s * PTS_HZ > since:
                yield _Cut(airing, place, begins, version, segment)
        number += 1


def routes(ctx: EgressContext, rounds: Rounds, door: Callable[[str], Allowed | Refused]) -> list[web.RouteDef]:
    """Offer the playlists."""

    def look(item_id: str, name: str, version: str) -> Offered | None:
        return offered_version(ctx.view(), ctx.shelf, item_id, name, version)

    async def index(request: web.Request) -> web.StreamResponse:
        ticket, channel_id = request.match_info.get("ticket"), request.match_info["channel"]
        file = request.match_info["file"]
        path = f"/live/{channel_id}/{file}.m3u8"
        judged = door(path if ticket is None else f"/t/{ticket}{path}")
        if isinstance(judged, Refused):
            return web.Response(status=judged.status, text=judged.words, headers=ANYWHERE)
        round_ = rounds(channel_id)
        name = RENDITION if file == "index" else file
        if round_ is None or name not in (*round_.ladder(), MASTER):
            return web.Response(status=404, text=NO_CHANNEL, headers=ANYWHERE)
        if name == MASTER:
            made_of = write_master(master_playlist(round_, request.query_string)).encode()
            return web.Response(body=made_of, content_type=PLAYLIST_TYPE, headers=ANYWHERE)
        now = ctx.clock.utc()
        try:
            span = find_playseek(dict(request.query))
            made = (
                live_playlist(round_, look, now, name) if span is None else span_playlist(round_, look, span, now, name)
            )
        except PlayseekError as error:
            return web.Response(status=400, text=f"playseek: {error}\n", headers=ANYWHERE)
        except NotOffered:
            return web.Response(status=404, text=TOO_OLD, headers=ANYWHERE)
        if made is None:
            return web.Response(status=404, text=NO_CHANNEL, headers=ANYWHERE)
        return web.Response(body=write_media(made).encode(), content_type=PLAYLIST_TYPE, headers=ANYWHERE)

    file = "{file:index|master|R[0-9]{1,3}}.m3u8"
    ways = ("/live/{channel}/" + file, "/t/{ticket}/live/{channel}/" + file)
    return [web.get(way, index) for way in ways]
