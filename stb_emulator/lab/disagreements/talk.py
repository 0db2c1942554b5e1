"""One RTSP session of a box with somebody at its remote control: what it asks, hears and is sent, kept to look at.

The words are those of the box (`players.rtsp.conversation`); this only has the sockets, and a pair of ports that can
stand behind an address translator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from runtime.clock import Clock
from stb_emulator.boxes import RtspFace
from stb_emulator.observe import PlayError, Stage, Unreachable
from stb_emulator.observe.decoder import Decoder
from stb_emulator.observe.line import Line
from stb_emulator.observe.timeline import BufferModel
from stb_emulator.players.rtsp.commands import (
    Command,
    Deviated,
    Done,
    Ended,
    Moved,
    Punch,
    Receive,
    Reconnect,
    Send,
    State,
)
from stb_emulator.players.rtsp.conversation import Conversation
from stb_emulator.players.rtsp.ports import open_pair
from stb_emulator.players.rtsp.punching import huawei_answer, is_bounced
from wire.rtp import Description, ReceiverReport, RtpError, parse_rtp, write_rtcp
from wire.rtsp import Interleaved, Message, Reader, Response, WireError, write_interleaved

INBOX_MAX_MESSAGES = 256
MEDIA_MAX_BYTES = 4 * 1024 * 1024
PICTURE_WAIT_S = 5.0
PICTURE_BYTES = tuple(60 * 188 << at for at in range(7))
"""After so much it is tried whether there is a picture yet."""
_MEDIA, _CLOSED = "media", "closed"
Key = Callable[[Conversation, float], list[Command]]


def _lost(data: bytes, port: int, control: bool) -> None:
    """Take what comes to an address where the box is not."""


class Talk:
    """An async context manager: connected inside, and left in good order at the end."""

    def __init__(
        self, url: str, face: RtspFace, line: Line, clock: Clock, *, translated: bool = False, report_s: float = 5.0
    ) -> None:
        """Prepare; ``translated``: the box's ports are others than those that the server can see."""
        self.answers: dict[int, Response] = {}
        self.notices: list[str] = []
        self.deviations: list[str] = []
        self.media = bytearray()
        """Transport stream since the last jump."""
        self.jumps, self.hops = 0, 0
        self._url, self._face, self._line, self._clock = url, face, line, clock
        self._translated, self._report_s = translated, report_s
        self._inbox: asyncio.Queue[Message | WireError | str | int] = asyncio.Queue(INBOX_MAX_MESSAGES)
        self._accept: Receive | None = None
        self._closed = self._done = False
        self._report_due: float | None = None
        self._target = ""
        self.talk: Conversation | None = None

    async def __aenter__(self) -> Self:
        """Connect, follow redirects, and play."""
        for _ in range(self._face.max_redirects + 1):
            await self._open()
            self._target = ""
            try:
                playing = await self.until(lambda: bool(self._target) or self.state is State.PLAYING, 20.0)
            except BaseException:
                await self._shut()
                raise
            if playing and not self._target:
                return self
            await self._shut()
            if not playing:
                raise PlayError(Stage.SETUP, "没有开始播放", "did not come to playing")
            self._url, self.hops = self._target, self.hops + 1
        most = self._face.max_redirects
        raise PlayError(Stage.DESCRIBE, "重定向过多", f"more than {most} redirects")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say goodbye where there is anybody to hear it."""
        assert self.talk is not None
        with suppress(PlayError):
            self._obey(self.talk.teardown(self._clock.monotonic()))
            await self.until(lambda: self._done, self._face.teardown_s)
        await self._shut()

    @property
    def state(self) -> State:
        """Where the conversation is."""
        assert self.talk is not None
        return self.talk.state

    @property
    def duration_s(self) -> float | None:
        """What the server announced."""
        assert self.talk is not None and self.talk.media is not None
        return self.talk.media.duration_s

    @property
    def transport(self) -> str:
        """What was agreed on."""
        return self._accept.profile if self._accept is not None else ""

    @property
    def session_timeout_s(self) -> float:
        """What the server says of it; 60 when it says nothing (RFC 2326 §12.37)."""
        said = next((v for a in self.answers.values() if "timeout=" in (v := a.headers.get("Session") or "")), "")
        number = said.partition("timeout=")[2].partition(";")[0].strip()
        return float(number) if number.isdecimal() else 60.0

    async def press(self, key: Key) -> Response:
        """Press a key and wait for the answer.

        Raises:
            PlayError: the server refuses, or says nothing.
        """
        assert self.talk is not None
        self._obey(key(self.talk, self._clock.monotonic()))
        number = self.talk.asked
        if not await self.until(lambda: number in self.answers, self._face.reply_s + 1):
            raise PlayError(Stage.PLAY, "按键没有应答", "no answer to a key")
        return self.answers[number]

    async def until(self, done: Callable[[], bool], within_s: float) -> bool:
        """Let the session go on until something has happened; False when it did not.

        Raises:
            PlayError: the session came to a bad end.
        """
        assert self.talk is not None
        end = self._clock.monotonic() + within_s
        while not done():
            now = self._clock.monotonic()
            if now >= end or (self._closed and self._inbox.empty()):
                return False
            due = [t for t in (end, self.talk.next_timer(), self._report_due) if t is not None]
            try:
                async with asyncio.timeout(max(0.0, min(due) - now)):
                    event = await self._inbox.get()
            except TimeoutError:
                self._tick()
                continue
            self._take(event)
        return True

    async def first_picture(self) -> int | None:
        """Return the number painted into the first picture since the last jump; None when there is none to read.

        Raises:
            PlayError: nothing came that can be shown.
        """
        for enough in PICTURE_BYTES:
            complete = await self.until(partial(self._has, enough), PICTURE_WAIT_S)
            if not self.media:
                break
            decoder = Decoder(
                want_s=None, buffer=lambda: BufferModel(1.0, 1.0), silence_s=5.0, now=self._clock.monotonic
            )
            decoder.start("mpegts")
            await decoder.feed(bytes(self.media))
            tally = await decoder.finish()
            if tally.frames:
                return tally.frame_code.first if tally.frame_code is not None else None
            if not complete:
                break
        raise PlayError(Stage.DECODE, "没有画面", f"no picture in {len(self.media)} bytes")

    def _has(self, bytes_: int) -> bool:
        return len(self.media) >= bytes_

    # The wires

    async def _open(self) -> None:
        self._line.guard.check(self._url, Stage.DESCRIBE)
        parts = urlsplit(self._url)
        host, port = parts.hostname or "", parts.port or 554
        try:
            async with asyncio.timeout(self._line.connect_s):
                reader, self._writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError) as error:
            raise Unreachable(Stage.DESCRIBE, f"无法连接 {host}:{port}", f"cannot connect to {host}:{port}") from error
        own, rtsp_port = self._writer.get_extra_info("sockname")[:2]
        self._ports = await open_pair(own, self._datagram)
        self._outside = await open_pair(own, _lost) if self._translated else self._ports
        announced = tuple(each.get_extra_info("sockname")[1] for each in self._outside)
        self._closed = self._done = False
        self.talk = Conversation(
            self._url, self._face, ports=(announced[0], announced[1]), address=own, rtsp_port=rtsp_port
        )
        self._reading = asyncio.get_running_loop().create_task(self._read(reader))
        self._obey(self.talk.start(self._clock.monotonic()))

    async def _shut(self) -> None:
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        for each in (*self._ports, *self._outside):
            each.close()
        self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        wire = Reader()
        try:
            while data := await reader.read(65536):
                for message in wire.feed(data):
                    if isinstance(message, Interleaved):
                        self._frame(message)
                    else:
                        await self._inbox.put(message)
        except WireError as error:
            await self._inbox.put(error)
        except ConnectionError:
            pass
        await self._inbox.put(_CLOSED)

    def _frame(self, frame: Interleaved) -> None:
        wanted = self._accept.transport.interleaved if self._accept is not None else None
        if wanted is not None and frame.channel == wanted[0]:
            self._data(frame.payload)

    def _datagram(self, data: bytes, _: int, control: bool) -> None:
        if is_bounced(data) or control:
            return
        if (ssrc := huawei_answer(data)) is not None:
            self._nudge(ssrc)
        elif self._accept is not None and not self._accept.profile.endswith("TCP"):
            self._data(data)

    def _data(self, data: bytes) -> None:
        assert self._accept is not None
        if "RTP" in self._accept.profile:
            try:
                data = parse_rtp(data).payload
            except RtpError:
                self.deviations.append("not-rtp")
                return
        if len(self.media) < MEDIA_MAX_BYTES:
            self.media += data
        self._nudge(_MEDIA)

    def _nudge(self, event: str | int) -> None:
        with suppress(asyncio.QueueFull):
            self._inbox.put_nowait(event)

    # What comes and what is done

    def _take(self, event: Message | WireError | str | int) -> None:
        assert self.talk is not None
        now = self._clock.monotonic()
        if isinstance(event, WireError):
            raise PlayError(Stage.PLAY, "服务器的应答无法解析", f"unreadable RTSP: {event}")
        if event == _CLOSED:
            self._closed = True
            self._obey(self.talk.closed())
        elif isinstance(event, int):
            self._obey(self.talk.punched(event, now))
        elif isinstance(event, Response):
            number = event.headers.get("CSeq") or ""
            self._obey(self.talk.response(event, now))
            if number.isdecimal():
                self.answers[int(number)] = event
        elif not isinstance(event, str | Interleaved):
            notice = event.headers.get("x-notice") or ""
            self.notices.append(f"{event.method} {notice}".strip())
            self._obey(self.talk.request(event, now))

    def _tick(self) -> None:
        assert self.talk is not None
        now = self._clock.monotonic()
        self._obey(self.talk.tick(now))
        if self._report_due is not None and now >= self._report_due:
            self._report_due = now + self._report_s
            self._report()

    def _obey(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Send():
                    self._writer.write(command.data)
                case Receive():
                    self._accept = command
                    if command.reports:
                        self._report_due = self._clock.monotonic() + self._report_s
                case Punch():
                    peer = self._writer.get_extra_info("peername")[0]
                    self._ports[command.control].sendto(command.data, (command.host or peer, command.port))
                case Moved():
                    self.media.clear()
                    self.jumps += 1
                case Reconnect():
                    self._target = command.url
                case Deviated():
                    self.deviations.append(command.kind)
                case Done():
                    self._done = True
                case Ended():
                    pass

    def _report(self) -> None:
        """Send a receiver report (RFC 3550 §6.4.2)."""
        assert self._accept is not None
        report = write_rtcp((ReceiverReport(1), Description(1, "stb")))
        transport = self._accept.transport
        if transport.interleaved is not None and self._accept.profile.endswith("TCP"):
            self._writer.write(write_interleaved(transport.interleaved[1], report))
        elif transport.server_port is not None:
            peer = self._writer.get_extra_info("peername")[0]
            self._ports[1].sendto(report, (peer, transport.server_port[1]))
