"""The sockets of the multicast player: it joins, times what arrives, and carries out what the conversation decides."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from stb_emulator.boxes.multicast import MulticastFace
from stb_emulator.observe import PlayError, Stage
from stb_emulator.observe.pipe import PipeClosed
from stb_emulator.players import Playing
from stb_emulator.players.multicast.address import Channel, parse_channel
from stb_emulator.players.multicast.joining import Command, JoinGroup, Joining, Noted, Say, State
from stb_emulator.players.multicast.window import Window
from wire.fcc import FccError, Request, parse
from wire.mpegts import PACKET_BYTES, ContinuityMeter
from wire.rs_fec import PAYLOAD_TYPES
from wire.rtp import HEADER_BYTES as RTP_HEADER_BYTES
from wire.rtp import RtpError, RtpPacket

UDP_BUFFER_BYTES = 4 * 1024 * 1024
TICK_MAX_S = 0.5
_IP_ADD_SOURCE_MEMBERSHIP = 39
"""Linux, ``ip_mreq_source``; the socket module has no name for it."""


class MulticastPlayer:
    """See Player."""

    async def play(self, playing: Playing) -> None:
        """See Player."""
        face = playing.box.multicast or MulticastFace()
        channel = parse_channel(playing.offer.url)
        playing.line.guard.check(f"igmp://{face.interface}", Stage.SETUP)
        if face.fcc and channel.fcc is not None:
            playing.line.guard.check(f"udp://{channel.fcc[0]}", Stage.SETUP)
        for press in playing.presses:
            words = "组播没有按键 / a channel by multicast has no keys"
            playing.decoder.tally.no_key(press.key, playing.clock.monotonic(), words, scale=press.scale)
            playing.decoder.pressed()
        await _Reception(playing, face, channel).run()


class _Datagrams(asyncio.DatagramProtocol):
    """Hands each datagram on."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        self._take(data)

    def error_received(self, exc: Exception) -> None:
        """An ICMP answer to our request: then no answer comes, which is judged by time."""


class _Reception:
    """One channel being received."""

    def __init__(self, playing: Playing, face: MulticastFace, channel: Channel) -> None:
        self._playing, self._face, self._channel = playing, face, channel
        self._tally, self._clock = playing.decoder.tally, playing.clock
        self._window = Window(self._deliver, self._tally.deviate)
        self._continuity = ContinuityMeter()
        self._joining: Joining | None = None
        self._transports: list[asyncio.DatagramTransport] = []
        self._signal: asyncio.DatagramTransport | None = None
        self._media: asyncio.DatagramTransport | None = None
        self._last = playing.clock.monotonic()
        self._rtp = False
        self._joins: list[JoinGroup] = []
        self._burst_next: int | None = None
        """The number behind the newest of the burst."""
        self._failure: PlayError | None = None
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Receive until the decoder has enough.

        Raises:
            PlayError: nothing came for the line's silence.
        """
        self._tally.asked_at = self._clock.monotonic()
        self._tally.transport = "multicast"
        self._playing.decoder.start("mpegts")
        try:
            if self._face.fcc and self._channel.fcc is not None:
                await self._ask()
            else:
                await self._join()
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch_enough())
                try:
                    await self._receive()
                except PlayError as failure:
                    self._failure = failure
                finally:
                    watch.cancel()
        finally:
            if self._joining is not None:
                self._obey(self._joining.leave())
            for transport in self._transports:
                transport.close()
            with suppress(PipeClosed):
                self._window.finish(self._clock.monotonic())
            self._count()
        if self._failure is not None:
            raise self._failure

    async def _watch_enough(self) -> None:
        await self._playing.decoder.enough.wait()
        self._wake.set()

    async def _receive(self) -> None:
        wait_s = self._playing.line.silence_s
        enough = self._playing.decoder.enough
        while not enough.is_set() and self._failure is None:
            self._wake.clear()
            while self._joins:
                self._joins.pop()
                await self._join()
            now = self._clock.monotonic()
            if now >= self._last + wait_s:
                raise PlayError(Stage.PLAY, f"{wait_s:g} 秒没有数据", f"no data for {wait_s:g} s")
            due = self._joining.next_timer if self._joining is not None else None
            until = min(t for t in (now + TICK_MAX_S, self._last + wait_s, due) if t is not None)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, until - now)):
                    await self._wake.wait()
            if self._joining is not None:
                self._obey(self._joining.tick(self._clock.monotonic()))

    async def _open(self, address: str, port: int, take: Callable[[bytes], None]) -> asyncio.DatagramTransport:
        endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
        try:
            endpoint.bind((address, port))
            if address == self._channel.group:
                self._member(endpoint)
        except OSError as error:
            endpoint.close()
            raise PlayError(Stage.SETUP, "无法加入组播", f"cannot join {address}:{port}: {error}") from error
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(take), sock=endpoint)
        self._transports.append(transport)
        return transport

    def _member(self, endpoint: socket.socket) -> None:
        """Join the group (RFC 1112), or one sender of it (RFC 4607)."""
        group, interface = (socket.inet_aton(each) for each in (self._channel.group, self._face.interface))
        if self._face.source:
            wanted = struct.pack("4s4s4s", group, interface, socket.inet_aton(self._face.source))
            endpoint.setsockopt(socket.IPPROTO_IP, _IP_ADD_SOURCE_MEMBERSHIP, wanted)
        else:
            endpoint.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + interface)

    async def _join(self) -> None:
        await self._open(self._channel.group, self._channel.port, self._from_group)
        fec = self._channel.fec_port
        if self._face.fec and fec is not None and fec != self._channel.port:
            await self._open(self._channel.group, fec, self._parity)

    async def _ask(self) -> None:
        """Open two ports, the media one below that of signalling, and ask for a burst."""
        assert self._face.fcc and self._channel.fcc is not None
        media, signal = await self._pair()
        self._media, self._signal = media, signal
        device = self._playing.box.device
        request = Request(
            self._channel.group,
            signal.get_extra_info("sockname")[1],
            self._channel.port,
            client_ip=self._face.interface,
            stb_id=device.stb_id.encode()[-16:] if device is not None else b"",
        )
        self._joining = Joining(self._face.fcc, request, self._channel.fcc, self._face.fcc_answer_s)
        self._window.seam = True
        self._obey(self._joining.start(self._clock.monotonic()))

    async def _pair(self) -> tuple[asyncio.DatagramTransport, asyncio.DatagramTransport]:
        for _ in range(64):
            media = await self._open(self._face.interface, 0, self._from_burst)
            above = media.get_extra_info("sockname")[1] + 1
            with suppress(PlayError, OverflowError):
                return media, await self._open(self._face.interface, above, self._signalled)
            media.close()
        raise PlayError(Stage.SETUP, "没有空闲的 UDP 端口", "no pair of free UDP ports on this machine")

    def _obey(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Say(data, server, by_media):
                    if not self._may_send_to(server[0]):
                        continue
                    transport = self._media if by_media else self._signal
                    if transport is not None and not transport.is_closing():
                        transport.sendto(data, server)
                case JoinGroup():
                    self._joins.append(command)
                    self._wake.set()
                case Noted(zh, en):
                    self._tally.warn(f"{zh} / {en}")

    def _may_send_to(self, host: str) -> bool:
        """A server may send a box elsewhere; not everywhere."""
        try:
            self._playing.line.guard.check(f"udp://{host}", Stage.SETUP)
        except PlayError as failure:
            self._failure = failure
            self._wake.set()
        return self._failure is None

    def _signalled(self, data: bytes) -> None:
        """Take a datagram at the signalling port: a message, or with Telecom's servers the burst itself."""
        assert self._joining is not None and self._face.fcc
        try:
            message = parse(data, self._face.fcc)
        except FccError:
            self._from_burst(data)
            return
        self._obey(self._joining.message(message, self._clock.monotonic()))

    def _from_burst(self, data: bytes) -> None:
        assert self._joining is not None
        now = self._clock.monotonic()
        if len(data) < 4 or data[0] >> 6 != 2:
            self._tally.deviate("fcc-datagram")
            return
        number = int.from_bytes(data[2:4], "big")
        if self._joining.burst(number, now):
            if self._burst_next is None or (number - self._burst_next) & 0xFFFF < 0x8000:
                self._burst_next = (number + 1) & 0xFFFF
            self._packet(data, now)

    def _from_group(self, data: bytes) -> None:
        now = self._clock.monotonic()
        if data[:1] == b"\x47" and len(data) % PACKET_BYTES == 0:
            self._last = now
            self._tally.bytes += len(data)
            self._stream(data, now)
            return
        if len(data) < RTP_HEADER_BYTES or data[1] & 0x7F in PAYLOAD_TYPES:
            if self._face.fec or len(data) < RTP_HEADER_BYTES:
                self._packet(data, now)
            return
        number = int.from_bytes(data[2:4], "big")
        if self._joining is not None:
            self._obey(self._joining.multicast(number))
        overlaps = self._burst_next is not None and (number - self._burst_next) & 0xFFFF >= 0x8000
        if overlaps and self._window.has(number):
            self._last = now
            return
        self._packet(data, now)

    def _parity(self, data: bytes) -> None:
        with suppress(PipeClosed, RtpError):
            self._window.take(data, self._clock.monotonic())

    def _packet(self, data: bytes, now: float) -> None:
        self._last, self._rtp = now, True
        self._tally.bytes += len(data)
        try:
            self._window.take(data, now)
        except RtpError:
            self._tally.deviate("not-rtp")
        except PipeClosed:
            pass
        self._close_seam()

    def _close_seam(self) -> None:
        """The group has caught up with the burst: gaps are gaps again."""
        talk, due = self._joining, self._window.next
        if talk is not None and talk.state is State.DONE and talk.first_multicast is not None and due is not None:
            self._window.seam = (due - talk.first_multicast) & 0xFFFF >= 0x8000

    def _deliver(self, packet: RtpPacket, arrived: float) -> None:
        self._stream(packet.payload, arrived)

    def _stream(self, data: bytes, now: float) -> None:
        if len(data) % PACKET_BYTES or not data:
            self._tally.deviate("not-whole-ts-packets")
            return
        self._continuity.feed(data)
        with suppress(PipeClosed):
            self._playing.decoder.pipe.put(data, now)

    def _count(self) -> None:
        tally, window = self._tally, self._window
        tally.lost, tally.reordered, tally.duplicates = window.lost, window.reordered, window.duplicates
        tally.continuity_errors = self._continuity.continuity_errors + self._continuity.sync_errors
        self._playing.decoder.count_overruns()
        burst = self._joining.burst_packets if self._joining is not None else 0
        words = ["multicast", "RTP" if self._rtp else "TS"]
        if burst:
            words.append(f"FCC burst {burst}")
        if window.mended:
            words.append(f"FEC mended {window.mended}")
            tally.warn(f"纠错补回 {window.mended} 个包 / {window.mended} packets mended by FEC")
        tally.transport = " ".join(words)
