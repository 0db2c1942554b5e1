"""The sockets of the RTSP player: it carries out what the conversation decides, and times what arrives."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import cast
from urllib.parse import urlsplit

from stb_emulator.observe import PlayError, Stage, Unreachable
from stb_emulator.observe.pipe import PipeClosed
from stb_emulator.players import Playing
from stb_emulator.players.rtsp.commands import (
    Command,
    Deviated,
    Done,
    Ended,
    Moved,
    Paused,
    Punch,
    Receive,
    Reconnect,
    Send,
    State,
)
from stb_emulator.players.rtsp.conversation import Conversation
from stb_emulator.players.rtsp.punching import huawei_answer, is_bounced
from stb_emulator.players.rtsp.receiver import Receiver, Shape
from wire.rtp import Description, ReceiverReport, write_rtcp
from wire.rtsp import Interleaved, Message, Reader, Response, WireError, write_interleaved

READ_BYTES = 64 * 1024
INBOX_MAX_MESSAGES = 256
UDP_BUFFER_BYTES = 4 * 1024 * 1024
DRAIN_QUIET_S = 0.3
DRAIN_MAX_S = 2.0
"""After the end was announced: wait until no data came for a moment."""
REPORT_EVERY_S = 5.0
END_TOLERANCE_S = 1.0
DEFAULT_PORT = 554

_CLOSED, _ENOUGH, _GOODBYE = "closed", "enough", "goodbye"
Event = Message | WireError | str | int
"""A message, what ended the connection, a word of our own, or the SSRC of a punch that was answered."""


class RtspPlayer:
    """See Player."""

    async def play(self, playing: Playing) -> None:
        """See Player."""
        face = playing.box.rtsp
        assert face is not None, "boxes are checked when they are loaded"
        url = playing.offer.url
        playing.decoder.tally.asked_at = playing.clock.monotonic()
        for _ in range(face.max_redirects + 1):
            playing.line.guard.check(url, Stage.DESCRIBE)
            target = await _Session(playing, url).run()
            if target is None:
                return
            url = target
        raise PlayError(Stage.DESCRIBE, "重定向过多", f"more than {face.max_redirects} redirects")


class _Datagrams(asyncio.DatagramProtocol):
    """One of the two UDP ports."""

    def __init__(self, session: _Session, *, control: bool) -> None:
        self._session, self._control = session, control

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        self._session.datagram(data, addr[1], control=self._control)

    def error_received(self, exc: Exception) -> None:
        """An ICMP answer to our report: the server's control port is shut, which harms nobody."""


class _Session:
    """One connection to one server."""

    def __init__(self, playing: Playing, url: str) -> None:
        self._playing, self._url = playing, url
        self._clock, self._tally = playing.clock, playing.decoder.tally
        self._inbox: asyncio.Queue[Event] = asyncio.Queue(INBOX_MAX_MESSAGES)
        self._receiver: Receiver | None = None
        self._accept: Receive | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._data: asyncio.DatagramTransport | None = None
        self._reports: asyncio.DatagramTransport | None = None
        self._redirect: str | None = None
        self._ended = self._finished = False
        self._report_due: float | None = None

    async def run(self) -> str | None:
        """Hold the session; return the address of a redirect, or None when the lesson is over."""
        face = self._playing.box.rtsp
        assert face is not None
        reader = await self._connect()
        assert self._writer is not None
        data, control = await self._open_ports()
        self._data, self._reports = data, control
        failure: PlayError | None = None
        try:
            own, rtsp_port = cast("tuple[str, int]", self._writer.get_extra_info("sockname"))[:2]
            ports = (data.get_extra_info("sockname")[1], control.get_extra_info("sockname")[1])
            talk = Conversation(self._url, face, ports=ports, address=own, rtsp_port=rtsp_port)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._read(reader)), group.create_task(self._watch_enough())]
                try:
                    await self._converse(talk)
                except PlayError as error:
                    failure = error
                finally:
                    for task in tasks:
                        task.cancel()
        finally:
            data.close()
            control.close()
            self._writer.close()
            if self._receiver is not None:
                with suppress(PipeClosed):
                    self._receiver.finish()
                self._receiver.count()
        if failure is not None:
            raise failure
        return self._redirect

    async def _connect(self) -> asyncio.StreamReader:
        line = self._playing.line
        try:
            parts = urlsplit(self._url)
            host, port = parts.hostname or "", parts.port or DEFAULT_PORT
            async with asyncio.timeout(line.connect_s):
                reader, self._writer = await asyncio.open_connection(host, port)
        except ValueError as error:
            raise PlayError(Stage.DESCRIBE, "播放地址有误", f"bad address {self._url[:80]!r}") from error
        except (OSError, TimeoutError) as error:
            raise Unreachable(Stage.DESCRIBE, f"无法连接 {host}:{port}", f"cannot connect to {host}:{port}") from error
        return reader

    async def _open_ports(self) -> tuple[asyncio.DatagramTransport, asyncio.DatagramTransport]:
        """Open an even port and the odd one above it (RFC 3550 §11)."""
        assert self._writer is not None
        host = cast("tuple[str, int]", self._writer.get_extra_info("sockname"))[0]
        loop = asyncio.get_running_loop()
        for _ in range(64):
            first, second = _pair(host)
            if first is None or second is None:
                continue
            data, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self, control=False), sock=first)
            control, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self, control=True), sock=second)
            return data, control
        raise PlayError(Stage.SETUP, "没有空闲的 UDP 端口", "no pair of free UDP ports on this machine")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Turn the connection's bytes into events; data goes straight to the receiver."""
        wire = Reader()
        try:
            while data := await reader.read(READ_BYTES):
                for message in wire.feed(data):
                    if isinstance(message, Interleaved):
                        self._interleaved(message)
                    else:
                        await self._inbox.put(message)
        except WireError as error:
            await self._inbox.put(error)
            return
        except ConnectionError:
            pass
        await self._inbox.put(_CLOSED)

    async def _watch_enough(self) -> None:
        await self._playing.decoder.enough.wait()
        await self._inbox.put(_ENOUGH)

    def _goodbye(self) -> None:
        with suppress(asyncio.QueueFull):
            self._inbox.put_nowait(_GOODBYE)

    def _interleaved(self, frame: Interleaved) -> None:
        accept = self._accept
        if self._receiver is None or accept is None or accept.transport.interleaved is None:
            self._tally.deviate("data-before-play")
            return
        if frame.channel == accept.transport.interleaved[0]:
            with suppress(PipeClosed):
                self._receiver.take(frame.payload, self._clock.monotonic())
        elif frame.channel == accept.transport.interleaved[1]:
            self._receiver.take_rtcp(frame.payload)
        else:
            self._tally.deviate("channel")

    def datagram(self, data: bytes, port: int, *, control: bool) -> None:
        """Take a UDP packet from the server's ``port``."""
        accept = self._accept
        if self._receiver is None or accept is None or accept.profile.endswith("TCP"):
            return
        if is_bounced(data):
            return
        if control:
            self._receiver.take_rtcp(data)
            return
        if (ssrc := huawei_answer(data)) is not None:
            with suppress(asyncio.QueueFull):
                self._inbox.put_nowait(ssrc)
            return
        if accept.transport.server_port is not None and port != accept.transport.server_port[0]:
            self._tally.deviate("source-port")
        with suppress(PipeClosed):
            self._receiver.take(data, self._clock.monotonic())

    async def _converse(self, talk: Conversation) -> None:
        self._obey(talk.start(self._clock.monotonic()))
        started: float | None = None
        while not self._finished:
            now = self._clock.monotonic()
            if talk.state is State.PLAYING and started is None:
                started = now
            due = [t for t in (talk.next_timer(), self._silence_due(started), self._report_due) if t is not None]
            try:
                async with asyncio.timeout(max(0.0, min(due) - now) if due else self._playing.line.silence_s):
                    event = await self._inbox.get()
            except TimeoutError:
                self._tick(talk, started)
                continue
            self._handle(talk, event)
            if self._ended and talk.state is State.PLAYING:
                await self._drain()
                self._obey(talk.teardown(self._clock.monotonic()))

    def _handle(self, talk: Conversation, event: Event) -> None:
        now = self._clock.monotonic()
        if isinstance(event, WireError):
            stage = Stage.DESCRIBE if talk.state is State.DESCRIBE else Stage.PLAY
            raise PlayError(stage, "服务器的应答无法解析", f"unreadable RTSP: {event}")
        if event == _CLOSED:
            self._obey(talk.closed())
        elif event == _ENOUGH:
            self._obey(talk.teardown(now))
        elif event == _GOODBYE:
            self._obey([Ended("RTCP BYE")])
        elif isinstance(event, int):
            self._obey(talk.punched(event, now))
        elif isinstance(event, Response):
            self._obey(talk.response(event, now))
        elif not isinstance(event, str | Interleaved):
            self._obey(talk.request(event, now))

    def _tick(self, talk: Conversation, started: float | None) -> None:
        now = self._clock.monotonic()
        self._obey(talk.tick(now))
        if self._report_due is not None and now >= self._report_due:
            self._report(now)
        silence = self._silence_due(started)
        if silence is None or now < silence or talk.state is not State.PLAYING:
            return
        announced = self._tally.announced_s
        if announced is not None and self._tally.played_s >= announced - END_TOLERANCE_S:
            self._tally.warn("服务器没有通知播放结束 / the server did not announce the end")
            self._obey(talk.teardown(now))
            return
        wait = self._playing.line.silence_s
        raise PlayError(Stage.PLAY, f"{wait:g} 秒没有数据", f"no data for {wait:g} s")

    def _silence_due(self, started: float | None) -> float | None:
        if started is None:
            return None
        last = self._receiver.last_arrival if self._receiver is not None else None
        return max(started, last or started) + self._playing.line.silence_s

    def _obey(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Send():
                    assert self._writer is not None
                    self._writer.write(command.data)
                case Reconnect():
                    self._redirect, self._finished = command.url, True
                case Receive():
                    self._begin(command)
                case Punch():
                    self._send_punch(command)
                case Moved():
                    if self._receiver is not None:
                        self._receiver.restart()
                case Paused():
                    pass
                case Ended():
                    self._ended = True
                case Deviated():
                    self._tally.deviate(command.kind)
                case Done():
                    self._finished = True

    def _begin(self, accept: Receive) -> None:
        face = self._playing.box.rtsp
        assert face is not None
        rtp = accept.profile.startswith("RTP/") or "/RTP/" in accept.profile
        is_tcp = accept.profile.endswith("TCP")
        media = accept.media
        shape = Shape(
            rtp=rtp,
            payload_type=media.payload_type,
            media=media.kind,
            parameter_sets=media.parameter_sets,
            ssrc=accept.transport.ssrc,
            frame_max_bytes=face.frame_max_bytes if is_tcp and accept.profile.startswith("MP2T") else None,
            frame_multiple=face.frame_multiple,
        )
        self._accept = accept
        self._receiver = Receiver(shape, self._playing.decoder, self._goodbye)
        self._tally.transport = accept.profile
        self._tally.announced_s = media.duration_s if media.duration_s is not None else self._playing.offer.announced_s
        if media.duration_s is None:
            self._tally.warn("描述没有给出时长，盒子无法拖动 / no duration in the SDP: no seek bar")
        if accept.profile.startswith("RTP/AVP") or accept.reports:
            self._report_due = self._clock.monotonic() + REPORT_EVERY_S

    def _send_punch(self, punch: Punch) -> None:
        assert self._writer is not None
        peer = cast("tuple[str, int]", self._writer.get_extra_info("peername"))[0]
        if punch.host:
            self._playing.line.guard.check(f"rtsp://{punch.host}", Stage.PLAY)
        transport = self._reports if punch.control else self._data
        if transport is not None:
            transport.sendto(punch.data, (punch.host or peer, punch.port))

    def _report(self, now: float) -> None:
        """Send a receiver report, by which an RTP/AVP server sees that we live (RFC 3550 §6.4.2)."""
        self._report_due = now + REPORT_EVERY_S
        assert self._accept is not None and self._writer is not None
        ssrc = id(self) & 0xFFFFFFFF
        report = write_rtcp((ReceiverReport(ssrc), Description(ssrc, "stb")))
        transport = self._accept.transport
        if transport.interleaved is not None and self._accept.profile.endswith("TCP"):
            self._writer.write(write_interleaved(transport.interleaved[1], report))
        elif transport.server_port is not None and self._reports is not None:
            host = cast("tuple[str, int]", self._writer.get_extra_info("peername"))[0]
            self._reports.sendto(report, (host, transport.server_port[1]))

    async def _drain(self) -> None:
        """Let the last datagrams arrive: the end was announced on another way."""
        end = self._clock.monotonic() + DRAIN_MAX_S
        while (now := self._clock.monotonic()) < end:
            last = self._receiver.last_arrival if self._receiver is not None else None
            if last is None or now >= last + DRAIN_QUIET_S:
                return
            await self._clock.sleep_until(min(end, last + DRAIN_QUIET_S))


def _pair(host: str) -> tuple[socket.socket | None, socket.socket | None]:
    """Bind a UDP socket to a free even port and another to the next; (None, None) when luck fails."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    first = socket.socket(family, socket.SOCK_DGRAM)
    first.bind((host, 0))
    port = first.getsockname()[1]
    if port % 2 == 0:
        second = socket.socket(family, socket.SOCK_DGRAM)
        try:
            second.bind((host, port + 1))
        except OSError:
            second.close()
        else:
            first.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
            return first, second
    first.close()
    return None, None
