"""The sockets of the RTSP player: it carries out what the conversation decides, and times what arrives."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import cast
from urllib.parse import urlsplit

from stb_emulator.observe import PlayError, Stage, Unreachable
from stb_emulator.observe.pipe import PipeClosed
from stb_emulator.observe.pressing import begin_of
from stb_emulator.players import Playing, Press
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
from stb_emulator.players.rtsp.keypad import Keypad
from stb_emulator.players.rtsp.ports import open_pair
from stb_emulator.players.rtsp.punching import huawei_answer, is_bounced
from stb_emulator.players.rtsp.receiver import Receiver, Shape
from wire.rtp import Description, ReceiverReport, write_rtcp
from wire.rtsp import Interleaved, Message, Reader, Response, WireError, write_interleaved

READ_BYTES = 64 * 1024
INBOX_MAX_MESSAGES = 256
DRAIN_QUIET_S = 0.3
DRAIN_MAX_S = 2.0
"""After the end was announced: wait until no data came for a moment."""
REPORT_EVERY_S = 5.0
END_TOLERANCE_S = 1.0
DEFAULT_PORT = 554

_CLOSED, _ENOUGH, _GOODBYE = "closed", "enough", "goodbye"
Event = Message | WireError | str | int | Press
"""A message, what ended the connection, a word of our own, the SSRC of a punch that was answered, or a key."""


class RtspPlayer:
    """See Player."""

    async def play(self, playing: Playing) -> None:
        """See Player."""
        face = playing.box.rtsp
        assert face is not None, "boxes are checked when they are loaded"
        url = playing.offer.url
        tally = playing.decoder.tally
        tally.asked_at = playing.clock.monotonic()
        keypad = Keypad(playing, face)
        failure: PlayError | None = None
        async with asyncio.TaskGroup() as group:
            keys = group.create_task(keypad.run())
            try:
                while (target := await _Session(playing, url, keypad).run()) is not None or keypad.address:
                    tally.redirects += target is not None
                    if tally.redirects > face.max_redirects:
                        words = f"more than {face.max_redirects} redirects"
                        raise PlayError(Stage.DESCRIBE, "重定向过多", words)
                    url, keypad.address = target or keypad.address, ""
            except PlayError as error:
                failure = error
            finally:
                keys.cancel()
        if failure is not None:
            raise failure


class _Session:
    """One connection to one server."""

    def __init__(self, playing: Playing, url: str, keypad: Keypad) -> None:
        self._playing, self._url, self._keypad = playing, url, keypad
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
        self._quiet_since: float | None = None
        """Since when data are due."""

    async def run(self) -> str | None:
        """Hold the session; return the address of a redirect, or None when the lesson is over."""
        face = self._playing.box.rtsp
        assert face is not None
        self._playing.line.guard.check(self._url, Stage.DESCRIBE)
        reader = await self._connect()
        assert self._writer is not None
        host = cast("tuple[str, int]", self._writer.get_extra_info("sockname"))[0]
        data, control = await open_pair(host, self._datagram)
        self._data, self._reports = data, control
        failure: PlayError | None = None
        try:
            own, rtsp_port = cast("tuple[str, int]", self._writer.get_extra_info("sockname"))[:2]
            ports = (data.get_extra_info("sockname")[1], control.get_extra_info("sockname")[1])
            talk = Conversation(self._url, face, ports=ports, address=own, rtsp_port=rtsp_port)
            async with asyncio.TaskGroup() as group:
                watches = (self._read(reader), self._watch_enough(), self._watch_keys())
                tasks = [group.create_task(each) for each in watches]
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
            self._tally.beats += talk.beats
            self._tally.beats_answered += talk.beats_answered
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

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Turn the connection's bytes into events; data goes straight to the receiver."""
        wire = Reader()
        try:
            while data := await reader.read(READ_BYTES):
                for message in wire.feed(data):
                    if isinstance(message, Interleaved):
                        self._interleaved(message)
                        continue
                    if isinstance(message, Response):
                        with suppress(PipeClosed):
                            self._keypad.heard(message, self._receiver, self._clock.monotonic())
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

    async def _watch_keys(self) -> None:
        while True:
            await self._inbox.put(await self._keypad.due.get())

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

    def _datagram(self, data: bytes, port: int, control: bool) -> None:
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
        while not self._finished:
            now = self._clock.monotonic()
            if talk.state is State.PLAYING and self._quiet_since is None:
                self._quiet_since = now
            timers = (talk.next_timer(), self._silence_due(), self._report_due, self._keypad.hold_due)
            due = [t for t in timers if t is not None]
            try:
                async with asyncio.timeout(max(0.0, min(due) - now) if due else self._playing.line.silence_s):
                    event = await self._inbox.get()
            except TimeoutError:
                self._tick(talk)
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
        elif isinstance(event, Press):
            if talk.state is State.PLAYING and self._receiver is not None:
                self._obey(self._keypad.press(event, talk, self._receiver, now))
        elif not isinstance(event, str | Interleaved):
            asked = talk.asked
            self._obey(talk.request(event, now))
            if talk.asked > asked and self._receiver is not None:
                self._keypad.by_itself(talk, self._receiver, now)

    def _tick(self, talk: Conversation) -> None:
        now = self._clock.monotonic()
        self._obey(talk.tick(now))
        if self._report_due is not None and now >= self._report_due:
            self._report(now)
        hold = self._keypad.hold_due
        if hold is not None and now >= hold and self._receiver is not None and talk.state is State.PLAYING:
            self._obey(self._keypad.release(talk, self._receiver, now))
        silence = self._silence_due()
        if silence is None or now < silence or talk.state is not State.PLAYING:
            return
        announced = self._tally.announced_s
        place_s = (begin_of(self._tally, self._tally.leg)[0] or 0.0) + self._tally.leg.played_s
        if announced is not None and place_s >= announced - END_TOLERANCE_S:
            self._tally.warn("服务器没有通知播放结束 / the server did not announce the end")
            self._obey(talk.teardown(now))
            return
        wait = self._playing.line.silence_s
        raise PlayError(Stage.PLAY, f"{wait:g} 秒没有数据", f"no data for {wait:g} s")

    def _silence_due(self) -> float | None:
        since = self._quiet_since
        if since is None or self._keypad.is_paused:
            return None
        last = self._receiver.last_arrival if self._receiver is not None else None
        return max(since, last or since) + self._playing.line.silence_s

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
                    self._quiet_since = self._clock.monotonic()
                case Paused():
                    self._keypad.paused(self._clock.monotonic())
                case Ended():
                    self._ended, self._tally.ended = True, command.how
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
            datagrams=not is_tcp,
        )
        self._keypad.began()
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
        if self._accept is not None and self._accept.reports:
            self._tally.beats += 1
            self._tally.beats_answered += 1  # nobody answers a report
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
        """Let the last datagrams arrive: the end was announced on another way.

        Quiet counts from now on: on a busy machine they may lie in the socket already, unread.
        """
        begin = self._clock.monotonic()
        end = begin + DRAIN_MAX_S
        while (now := self._clock.monotonic()) < end:
            last = self._receiver.last_arrival if self._receiver is not None else None
            last = max(begin, last or begin)
            if now >= last + DRAIN_QUIET_S:
                return
            await self._clock.sleep_until(min(end, last + DRAIN_QUIET_S))
