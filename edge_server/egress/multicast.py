"""Lessons in a loop to multicast groups: raw transport stream or RTP over UDP (reference/stb_protocols §4.11).

At the join of two rounds PCR, PTS and continuity counters jump back; packets with discontinuity_indicator before the
first byte make that legal (ISO/IEC 13818-1 §2.4.3.5). RTP numbers go on.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from edge_server.egress import EgressContext
from edge_server.pacing.framing import Frame
from edge_server.pacing.library import Library, Shelved
from edge_server.pacing.service import Pacing
from edge_server.pacing.sink import UdpSink
from edge_server.pacing.stream import Stream

LOOK_S = 10.0
"""How often it is checked whether the lesson is still the one to play."""
GROUPS_MAX_COUNT = 64

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


class _Round(UdpSink):
    """Begins again where the last byte has been sent, at the moment when the clock gets there."""

    def pump(self, now: float, unix_s: float) -> None:
        """See Sink."""
        super().pump(now, unix_s)
        if self.stream.all_sent:
            self.stream.play(0, self.stream.end_at)


class MulticastService:
    """A ``runtime.service.Service``; does nothing without groups."""

    def __init__(
        self, groups: tuple[Group, ...], ctx: EgressContext, pacing: Pacing, *, ttl: int = 1, interface: str = ""
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            groups: what to send where.
            ctx: catalogue view, packaged files, clock.
            pacing: the process's pacer, run by somebody else.
            ttl: how many routers the packets may pass, and one.
            interface: IPv4 address of the interface to send from; empty for the one that the routes name.
        """
        self.counters: Counter[str] = Counter()
        self._groups, self._clock, self._pacing = groups, ctx.clock, pacing
        self._library = Library(ctx.view, ctx.shelf, pacing.chunks)
        self._ttl, self._interface = ttl, interface

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
        data = self._socket(group.address, group.port)
        try:
            control = self._socket(group.address, group.port + 1) if group.rtp else None
            source = self._pacing.chunks.open(title.file, title.timeline.packets)
        except OSError:
            data.close()
            raise
        sink = _Round(
            source,
            stream,
            Frame(group.rtp),
            title.preamble,
            lambda: None,
            data=data,
            control=control,
            counters=self.counters,
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

    def _socket(self, address: str, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, self._ttl)
            if self._interface:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(self._interface))
            sock.connect((address, port))
        except OSError:
            sock.close()
            raise
        return sock
