"""WHEP over HTTP (draft-ietf-wish-whep, RFC 9725): POST an offer, get an answer; DELETE ends."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections import Counter
from collections.abc import Callable
from weakref import WeakValueDictionary

import structlog
from aiohttp import web

from edge_server.egress import EgressContext
from edge_server.egress.whep.chunks import Chunks
from edge_server.egress.whep.doors import ANYWHERE, OFFER_TYPE, FindLive, no_live, no_session, routes, words
from edge_server.egress.whep.inside import NoConnection, Peer
from edge_server.egress.whep.lesson import Lesson, open_lesson
from edge_server.egress.whep.negotiate import Refused, Side, Wanted, read_offer, write_answer
from edge_server.egress.whep.offers import offer_of, reached_at
from edge_server.egress.whep.outgoing import Numbers, Outgoing
from edge_server.egress.whep.pacing import Pacing
from edge_server.egress.whep.session import Session
from edge_server.egress.whep.shown import Shown, ShownLesson, ShownLive
from edge_server.sessions.viewing import Full, Viewings
from edge_server.store import StoredFile
from media import MediaError

RENDITIONS = ("R40", "R12")
"""Tried in this order when the viewer does not say."""
STOPPING = "服务正在停止 / the server is stopping"

log = structlog.get_logger()


class WhepService:
    """A ``runtime.service.Service``; its routes answer once it is ready."""

    def __init__(
        self,
        ctx: EgressContext,
        *,
        max_viewers: int,
        lives: FindLive = no_live,
        draw: Callable[[int], int] = secrets.randbits,
    ) -> None:
        """Prepare.

        Args:
            ctx: catalogue view, packaged files, clock.
            max_viewers: more are refused with 503.
            lives: finds a live channel.
            draw: random integer of so many bits.
        """
        self.counters: Counter[str] = Counter()
        self.viewings = Viewings(max_count=max_viewers, timeout_s=math.inf)
        self.chunks: Chunks | None = None
        self._ctx, self._draw, self._lives = ctx, draw, lives
        self._sessions: dict[str, tuple[str, Session]] = {}
        self._lessons: WeakValueDictionary[str, Lesson] = WeakValueDictionary()
        """Those that somebody watches; their files stay open as long."""
        self._group: asyncio.TaskGroup | None = None
        self._pacing = Pacing(ctx.clock)

    def routes(self) -> list[web.RouteDef]:
        """Offer the routes of this egress."""
        return routes(self.post, self.delete)

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pacing.run())
            self._group, self.chunks = group, Chunks(group)
            try:
                ready()
                await asyncio.Event().wait()
            finally:
                self._group = None

    async def drain(self) -> None:
        """Take nobody more, tell all viewers that it is over, and wait until they were told."""
        self._group = None
        for _, session in tuple(self._sessions.values()):
            session.end()
        clock = self._ctx.clock
        while self._sessions:
            await clock.sleep_until(clock.monotonic() + 0.02)

    def __len__(self) -> int:
        """Count the viewers, connected or connecting."""
        return len(self._sessions)

    async def post(self, request: web.Request) -> web.Response:
        """Answer an offer."""
        try:
            return await self._admit(request)
        except Refused as refused:
            self.counters[f"refused {refused.status}"] += 1
            headers = {"Retry-After": "10"} if refused.status == 503 else {}
            return words(refused.status, refused.words, headers)

    async def _admit(self, request: web.Request) -> web.Response:
        item_id = request.match_info["item_id"]
        raw = await offer_of(request)
        shown = await self._shown(item_id, request)
        wanted = read_offer(raw, profile_level_id=shown.profile_level_id, has_sound=shown.has_sound)
        host = reached_at(request)
        if self._group is None:
            raise Refused(503, STOPPING)
        session_id = secrets.token_urlsafe(18)
        now_s = self._ctx.clock.monotonic()
        try:
            self.viewings.admit(
                session_id, box=request.remote or "", item_id=item_id, transport="H264/SAVPF", now_s=now_s
            )
        except Full as error:
            raise Refused(503, "观看人数已满，请稍后再试 / too many viewers, try again later") from error
        try:
            answer, session = await self._open(host, shown, wanted)
        except BaseException:
            self.viewings.end(session_id)
            raise
        self._sessions[session_id] = item_id, session
        self._group.create_task(self._serve(session_id, session))
        # Relative, so that a path in front of ours (a ticket, a proxy) stays in front (RFC 3986 §5.3).
        headers = {"Location": f"{item_id}/{session_id}", **ANYWHERE}
        return web.Response(status=201, body=answer, content_type=OFFER_TYPE, headers=headers)

    async def _shown(self, item_id: str, request: web.Request) -> Shown:
        """Find what is to be watched: a channel on air, or a lesson."""
        channel = self._lives(item_id)
        if channel is not None:
            return ShownLive(channel)
        begin_s = _begin(request.query.get("start", "0"))
        lesson = await self._best(self._find(item_id, request.query.get("rendition")))
        if begin_s >= lesson.duration_s:
            raise Refused(400, f"课件只有 {lesson.duration_s:.0f} 秒 / the lesson lasts {lesson.duration_s:.0f} s")
        if self.chunks is None:
            raise Refused(503, STOPPING)
        return ShownLesson(lesson, self.chunks, begin_s)

    async def _open(self, host: str, shown: Shown, wanted: Wanted) -> tuple[bytes, Session]:
        """Open a port, and write the answer that names it."""
        session: Session
        try:
            peer = Peer(host, lambda data: session.feedback(data), lambda: session.end())
            mine, candidate = await peer.gather(active=wanted.theirs.active is not True)
        except (NoConnection, ValueError) as error:
            raise Refused(503, f"本机地址不能用于 WebRTC / no WebRTC at this address: {error}") from error
        stream = secrets.token_hex(8)
        video = Outgoing(wanted.video, self._numbers(), stream)
        sound = Outgoing(wanted.sound, self._numbers(), stream) if wanted.sound is not None else None
        viewer = shown.viewer(video, sound, self._pacing.wake, lambda error: session.failed(error))
        session = Session(peer, wanted.theirs, viewer, self._ctx.clock, self.counters)
        side = Side(
            mine=mine,
            candidate=candidate.to_sdp(),
            host=candidate.host,
            port=candidate.port,
            stream=stream,
            video_ssrcs=(video.numbers.ssrc, video.numbers.again_ssrc),
            sound_ssrc=sound.numbers.ssrc if sound is not None else 0,
        )
        return write_answer(wanted, side), session

    async def _serve(self, session_id: str, session: Session) -> None:
        try:
            await session.run(self._pacing)
        except Exception:
            # The outermost edge of one viewer: a fault of ours must not end the others.
            self.counters["viewers failed"] += 1
            log.exception("whep viewer failed", session=session_id)
        finally:
            self._sessions.pop(session_id, None)
            self.viewings.end(session_id)

    async def delete(self, request: web.Request) -> web.Response:
        """End a session."""
        item_id, session = self._sessions.get(request.match_info["session_id"], ("", None))
        if session is None or item_id != request.match_info["item_id"]:
            return no_session()
        session.end()
        return web.Response(status=200, headers=ANYWHERE)

    def _find(self, item_id: str, name: str | None) -> list[StoredFile]:
        """Find the renditions that may be sent, best first."""
        view = self._ctx.view()
        item = view.item(item_id)
        names = RENDITIONS if name is None else (name,)
        found = [rendition for each in names if item is not None and (rendition := item.rendition(each)) is not None]
        stored = [file for each in found if (file := view.file(each.path)) is not None]
        if not stored:
            raise Refused(404, "没有这个课件，可能已下架 / no such lesson; it may have been withdrawn")
        return stored

    async def _best(self, renditions: list[StoredFile]) -> Lesson:
        """Open the first rendition that browsers can show."""
        trouble: MediaError | None = None
        for stored in renditions:
            try:
                return await self._lesson(stored)
            except MediaError as error:
                trouble = error
            except OSError as error:
                raise Refused(404, "没有这个课件，可能已下架 / no such lesson; it may have been withdrawn") from error
        raise Refused(406, f"浏览器不能这样看这个课件 / browsers cannot show this lesson: {trouble}")

    async def _lesson(self, stored: StoredFile) -> Lesson:
        lesson = self._lessons.get(stored.sha256)
        if lesson is None:
            lesson = await asyncio.to_thread(open_lesson, stored.file, stored.sha256)
            self._lessons[stored.sha256] = lesson
        return lesson

    def _numbers(self) -> Numbers:
        draw = self._draw
        return Numbers(draw(32), draw(32), draw(15), draw(15), draw(32))


def _begin(text: str) -> float:
    try:
        begin_s = float(text)
    except ValueError:
        begin_s = -1.0
    if not 0 <= begin_s < math.inf:
        raise Refused(400, "start 应是不小于 0 的秒数 / start is seconds, 0 or more")
    return begin_s
