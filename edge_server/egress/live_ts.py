"""A linear channel as one continuous transport stream by HTTP: ``/live/{channel}.ts``, from now on or of a span.

Bytes leave by the stream's own clock. The body has no end of its own; who reads too slowly gets later what others got
on time, who reads nothing loses the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from edge_server.egress import EgressContext
from edge_server.pacing.framing import RAW
from edge_server.pacing.joined import Window, Windows
from edge_server.pacing.service import Pacing
from edge_server.pacing.sink import Sink
from edge_server.pacing.stream import Stream
from edge_server.sessions.tickets import Allowed, Refused
from wire.playseek import Playseek, PlayseekError, find_playseek

TURN_S = 0.1
STUCK_S = 30.0
VIEWERS_MAX_COUNT = 200
CATCH_UP_S = 7 * 86400.0
HEADERS = {"Content-Type": "video/mp2t", "Cache-Control": "no-store", "Access-Control-Allow-Origin": "*"}
NO_CHANNEL = "没有这个频道，或现在没有节目 / no such channel, or nothing is on\n"
TOO_OLD = "这个时段不能回看 / this span of time is not offered\n"
FULL = "观看人数已满，请稍后再试 / as many watch as may; try again later\n"


class _Body(Sink):
    """Gathers what is due; at most what one turn may send."""

    def __init__(self, window: Window, pacing: Pacing, stream: Stream) -> None:
        super().__init__(window.source(pacing.chunks), stream, RAW, window.preamble, lambda: None)
        self.due: list[memoryview] = []

    def send(self, run: memoryview, width_bytes: int, count: int) -> int:
        """See Sink."""
        self.due.append(run)
        return count

    def send_extra(self, packet: memoryview) -> None:
        """See Sink."""
        self.due.append(packet)

    def send_control(self, packet: bytes) -> None:
        """See Sink: there is no RTCP."""


class LiveStreams:
    """The routes."""

    def __init__(
        self, ctx: EgressContext, windows: Windows, pacing: Pacing, door: Callable[[str], Allowed | Refused]
    ) -> None:
        """Prepare."""
        self._ctx, self._windows, self._pacing, self._door = ctx, windows, pacing, door
        self.viewers = 0

    def routes(self) -> list[web.RouteDef]:
        """Offer the streams."""
        return [
            web.get(way, self._answer, allow_head=False) for way in ("/live/{name}.ts", "/t/{ticket}/live/{name}.ts")
        ]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        ticket, channel_id = request.match_info.get("ticket"), request.match_info["name"]
        path = f"/live/{channel_id}.ts"
        judged = self._door(path if ticket is None else f"/t/{ticket}{path}")
        if isinstance(judged, Refused):
            return web.Response(status=judged.status, text=judged.words)
        now = self._ctx.clock.utc()
        try:
            span = find_playseek(dict(request.query)) or Playseek(now, None)
        except PlayseekError as error:
            return web.Response(status=400, text=f"playseek: {error}\n")
        if span.since > now or (now - span.since).total_seconds() > CATCH_UP_S:
            return web.Response(status=404, text=TOO_OLD)
        window = self._windows.at(channel_id, span.since)
        if window is None:
            return web.Response(status=404, text=NO_CHANNEL)
        if self.viewers >= VIEWERS_MAX_COUNT:
            return web.Response(status=503, text=FULL, headers={"Retry-After": "30"})
        response = web.StreamResponse(headers=HEADERS)
        response.force_close()
        self.viewers += 1
        try:
            await response.prepare(request)
            await self._play(response, window, span)
        except (TimeoutError, OSError):  # it reads nothing, or is gone, or the lesson is
            if request.transport is not None:
                request.transport.abort()
        finally:
            self.viewers -= 1
        return response

    async def _play(self, response: web.StreamResponse, window: Window | None, span: Playseek) -> None:
        assert window is not None
        clock, round_ = self._ctx.clock, window.round
        at = clock.monotonic()
        _, offset_bytes = window.seek(window.npt_of(span.since))
        while window is not None:
            stop_s = None if span.until is None else window.npt_of(span.until)
            if stop_s is not None and stop_s <= 0:
                return
            stream = Stream(window.timeline, rtp=False, ssrc=0, sequence=0, timestamp=0, now=at)
            body = _Body(window, self._pacing, stream)
            try:
                stream.play(offset_bytes, at, stop_s=stop_s)
                while not stream.all_sent:
                    body.pump(clock.monotonic(), 0.0)
                    due, body.due = body.due, []
                    if due:
                        async with asyncio.timeout(STUCK_S):
                            await response.write(b"".join(due))
                    await clock.sleep_until(clock.monotonic() + TURN_S)
            finally:
                body.close()
            if stop_s is not None and stop_s <= window.timeline.duration_s:
                return
            at, offset_bytes = stream.end_at, 0
            window = self._windows.holding(round_, window.following)
