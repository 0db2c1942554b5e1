"""One RTSP connection: reads bytes, executes the conversation's commands. Decides nothing."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import cast

import structlog

from edge_server.egress.rtsp.conversation import Conversation
from edge_server.egress.rtsp.ports import open_pair
from edge_server.egress.rtsp.words import (
    Close,
    Command,
    Draining,
    Ended,
    Event,
    Follow,
    Found,
    Hangup,
    Heard,
    Look,
    Lost,
    NotOpened,
    Onward,
    Open,
    Opened,
    Reply,
    Send,
    Start,
    Stop,
    Stuck,
    Tick,
    Turn,
    Unreadable,
    Wind,
)
from edge_server.pacing.chunks import Chunks
from edge_server.pacing.framing import Frame
from edge_server.pacing.joined import Tuned
from edge_server.pacing.library import Shelved
from edge_server.pacing.pacer import Pacer
from edge_server.pacing.sink import Sink, TcpSink, UdpSink
from edge_server.pacing.winding import Wound
from runtime.clock import Clock
from wire.rtsp import Reader, WireError

READ_MAX_BYTES = 4096
"""Read at a time, some 40 requests: after each piece the others have their turn."""
UNREAD_MAX_BYTES = 1024 * 1024
"""Answers waiting for a peer that does not read; above it the connection is given up."""
LOOK_S = 5.0
"""How often stuck readers are looked for while one could be stuck."""
FLUSH_S = 3.0
"""How long a closing connection may take to hand over its last bytes."""

log = structlog.get_logger()


class Connection:
    """Sockets, files and the conversation of one peer."""

    def __init__(
        self,
        conversation: Conversation,
        look: Callable[[Look], Shelved | Tuned | None],
        onward: Callable[[Onward], Found],
        pacer: Pacer,
        chunks: Chunks,
        clock: Clock,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        counters: Counter[str],
    ) -> None:
        """Take over an accepted connection."""
        self._conversation, self._look, self._pacer, self._clock = conversation, look, pacer, clock
        self._onward = onward
        self._chunks = chunks
        self._reader, self._writer, self._counters = reader, writer, counters
        self._sinks: dict[str, Sink] = {}
        self._sent_bytes = 0
        """By sessions that are over."""
        self._over = False
        self._limit: asyncio.Timeout | None = None
        """Of the read that is going on."""
        self._looked_at = clock.monotonic()
        self._peer: str = writer.get_extra_info("peername")[0]
        self._local: str = writer.get_extra_info("sockname")[0]
        self._number: int = writer.get_extra_info("socket").fileno()

    async def run(self) -> None:
        """Serve until either side hangs up; everything is given back in any case."""
        messages = Reader()
        try:
            while not self._over:
                data = await self._read()
                if data:
                    self._take(messages, data)
                elif data is not None:
                    self._tell(Lost())
                if data is None or self._clock.monotonic() - self._looked_at >= LOOK_S:
                    self._look_around()  # also while a talkative peer leaves no pause
                await self._clock.sleep_until(0.0)  # what waits in the reader's buffer would be read without a pause
            await self._flush()
        finally:
            for session_id in tuple(self._sinks):
                self._close(session_id)
            self._writer.transport.abort()

    @property
    def peer(self) -> str:
        """IP address of the other side."""
        return self._peer

    @property
    def sent_bytes(self) -> int:
        """How much media left by this connection."""
        return self._sent_bytes + sum(each.stream.sent_bytes for each in self._sinks.values())

    @property
    def is_waiting(self) -> bool:
        """Nothing is set up over it yet, or any more."""
        return not self._sinks

    def give_way(self) -> None:
        """Hang up without a word, for somebody else."""
        self._writer.transport.abort()

    def drain(self) -> None:
        """Say goodbye and hang up."""
        self._tell(Draining())

    async def _read(self) -> bytes | None:
        """Return what came, empty at the end of the connection, None when it is time to look around."""
        try:
            async with asyncio.timeout(self._wait_s()) as self._limit:
                return await self._reader.read(READ_MAX_BYTES)
        except TimeoutError:
            return None
        except OSError:
            return b""
        finally:
            self._limit = None

    def _wait_s(self) -> float | None:
        """Return the seconds until it is time to look around; None for never."""
        timer = self._conversation.next_timer()
        waits = [] if timer is None else [max(0.0, timer - self._clock.monotonic())]
        if any(each.may_stick for each in self._sinks.values()):
            waits.append(LOOK_S)
        return min(waits, default=None)

    def _take(self, messages: Reader, data: bytes) -> None:
        try:
            for message in messages.feed(data):
                self._tell(message)
        except WireError as error:
            self._tell(Unreadable(str(error)))
        if self._writer.transport.get_write_buffer_size() > UNREAD_MAX_BYTES:
            log.info("rtsp peer does not read", peer=self._peer)
            self._tell(Lost())

    def _look_around(self) -> None:
        self._looked_at = now = self._clock.monotonic()
        for session_id, sink in tuple(self._sinks.items()):
            if sink.stuck(now):
                self._tell(Stuck(session_id))
        self._tell(Tick())

    def _tell(self, event: Event) -> None:
        """Give the conversation an event and do what it says, in order; answers to questions go in at once."""
        todo: deque[Command] = deque(self._conversation.handle(event, self._clock.monotonic()))
        while todo:
            replies = self._do(todo.popleft())
            todo.extendleft(reversed(replies))

    def _do(self, command: Command) -> list[Command]:
        now = self._clock.monotonic()
        match command:
            case Send():
                self._writer.write(command.data)
            case Look():
                return self._conversation.handle(Found(self._look(command)), now)
            case Onward():
                return self._conversation.handle(self._onward(command), now)
            case Follow():
                title = cast("Tuned", command.title)
                self._sinks[command.session_id].follow(title.source(self._chunks), title.preamble)
            case Open():
                return self._conversation.handle(self._open(command), now)
            case Turn():
                self._sinks[command.session_id].turn(command.control, command.address)
            case Reply():
                self._sinks[command.session_id].reply(command.control, command.data)
            case Wind():
                self._wind(command)
            case Start():
                session_id = command.session_id
                self._pacer.add(self._sinks[session_id], lambda: self._tell(Stuck(session_id)))
            case Stop():
                self._stop(command.session_id, goodbye=command.goodbye)
            case Close():
                self._close(command.session_id)
            case Hangup():
                log.debug("rtsp hang-up", peer=self._peer, why=command.why)
                self._over = True
                self._writer.close()  # the transport first hands over what was written, then ends the reader
        return []

    def _open(self, command: Open) -> Event:
        title, link, session_id = cast("Shelved | Tuned", command.title), command.link, command.session_id

        def ended() -> None:
            self._tell(Ended(session_id))
            wait_s = self._wait_s()  # the end has timers of its own, and our reader does not know them yet
            if self._limit is not None and not self._limit.expired() and wait_s is not None:
                self._limit.reschedule(asyncio.get_running_loop().time() + wait_s)

        try:
            source = title.source(self._chunks)
        except OSError as error:
            return NotOpened(str(error))
        stream, kind = command.stream, Frame(link.rtp, link.channels[0] if link.channels else None)
        if link.channels is not None:
            self._sinks[session_id] = TcpSink(
                source,
                stream,
                kind,
                title.preamble,
                ended,
                control_channel=link.channels[1],
                write_now=self._write_now,
                write=self._writer.write,
                waiting_bytes=self._writer.transport.get_write_buffer_size,
            )
            return Opened(None)
        try:
            ports = open_pair(self._local, self._peer, link.client_port or (0, 0), listens=command.listens)
        except OSError as error:
            source.close()
            return NotOpened(str(error))
        sink = UdpSink(
            source,
            stream,
            kind,
            title.preamble,
            ended,
            data=ports.data,
            control=ports.control,
            ears=ports.ears,
            counters=self._counters,
        )
        self._sinks[session_id] = sink
        for each in sink.descriptors():
            asyncio.get_running_loop().add_reader(each, self._heard, session_id)
        return Opened(ports.numbers)

    def _wind(self, command: Wind) -> None:
        sink = self._sinks[command.session_id]
        if command.wound is None:
            sink.unwind()
        else:
            sink.wind(cast("Wound", command.wound), self._chunks.hands)

    def _write_now(self, data: memoryview) -> int:
        if self._writer.transport.is_closing():
            raise BlockingIOError
        return os.write(self._number, data)

    def _heard(self, session_id: str) -> None:
        sink = self._sinks.get(session_id)
        for control, data, source in () if sink is None else sink.datagrams():
            self._tell(Heard(session_id, control, data, source))

    def _stop(self, session_id: str, *, goodbye: bool) -> None:
        sink = self._sinks.get(session_id)
        if sink is None:
            return
        self._pacer.remove(sink)
        if goodbye:
            sink.goodbye(self._clock.monotonic(), self._clock.utc().timestamp())

    def _close(self, session_id: str) -> None:
        sink = self._sinks.get(session_id)
        if sink is None:
            return
        self._stop(session_id, goodbye=sink.stream.playing and not self._writer.is_closing())
        self._sent_bytes += sink.stream.sent_bytes
        del self._sinks[session_id]
        for each in sink.descriptors():
            asyncio.get_running_loop().remove_reader(each)
        sink.close()

    async def _flush(self) -> None:
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(FLUSH_S):
                await self._writer.wait_closed()


def drained(connections: Iterable[Connection]) -> None:
    """Tell every connection that the service is going to stop."""
    for connection in tuple(connections):
        connection.drain()
