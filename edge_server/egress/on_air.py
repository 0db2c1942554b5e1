"""Lessons given live, over HTTP and to multicast groups: what `edge_server.live` makes, as it is made.

``/live/{id}/index.m3u8`` lists the last segments, ``/live/{id}/{number}.ts`` are they, ``/live/{id}.ts`` is the stream
from the last key picture on. Other ids below ``/live/`` are linear channels (`egress.live`).
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from aiohttp import web

from edge_server.live import SLICE_TICKS
from edge_server.live.channel import Broadcast, LiveChannel
from edge_server.live.mux import AUDIO_PID, BASE_TICKS, PMT_PID, VIDEO_PID, Slice
from edge_server.live.segments import TARGET_S
from edge_server.sessions.tickets import Allowed, Refused
from wire.m3u8 import MediaPlaylist, Segment
from wire.m3u8_write import write_media
from wire.mpegts import PACKET_BYTES, PAT_PID, discontinuity_preamble
from wire.playseek import PlayseekError, find_playseek
from wire.rtp import MP2T_PAYLOAD_TYPE, rtp_header

PLAYLIST_TYPE, TS_TYPE = "application/vnd.apple.mpegurl", "video/mp2t"
ANYWHERE = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-cache"}
KEPT = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=60"}
NOT_ON_AIR = "现在没有直播 / nothing is on air now\n"
GONE = "这一段已过去 / this segment is over\n"
NO_SPAN = "直播不能回看 / what is given live cannot be seen again\n"
FULL = "观看人数已满，请稍后再试 / as many watch as may; try again later\n"
ENDED_KEPT_S = 60.0
"""After the end the list says ENDLIST for so long, so that players end in peace."""
VIEWERS_MAX_COUNT = 200
BEHIND_MAX_BYTES = 8 << 20
"""A viewer of the stream that reads too slowly is left."""
STUCK_S = 30.0
DATAGRAM_PACKETS = 7
"""1,316 bytes: what fits an Ethernet frame."""

Door = Callable[[str], Allowed | Refused]


def playlist_of(broadcast: Broadcast) -> MediaPlaylist | None:
    """List the last segments; None while there is none."""
    kept, listed = tuple(broadcast.segments.kept), broadcast.segments.listed()
    if not listed:
        return None
    first = listed[0]
    return MediaPlaylist(
        segments=tuple(
            Segment(
                f"{each.number}.ts",
                each.duration_s,
                discontinuity=each.joins and each is not first,
                starts_at=each.starts_at if each.joins or each is first else None,
            )
            for each in listed
        ),
        target_duration_s=TARGET_S,
        version=3,
        media_sequence=first.number,
        vod=False,
        ended=broadcast.ended,
        independent=False,
        discontinuity_sequence=broadcast.segments.joins_gone
        + sum(each.joins for each in kept[: len(kept) - len(listed)])
        + first.joins,
    )


class OnAir:
    """The routes of all live channels."""

    def __init__(self, channels: Sequence[LiveChannel], door: Door, monotonic: Callable[[], float]) -> None:
        """Prepare.

        Args:
            channels: the live channels.
            door: judges a decoded path, ticket and all.
            monotonic: seconds.
        """
        self.counters: Counter[str] = Counter()
        self.viewers = 0
        """Of streams that have no end."""
        self._channels = {each.plan.channel_id: each for each in channels}
        self._door, self._monotonic = door, monotonic

    def routes(self) -> list[web.RouteDef]:
        """Offer lists, segments and streams; to be put in front of those of linear channels."""
        if not self._channels:
            return []
        id_ = "{channel:" + "|".join(sorted(self._channels)) + "}"
        found = []
        for before in ("", "/t/{ticket}"):
            found += [
                web.get(f"{before}/live/{id_}/index.m3u8", self._index),
                web.get(f"{before}/live/{id_}/{{number:[0-9]{{1,15}}}}.ts", self._segment),
                web.get(f"{before}/live/{id_}.ts", self._stream, allow_head=False),
            ]
        return found

    def _broadcast(self, request: web.Request) -> Broadcast:
        """Return what is on, or was a minute ago.

        Raises:
            web.HTTPException: nothing, or the door is shut.
        """
        ticket, channel = request.match_info.get("ticket"), self._channels[request.match_info["channel"]]
        path = request.path.removeprefix(f"/t/{ticket}") if ticket is not None else request.path
        judged = self._door(path if ticket is None else f"/t/{ticket}{path}")
        if isinstance(judged, Refused):
            raise _refusal(judged.status, judged.words)
        broadcast = channel.broadcast
        if broadcast is not None and self._monotonic() - broadcast.ended_s > ENDED_KEPT_S:
            broadcast = None
        if broadcast is None:
            raise _refusal(404, NOT_ON_AIR)
        return broadcast

    async def _index(self, request: web.Request) -> web.StreamResponse:
        made = playlist_of(self._broadcast(request))
        _no_span(request)
        if made is None:
            raise _refusal(404, NOT_ON_AIR)
        return web.Response(body=write_media(made).encode(), content_type=PLAYLIST_TYPE, headers=ANYWHERE)

    async def _segment(self, request: web.Request) -> web.StreamResponse:
        found = self._broadcast(request).segments.find(int(request.match_info["number"]))
        if found is None:
            raise _refusal(404, GONE)
        return web.Response(body=found.data, content_type=TS_TYPE, headers=KEPT)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        broadcast, channel = self._broadcast(request), self._channels[request.match_info["channel"]]
        _no_span(request)
        if broadcast.ended:
            raise _refusal(404, NOT_ON_AIR)
        if self.viewers >= VIEWERS_MAX_COUNT:
            self.counters["refused 503"] += 1
            return web.Response(status=503, text=FULL, headers={"Retry-After": "30"})
        response = web.StreamResponse(headers={"Content-Type": TS_TYPE, **ANYWHERE, "Cache-Control": "no-store"})
        response.force_close()
        waiting = _Waiting(broadcast.segments.coming)
        channel.listeners.add(waiting.take)
        self.viewers += 1
        try:
            await response.prepare(request)
            while (data := await waiting.next()) is not None:
                async with asyncio.timeout(STUCK_S):
                    await response.write(data)
        except (TimeoutError, OSError):  # it reads nothing, or too slowly, or is gone
            self.counters["viewers left behind"] += waiting.behind
            if request.transport is not None:
                request.transport.abort()
        finally:
            channel.listeners.discard(waiting.take)
            self.viewers -= 1
        return response


class _Waiting:
    """What one viewer of a stream has still to get."""

    def __init__(self, first: bytes) -> None:
        self.behind = False
        self._data: deque[bytes] = deque([first] if first else [])
        self._bytes, self._over = 0, False
        self._come = asyncio.Event()
        if first:
            self._come.set()

    def take(self, piece: Slice | None) -> None:
        """See `edge_server.live.channel.Listener`."""
        if piece is None:
            self._over = True
        elif not self.behind:
            self._data.append(piece.data)
            self._bytes += len(piece.data)
            self.behind = self._bytes > BEHIND_MAX_BYTES
        self._come.set()

    async def next(self) -> bytes | None:
        """Return what has come; None at the end.

        Raises:
            ConnectionError: the viewer is too slow.
        """
        await self._come.wait()
        self._come.clear()
        if self.behind:
            raise ConnectionError("too slow")
        data = b"".join(self._data)
        self._data.clear()
        self._bytes = 0
        if self._over:
            self._come.set()
            return data or None
        return data


class LiveGroup:
    """Sends one channel to a multicast group, bare or in RTP; between broadcasts nothing."""

    def __init__(self, channel: LiveChannel, out: socket.socket, counters: Counter[str]) -> None:
        """Begin to listen."""
        self._out, self._counters, self._rtp = out, counters, channel.plan.rtp
        self._ssrc, self._sequence, self._stamp = secrets.randbits(32), secrets.randbits(16), secrets.randbits(32)
        self._before = self._begun = False
        channel.standing.append(self.take)

    def take(self, piece: Slice | None) -> None:
        """See `edge_server.live.channel.Listener`."""
        if piece is None:
            self._begun = False
            return
        data = piece.data
        if not self._begun and self._before:  # another clock, other counters (ISO/IEC 13818-1 §2.4.3.5)
            pids = dict.fromkeys((PAT_PID, PMT_PID, VIDEO_PID, AUDIO_PID), 0)
            data = discontinuity_preamble(pids, pcr_pid=VIDEO_PID, pcr=(piece.begin + BASE_TICKS) * 300) + data
        self._begun = self._before = True
        step = DATAGRAM_PACKETS * PACKET_BYTES
        for at in range(0, len(data), step):
            head = b""
            if self._rtp:
                stamp = self._stamp + piece.begin + SLICE_TICKS * at // len(data)
                head = rtp_header(MP2T_PAYLOAD_TYPE, self._sequence, stamp, self._ssrc)
                self._sequence += 1
            try:
                self._out.send(head + data[at : at + step])
            except OSError:
                self._counters["datagrams lost"] += 1


class LiveGroups:
    """A ``runtime.service.Service``; all groups of live channels."""

    def __init__(self, channels: Sequence[LiveChannel], open_out: Callable[[str, int], socket.socket]) -> None:
        """Nothing is opened yet. ``open_out`` opens a socket to a group; it raises OSError when there is no way."""
        self.counters: Counter[str] = Counter()
        self._channels = [each for each in channels if each.plan.address]
        self._open = open_out

    async def run(self, ready: Callable[[], None]) -> None:
        """Send until cancelled.

        Raises:
            OSError: there is no way to a group.
        """
        with ExitStack() as opened:
            for each in self._channels:
                out = opened.enter_context(self._open(each.plan.address, each.plan.port))
                group = LiveGroup(each, out, self.counters)
                opened.callback(each.standing.remove, group.take)
            ready()
            await asyncio.Event().wait()

    async def drain(self) -> None:
        """Nothing to finish."""


def _no_span(request: web.Request) -> None:
    """Refuse to show what is over.

    Raises:
        web.HTTPException: a span of the past is asked for.
    """
    try:
        asked = find_playseek(dict(request.query)) is not None
    except PlayseekError:
        asked = True
    if asked:
        raise _refusal(404, NO_SPAN)


def _refusal(status: int, words: str) -> web.HTTPException:
    kinds: dict[int, type[web.HTTPException]] = {404: web.HTTPNotFound, 410: web.HTTPGone}
    return kinds.get(status, web.HTTPForbidden)(text=words, headers=ANYWHERE)
