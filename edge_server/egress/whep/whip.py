"""WHIP (RFC 9725): somebody publishes a lesson given live; POST an offer with the token, DELETE ends.

The answer names the one address at which the publisher has reached us, and its checks may come from wherever they come;
so its candidates are taken (PATCH, 204) and not needed.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import Counter
from collections.abc import Callable

import structlog
from aiohttp import web

from edge_server.egress.whep.doors import ANYWHERE, OFFER_TYPE, FindLive, no_session, words
from edge_server.egress.whep.inside import NoConnection, Peer
from edge_server.egress.whep.negotiate import Refused
from edge_server.egress.whep.negotiate_in import Published, read_fragment, read_publication, write_acceptance
from edge_server.egress.whep.offers import offer_of, reached_at
from edge_server.egress.whep.publisher import Publisher
from edge_server.egress.whep.session import CONNECT_MAX_S
from edge_server.live import Kind, Sample
from edge_server.live.channel import LiveChannel
from edge_server.live.ingest import Reading, start_reading
from edge_server.live.plan import WHIP
from edge_server.live.records import NotARecord, write_record
from runtime.clock import Clock
from wire.sdp import SDP_MAX_BYTES

FRAGMENT_TYPE = "application/trickle-ice-sdpfrag"
TICK_S = 0.05
TAKE_OVER_AFTER_S = 2.0
"""A publisher that has been silent for so long gives way to one that comes: it is the same one, most of the time."""
WAITING_MAX_BYTES = 256 << 10
"""Of sound that is to be made anew; what comes beyond is left out."""

log = structlog.get_logger()


class Publication:
    """One publisher from its answer to its end."""

    def __init__(self, channel: LiveChannel, published: Published, host: str, clock: Clock) -> None:
        """Put together; nothing runs yet.

        Raises:
            ValueError: the address is neither loopback nor private.
        """
        self.channel, self.etag = channel, f'"{secrets.token_hex(8)}"'
        self.over = asyncio.Event()
        self.published = published
        self._clock, self._end = clock, asyncio.Event()
        self._maker: Reading | None = None
        self.publisher = Publisher(
            published.taken, secrets.randbits(32), give=self._give, tell=lambda data: self._tell(data)
        )
        self.peer = Peer(
            host,
            lambda data: self._control(data),
            self._end.set,
            lambda data: self.publisher.media(data, clock.monotonic()),
        )
        self.heard_s = clock.monotonic()

    def end(self) -> None:
        """Let ``run`` come to its end."""
        self._end.set()

    async def run(self, counters: Counter[str]) -> None:
        """Take what is published until it ends."""
        clock, channel, sound = self._clock, self.channel, self.published.sound is not None
        try:
            await self._connect()
            counters["publishers connected"] += 1
            self.publisher.begin(clock.monotonic())
            channel.begin(sound=sound, now_s=clock.monotonic())
            channel.want_key = self.publisher.want_key
            async with asyncio.TaskGroup() as group:
                voice = group.create_task(self._speak()) if sound else None
                while not self._end.is_set() and self.publisher.tick(clock.monotonic()):
                    await clock.sleep_until(clock.monotonic() + TICK_S)
                if voice is not None:
                    voice.cancel()
            self._tell(self.publisher.goodbye())
        except (NoConnection, TimeoutError):
            counters["publishers never connected"] += 1
        finally:
            channel.want_key = _nobody
            channel.leave(clock.monotonic())
            counters.update(self.publisher.counters)
            await self.peer.close()

    async def _connect(self) -> None:
        """Wait for the publisher.

        Raises:
            NoConnection: it did not come, or has thought better of it.
            TimeoutError: it takes too long.
        """
        async with asyncio.timeout(CONNECT_MAX_S), asyncio.TaskGroup() as group:
            connecting = group.create_task(self._connected())
            ending = group.create_task(self._end.wait())
            await asyncio.wait({connecting, ending}, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            connecting.cancel()
        if self._end.is_set() or connecting.cancelled() or not connecting.result():
            raise NoConnection("it never came")

    async def _connected(self) -> bool:
        try:
            await self.peer.connect(self.published.theirs)
        except NoConnection:
            return False
        return True

    def _give(self, sample: Sample) -> None:
        self.heard_s = self._clock.monotonic()
        self.channel.take(sample, self.heard_s, self._clock.utc())
        maker = self._maker
        if sample.kind is Kind.OPUS and maker is not None:
            if maker.stdin.transport.get_write_buffer_size() < WAITING_MAX_BYTES:
                maker.stdin.write(write_record(sample))
            else:
                self.channel.counters["sound left out"] += 1

    def _tell(self, data: bytes) -> None:
        try:
            self.peer.datagrams.send([self.peer.protect_rtcp(data)])
        except NoConnection:
            return

    def _control(self, data: bytes) -> None:
        if self.publisher.control(data, self._clock.monotonic()):
            self.end()

    async def _speak(self) -> None:
        """Have the sound made into what boxes know; pictures go on when that fails."""
        try:
            self._maker = await start_reading("")
            while (sample := await self._maker.sample()) is not None:
                self.channel.take(sample, self._clock.monotonic(), self._clock.utc())
        except (OSError, NotARecord) as error:
            log.warning("live sound failed", channel=self.channel.plan.channel_id, why=str(error))
        finally:
            maker, self._maker = self._maker, None
            if maker is not None:
                await maker.close()


class WhipService:
    """A ``runtime.service.Service``; its routes are answered by `whip_doors`."""

    def __init__(self, lives: FindLive, token: str, clock: Clock) -> None:
        """Prepare. ``token``: what publishers must know; with an empty one nobody may publish."""
        self.counters: Counter[str] = Counter()
        self._lives, self._token, self._clock = lives, token, clock
        self._sessions: dict[str, Publication] = {}
        self._group: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        """Count the publishers, connected or connecting."""
        return len(self._sessions)

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                ready()
                await asyncio.Event().wait()
            finally:
                self._group = None

    async def drain(self) -> None:
        """Take nobody more, and tell all publishers that it is over."""
        self._group = None
        for each in tuple(self._sessions.values()):
            each.end()
            await each.over.wait()

    async def post(self, request: web.Request) -> web.Response:
        """Answer an offer."""
        try:
            return await self._admit(request)
        except Refused as refused:
            self.counters[f"refused {refused.status}"] += 1
            headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "10"}, 409: {"Retry-After": "3"}}
            return words(refused.status, refused.words, headers.get(refused.status))

    async def delete(self, request: web.Request) -> web.Response:
        """End a session; its address is a secret of its own."""
        session = self._find(request)
        if session is None:
            return no_session()
        session.end()
        await session.over.wait()
        return web.Response(status=200, headers=ANYWHERE)

    async def patch(self, request: web.Request) -> web.Response:
        """Take candidates; refuse another beginning of ICE (RFC 9725 §4.3)."""
        session = self._find(request)
        if session is None:
            return no_session()
        if request.content_type != FRAGMENT_TYPE:
            return words(415, f"请用 Content-Type: {FRAGMENT_TYPE} / send {FRAGMENT_TYPE}")
        asked = request.headers.get("If-Match")
        if asked is None:
            return words(428, "缺少 If-Match / If-Match is missing")
        try:
            fragment = read_fragment(await request.content.read(SDP_MAX_BYTES))
        except Refused as refused:
            return words(refused.status, refused.words)
        if fragment.username not in (None, session.published.theirs.username):
            return words(422, "不支持 ICE restart，请重新推流 / no ICE restart; publish again")
        if asked not in ("*", session.etag):
            return words(412, "If-Match 与会话不符 / If-Match names another session")
        return web.Response(status=204, headers=ANYWHERE)

    def _find(self, request: web.Request) -> Publication | None:
        session = self._sessions.get(request.match_info["session_id"])
        return session if session and session.channel.plan.channel_id == request.match_info["channel"] else None

    async def _admit(self, request: web.Request) -> web.Response:
        channel_id = request.match_info["channel"]
        channel = self._lives(channel_id)
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if (
            not self._token
            or kind.lower() != "bearer"
            or not hmac.compare_digest(token.strip().encode(), self._token.encode())
        ):
            raise Refused(401, "推流口令不对 / publishing needs the right token (Authorization: Bearer …)")
        if channel is None or channel.plan.source != WHIP:
            raise Refused(404, "没有这个推流频道 / no channel of this id takes publishers")
        published = read_publication(await offer_of(request))
        host = reached_at(request)
        await self._make_way(channel)
        group = self._group
        if group is None:
            raise Refused(503, "服务正在停止 / the server is stopping")
        try:
            session = Publication(channel, published, host, self._clock)
            session_id = secrets.token_urlsafe(18)
            self._sessions[session_id] = session
            try:
                mine, candidate = await session.peer.gather(active=published.theirs.active is not True)
            except BaseException:
                del self._sessions[session_id]
                session.over.set()
                raise
        except (NoConnection, ValueError) as error:
            raise Refused(503, f"本机地址不能用于 WebRTC / no WebRTC at this address: {error}") from error
        answer = write_acceptance(published, mine, candidate.to_sdp(), candidate.host, candidate.port)
        group.create_task(self._serve(session_id, session))
        headers = {"Location": f"{channel_id}/{session_id}", "ETag": session.etag, **ANYWHERE}
        return web.Response(status=201, body=answer, content_type=OFFER_TYPE, headers=headers)

    async def _make_way(self, channel: LiveChannel) -> None:
        """End a publisher that has fallen silent.

        Raises:
            Refused: one is there and speaks.
        """
        before = next((each for each in self._sessions.values() if each.channel is channel), None)
        if before is None:
            return
        if self._clock.monotonic() - before.heard_s < TAKE_OVER_AFTER_S:
            raise Refused(409, "已有人在推流 / somebody is publishing already")
        before.end()
        await before.over.wait()
        if any(each.channel is channel for each in self._sessions.values()):
            raise Refused(409, "已有人在推流 / somebody is publishing already")

    async def _serve(self, session_id: str, session: Publication) -> None:
        try:
            await session.run(self.counters)
        except Exception:
            # The outermost edge of one publisher: a fault of ours must not end the others.
            self.counters["publishers failed"] += 1
            log.exception("whip publisher failed", session=session_id)
        finally:
            self._sessions.pop(session_id, None)
            session.over.set()


def _nobody() -> None:
    pass
