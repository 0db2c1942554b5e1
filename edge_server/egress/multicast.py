"""Lessons in a loop to multicast groups: raw transport stream or RTP over UDP (reference/stb_protocols §4.11).

At the join of two rounds PCR, PTS and continuity counters jump back; packets with discontinuity_indicator before the
first byte make that legal (ISO/IEC 13818-1 §2.4.3.5). RTP numbers go on. A linear channel has no such jumps.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace

import structlog

from edge_server.egress import EgressContext
from edge_server.linear import LinearChannel
from edge_server.pacing.framing import Frame
from edge_server.pacing.group_sink import Beside, GroupSink
from edge_server.pacing.joined import Window, Windows
from edge_server.pacing.library import Library, Shelved
from edge_server.pacing.recent import Recent
from edge_server.pacing.repair import Repair, Shape
from edge_server.pacing.service import Pacing
from edge_server.pacing.stream import Stream
from runtime.clock import Clock

LOOK_S = 10.0
"""How often it is checked whether the lesson is still the one to play."""
GROUPS_MAX_COUNT = 64
CHANNELS_LOOK_S = 1.0
"""How often it is checked whether a linear channel is still the same."""
DRIFT_MAX_S = 1.0
"""A channel that is farther from its schedule, by a clock that was set, begins anew at the right place."""

_GROUP = re.compile(r"(rtp:)?([0-9]{1,12})(?:/([A-Za-z0-9]{1,8}))?@([0-9.]+):([0-9]{1,5})\Z")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Group:
    """One channel: what is sent where."""

    item_id: str
    rendition: str
    address: str
    port: int
    rtp: bool


def parse_groups(text: str) -> tuple[Group, ...]:
    """Read ``1001@239.1.1.1:5000, rtp:1002/R40@239.1.1.2:5000``; RTP ports are even (RFC 3550 §11).

    Raises:
        ValueError: the words say what is wrong with which group.
    """
    groups: list[Group] = []
    for word in filter(None, (each.strip() for each in text.split(","))):
        match = _GROUP.match(word)
        if match is None:
            raise ValueError(f"{word!r} is not like 1001@239.1.1.1:5000 or rtp:1001/R40@239.1.1.1:5000")
        rtp, item_id, rendition, address, port = match.groups()
        try:
            multicast = ipaddress.IPv4Address(address).is_multicast
        except ValueError:
            multicast = False
        if not multicast:
            raise ValueError(f"{word!r}: {address} is no IPv4 multicast address")
        if not 0 < int(port) < 65535 or (rtp and int(port) % 2):
            raise ValueError(f"{word!r}: port {port}; write 1 to 65534, an even one for RTP")
        groups.append(Group(item_id, rendition or "R12", address, int(port), bool(rtp)))
    places = {(each.address, each.port) for each in groups}
    if len(places) != len(groups) or len(groups) > GROUPS_MAX_COUNT:
        raise ValueError(f"each address and port once, at most {GROUPS_MAX_COUNT} groups")
    return tuple(groups)


@dataclass(frozen=True, slots=True)
class Wire:
    """How all groups are sent, and what goes on beside those of RTP."""

    ttl: int = 1
    """How many routers the packets may pass, and one."""
    interface: str = ""
    """IPv4 address of the interface to send from; empty for the one that the routes name."""
    shape: Shape | None = None
    """Of the parity packets, which go to the port below the group's; None for none."""
    recents: dict[tuple[str, int], Recent] | None = None
    """Gets what was sent lately, by group and port; None when nobody wants to know."""
    counters: Counter[str] = field(default_factory=Counter)

    def open(self, address: str, port: int) -> socket.socket:
        """Open a socket that sends to a group.

        Raises:
            OSError: no way out.
        """
        return open_out(address, port, ttl=self.ttl, interface=self.interface)

    def beside(self, address: str, port: int, stack: ExitStack) -> Beside:
        """Begin what goes on beside an RTP stream; the stack ends it.

        Raises:
            OSError: no way out.
        """
        recent = None
        if self.recents is not None:
            recents, key, recent = self.recents, (address, port), Recent()
            recents[key] = recent
            stack.callback(_end, recents, key, recent)
        if self.shape is None:
            return Beside(recent)
        repair = Repair(self.shape, ssrc=secrets.randbits(32), sequence=secrets.randbits(16))
        return Beside(recent, repair, stack.enter_context(self.open(address, port - 1)))


def _end(recents: dict[tuple[str, int], Recent], key: tuple[str, int], recent: Recent) -> None:
    recent.ended = True
    if recents.get(key) is recent:
        del recents[key]


class _Round(GroupSink):
    """Begins again where the last byte has been sent, at the moment when the clock gets there."""

    def pump(self, now: float, unix_s: float) -> None:
        """See Sink."""
        super().pump(now, unix_s)
        if self.stream.all_sent:
            self.stream.play(0, self.stream.end_at)


class MulticastService:
    """A ``runtime.service.Service``; does nothing without groups."""

    def __init__(self, groups: tuple[Group, ...], ctx: EgressContext, pacing: Pacing, wire: Wire) -> None:
        """Prepare; nothing is sent yet.

        Args:
            groups: what to send where.
            ctx: catalogue view, packaged files, clock.
            pacing: the process's pacer, run by somebody else.
            wire: how to send.
        """
        self.counters, self._wire = wire.counters, wire
        self._groups, self._clock, self._pacing = groups, ctx.clock, pacing
        self._library = Library(ctx.view, ctx.shelf, pacing.chunks)

    async def run(self, ready: Callable[[], None]) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for group in self._groups:
                tasks.create_task(self._serve(group))
            ready()
            await asyncio.Event().wait()

    async def drain(self) -> None:
        """Nothing to finish: a group has no end."""

    async def _serve(self, group: Group) -> None:
        clock = self._clock
        while True:
            title = self._library.look(group.item_id, group.rendition)
            try:
                if title is not None:
                    await self._send(group, title)
                    continue
                self.counters["groups without a lesson"] += 1
            except OSError as error:
                self.counters["groups failed"] += 1
                log.warning("multicast group failed", group=f"{group.address}:{group.port}", why=str(error))
            await clock.sleep_until(clock.monotonic() + LOOK_S)

    async def _send(self, group: Group, title: Shelved) -> None:
        """Send until the lesson is another one.

        Raises:
            OSError: no way out, or the file cannot be read.
        """
        clock, over = self._clock, asyncio.Event()
        now = clock.monotonic()
        numbers = secrets.randbits(32), secrets.randbits(16), secrets.randbits(32)
        ssrc, sequence, timestamp = numbers
        stream = Stream(title.timeline, rtp=group.rtp, ssrc=ssrc, sequence=sequence, timestamp=timestamp, now=now)
        stack = ExitStack()
        try:
            beside = self._wire.beside(group.address, group.port, stack) if group.rtp else Beside()
            data = stack.enter_context(self._wire.open(group.address, group.port))
            control = stack.enter_context(self._wire.open(group.address, group.port + 1)) if group.rtp else None
            source = self._pacing.chunks.open(title.file, title.timeline.packets)
        except OSError:
            stack.close()
            raise
        sink = _Round(
            source,
            stream,
            Frame(group.rtp),
            title.preamble,
            data=data,
            control=control,
            counters=self.counters,
            beside=beside,
        )
        stream.play(0, now)
        self._pacing.pacer.add(sink, over.set)
        try:
            while not over.is_set():
                await clock.sleep_until(clock.monotonic() + LOOK_S)
                found = self._library.look(group.item_id, group.rendition)
                if found is None or found.file != title.file:
                    return
            raise OSError("the lesson's file cannot be read")
        finally:
            self._pacing.pacer.remove(sink)
            sink.goodbye(clock.monotonic(), clock.utc().timestamp())
            sink.close()
            stack.close()


def open_out(address: str, port: int, *, ttl: int, interface: str) -> socket.socket:
    """Open a socket that sends to a group.

    Raises:
        OSError: no way out.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
        if interface:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        sock.connect((address, port))
    except OSError:
        sock.close()
        raise
    return sock


@dataclass(frozen=True, slots=True)
class _Out:
    """Where one channel goes, and the RTP numbers of its next packet."""

    data: socket.socket
    control: socket.socket | None
    ssrc: int
    sequence: int
    timestamp: int
    beside: Beside


class _Chained(GroupSink):
    """Says at once when the last byte has been sent: another window goes on there."""

    sent: Callable[[], None] = staticmethod(lambda: None)

    def pump(self, now: float, unix_s: float) -> None:
        """See Sink."""
        super().pump(now, unix_s)
        if self.stream.all_sent:
            self.sent()


class LinearMulticast:
    """A ``runtime.service.Service``: linear channels to their groups, without a jump from lesson to lesson."""

    def __init__(
        self,
        channels: Callable[[], tuple[LinearChannel, ...]],
        windows: Windows,
        clock: Clock,
        pacing: Pacing,
        wire: Wire,
    ) -> None:
        """Prepare; nothing is sent yet. ``channels`` gives those of now; for the rest see `MulticastService`."""
        self.counters, self._wire = wire.counters, wire
        self._channels, self._windows, self._clock, self._pacing = channels, windows, clock, pacing

    async def run(self, ready: Callable[[], None]) -> None:
        """Send until cancelled."""
        sending: dict[tuple[str, str, bool], asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            ready()
            while True:
                wanted = {(each.channel_id, each.multicast, each.rtp) for each in self._channels() if each.multicast}
                for key in [key for key, task in sending.items() if key not in wanted or task.done()]:
                    sending.pop(key).cancel()
                for key in wanted - sending.keys():
                    sending[key] = tasks.create_task(self._serve(*key))
                await self._clock.sleep_until(self._clock.monotonic() + CHANNELS_LOOK_S)

    async def drain(self) -> None:
        """Nothing to finish: a channel has no end."""

    async def _serve(self, channel_id: str, group: str, rtp: bool) -> None:
        """Send one channel until it is another one, or something fails; `run` begins it again."""
        address, digits = group.rsplit(":", 1)
        port, stack = int(digits), ExitStack()
        try:
            beside = self._wire.beside(address, port, stack) if rtp else Beside()
            data = stack.enter_context(self._wire.open(address, port))
            control = stack.enter_context(self._wire.open(address, port + 1)) if rtp else None
            numbers = secrets.randbits(32), secrets.randbits(16), secrets.randbits(32)
            out: _Out | None = _Out(data, control, *numbers, beside)
            now, moment = self._clock.monotonic(), self._clock.utc()
            window = self._windows.at(channel_id, moment)
            begin_s, offset_bytes = (0.0, 0) if window is None else window.seek(window.npt_of(moment))
            late_s = (
                0.0 if window is None else window.npt_of(moment) - begin_s
            )  # of a channel that has to begin earlier
            begins = True
            while window is not None and out is not None:
                out, now = await self._send(window, offset_bytes, now, out, begins=begins)
                begins = False
                round_, offset_bytes = window.round, 0
                window = self._windows.holding(round_, window.following)
                if window is not None and abs(self._ahead_s(window, now) + late_s) > DRIFT_MAX_S:
                    self.counters["channels set right"] += 1
                    return
        except OSError as error:
            self.counters["channels failed"] += 1
            log.warning("multicast channel failed", channel=channel_id, group=group, why=str(error))
        finally:
            stack.close()

    def _ahead_s(self, window: Window, now: float) -> float:
        """Return how far a window that begins at this monotonic time is ahead of the schedule."""
        begins = self._clock.utc().timestamp() + now - self._clock.monotonic()
        wanted = window.round.moment_of(window.begins_ticks).timestamp() - window.timeline.delay_s
        return wanted - begins

    async def _send(
        self, window: Window, offset_bytes: int, now: float, out: _Out, *, begins: bool
    ) -> tuple[_Out | None, float]:
        """Send a window to its end; return how to go on and when, nothing when the channel has become another one.

        What ``begins`` may come behind another stream, of the round before: it is marked as a jump.

        Raises:
            OSError: the lesson's file cannot be read.
        """
        over, sent = asyncio.Event(), asyncio.Event()
        line = replace(window.timeline, numbers=None)
        stream = Stream(
            line, rtp=out.control is not None, ssrc=out.ssrc, sequence=out.sequence, timestamp=out.timestamp, now=now
        )
        sink = _Chained(
            window.source(self._pacing.chunks),
            stream,
            Frame(out.control is not None),
            window.preamble,
            data=out.data.dup(),
            control=None if out.control is None else out.control.dup(),
            counters=self.counters,
            beside=out.beside,
        )
        sink.sent = sent.set
        stream.play(offset_bytes, now)
        stream.preamble = begins
        self._pacing.pacer.add(sink, over.set)
        try:
            while not sent.is_set():
                if over.is_set():
                    raise OSError("a lesson's file cannot be read")
                if self._windows.rounds(window.item_id) is not window.round:
                    return None, now
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHANNELS_LOOK_S):
                        await sent.wait()
            stamp = stream.rtp_timestamp()
            return replace(out, sequence=stream.sequence, timestamp=stamp), stream.end_at
        finally:
            self._pacing.pacer.remove(sink)
            sink.close()
