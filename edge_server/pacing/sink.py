"""Where one session's packets go: chunks of its file, and UDP sockets or the RTSP connection. Decides nothing."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import numpy as np

from edge_server.pacing.chunks import Hands, Source
from edge_server.pacing.datagrams import A_SEND_MAX_COUNT, Datagrams, Way
from edge_server.pacing.framing import RAW, Frame, frame
from edge_server.pacing.stream import SLIP_S, Stream
from edge_server.pacing.timeline import PAYLOAD_MAX_BYTES, Packets
from edge_server.pacing.winding import Wound, WoundSource
from wire.rtsp import write_interleaved

TCP_STUCK_S = 30.0
"""A TCP reader that takes nothing for so long loses its connection."""
DATAGRAM_MAX_BYTES = 2048
_DATAGRAMS_A_LOOK = 32


Datagram = tuple[bool, bytes, tuple[str, int] | None]
"""To the control port?, what it says, and where it comes from when not from where media goes."""


class Supply(Protocol):
    """Where packets come from."""

    packets: Packets

    def chunk(self, block: int, kind: Frame) -> memoryview | None:
        """Return a block; None when it is not here yet.

        Raises:
            OSError: it cannot be read.
        """


class Sink(ABC):
    """The common part: takes what is due from the leased file and hands it on."""

    __slots__ = (
        "_ended",
        "_file_preamble",
        "_first",
        "_head",
        "_kind",
        "_preamble",
        "_ready",
        "_ready_is",
        "_source",
        "_supply",
        "_width",
        "stream",
    )

    may_stick = False
    """Its reader can stop taking, so that ``stuck`` has to be asked now and then."""

    def __init__(
        self,
        source: Source,
        stream: Stream,
        kind: Frame,
        preamble: Callable[[int], bytes],
        ended: Callable[[], None],
    ) -> None:
        """Own one use of the source; ``preamble`` gives the packets to send before a jump to a byte."""
        self.stream = stream
        self._source, self._kind, self._head = source, kind, kind.head_bytes
        self._supply: Supply = source
        self._preamble, self._ended = preamble, ended
        self._file_preamble = preamble
        self._ready = memoryview(b"")
        """Ready packets: those of the block from ``_first`` on."""
        self._ready_is: tuple[int, int] | None = None
        """Of which play and block they are; None when nothing is at hand."""
        self._first = self._width = 0

    def pump(self, now: float, unix_s: float) -> None:
        """Send what is due (``pacing.pacer.Flow``).

        Raises:
            OSError: the file cannot be read any more.
        """
        stream = self.stream
        if now >= stream.plain_until:
            self._step(now, unix_s)
            return
        # Nearly every turn is of this kind; what it does is most of what a stream costs beside the kernel's share.
        due, index, at = stream.due_s, stream.index, now - stream.media_zero
        late = at - due[index]
        if late < 0:
            return
        most = index + A_SEND_MAX_COUNT
        if most > len(due):
            most = len(due)
        stop = bisect_right(due, at, index, most)
        if stop == most or late > SLIP_S:
            self._step(now, unix_s)
            return
        width, first = self._width, self._first
        stream.index += self.send(self._ready[(index - first) * width : (stop - first) * width], width, stop - index)

    def _step(self, now: float, unix_s: float) -> None:
        """Do whatever is to be done, and make the next packets ready."""
        stream = self.stream
        if now >= stream.report_at:
            report = stream.report(now, unix_s)
            if report is not None:
                self.send_control(report)
        if stream.preamble:
            packets = self._preamble(stream.offset_bytes)
            sequence, stamp = stream.extra(len(packets))
            if packets:
                stamps = np.array((stamp,))
                kind, ssrc = self._kind, stream.ssrc
                extra = frame(memoryview(packets), len(packets), kind, sequence=sequence, stamps=stamps, ssrc=ssrc)
                self.send_extra(extra)
        while count := stream.due(now):
            if not self._prepare():  # still being read; the packets wait for the next turn
                return
            width, at = self._width, stream.index - self._first
            taken = self.send(self._ready[at * width : (at + count) * width], width, count)
            if taken:
                stream.advance(taken)
            if taken != count:
                return
        if stream.ended(now):
            self._ended()
        elif self._ready_is == (stream.plays, stream.block):
            stream.settle()

    def _prepare(self) -> bool:
        """Have the packets of the block at hand; those of one viewer alone are framed for the rest of it at once."""
        stream, kind, whole = self.stream, self._kind, self._supply.packets
        wanted = (stream.plays, stream.block)
        if self._ready_is == wanted:
            return True
        begin = stream.offset_bytes
        # A block of our own lies within one of all: it has only more cuts.
        block = whole.block_at(begin) if stream.own else stream.block
        chunk = self._supply.chunk(block, RAW if stream.own else kind)
        if chunk is None:
            return False
        stride = stream.packets.strides[stream.block]
        self._ready, self._first, self._width = chunk, 0, self._head + stride
        if stream.own:
            payload = chunk[begin - whole.starts[block] : stream.packets.starts[stream.block + 1] - whole.starts[block]]
            stamps = stream.stamps(stream.left) if kind.rtp else None
            self._ready = frame(payload, stride, kind, sequence=stream.sequence, stamps=stamps, ssrc=stream.ssrc)
            self._first = stream.index
        self._ready_is = wanted
        return True

    def wind(self, wound: Wound, hands: Hands) -> None:
        """Take a winding's packets from now on; the file stays leased."""
        self._supply, self._preamble = WoundSource(wound, self._source, hands), wound.preamble
        self._ready_is = None

    def unwind(self) -> None:
        """Take the file's packets again."""
        self._supply, self._preamble, self._ready_is = self._source, self._file_preamble, None

    def follow(self, source: Source, preamble: Callable[[int], bytes]) -> None:
        """Take another file's packets from now on."""
        self._source.close()
        self._source, self._file_preamble = source, preamble
        self.unwind()

    def goodbye(self, now: float, unix_s: float) -> None:
        """Tell an RTP receiver that it is over."""
        packet = self.stream.goodbye(now, unix_s)
        if packet is not None:
            self.send_control(packet)

    @abstractmethod
    def send(self, run: memoryview, width_bytes: int, count: int) -> int:
        """Send ``count`` packets of this width, the last may be shorter; return how many were taken."""

    @abstractmethod
    def send_extra(self, packet: memoryview) -> None:
        """Send one packet that is not of the file."""

    @abstractmethod
    def send_control(self, packet: bytes) -> None:
        """Send RTCP, where there is a way for it."""

    def descriptors(self) -> tuple[int, ...]:
        """Return what becomes readable when the box gives a sign of life beside the RTSP connection."""
        return ()

    def datagrams(self) -> list[Datagram]:
        """Return what has come to the media ports since last asked."""
        return []

    def turn(self, control: bool, address: tuple[str, int]) -> None:
        """Send media (or control) to another port from now on."""
        raise NotImplementedError("no ports of its own")

    def reply(self, control: bool, data: bytes) -> None:
        """Send a datagram where media (or control) goes."""
        raise NotImplementedError("no ports of its own")

    def stuck(self, now: float) -> bool:
        """Tell whether the reader has taken nothing for too long."""
        return False

    def close(self) -> None:
        """Give the file (lease) and the sockets back."""
        self._ready, self._ready_is = memoryview(b""), None
        self._source.close()


class UdpSink(Sink):
    """Datagrams from a pair of connected sockets: to the peer's own address, and to no other."""

    __slots__ = ("_control", "_counters", "_data", "_ears", "_out")

    def __init__(
        self,
        source: Source,
        stream: Stream,
        kind: Frame,
        preamble: Callable[[int], bytes],
        ended: Callable[[], None],
        *,
        data: socket.socket,
        control: socket.socket | None,
        ears: tuple[socket.socket, ...] = (),
        counters: Counter[str],
        way: Way | None = None,
    ) -> None:
        """Own the sockets; ``ears`` are on the same ports (data, control) and hear everybody else."""
        super().__init__(source, stream, kind, preamble, ended)
        self._data, self._control, self._ears, self._counters = data, control, ears, counters
        self._out = Datagrams(data, self._head + PAYLOAD_MAX_BYTES, counters, way)

    def send(self, run: memoryview, width_bytes: int, count: int) -> int:
        """See Sink. All are taken: what the kernel does not take at once is lost."""
        self._out.send(run, width_bytes)
        return count

    def send_extra(self, packet: memoryview) -> None:
        """See Sink."""
        self._out.send(packet, len(packet))

    def send_control(self, packet: bytes) -> None:
        """See Sink."""
        if self._control is None:
            return
        try:
            self._control.send(packet)
        except OSError:
            self._counters["reports not sent"] += 1

    def descriptors(self) -> tuple[int, ...]:
        """See Sink."""
        return tuple(each.fileno() for each in (self._data, self._control, *self._ears) if each is not None)

    def datagrams(self) -> list[Datagram]:
        """See Sink."""
        found: list[Datagram] = [(False, data, None) for data, _ in _waiting(self._data)]
        if self._control is not None:
            found += [(True, data, None) for data, _ in _waiting(self._control)]
        for control, ear in enumerate(self._ears):
            found += [(bool(control), data, (source[0], source[1])) for data, source in _waiting(ear)]
        return found

    def turn(self, control: bool, address: tuple[str, int]) -> None:
        """See Sink."""
        sock = self._control if control else self._data
        try:
            if sock is not None:
                sock.connect(address)
        except OSError:
            self._counters["turns failed"] += 1

    def reply(self, control: bool, data: bytes) -> None:
        """See Sink."""
        if control:
            self.send_control(data)
        else:
            self._out.send(memoryview(data), len(data))

    def close(self) -> None:
        """See Sink."""
        super().close()
        self._data.close()
        for each in (self._control, *self._ears):
            if each is not None:
                each.close()


class TcpSink(Sink):
    """``$`` frames inside the RTSP connection, straight into its socket.

    Nothing waits in our process but the rest of one frame: what the connection does not take stays in the stream, which
    then slips.
    """

    __slots__ = ("_control_channel", "_full_since", "_now", "_waited", "_waiting_bytes", "_write", "_write_now")

    may_stick = True

    def __init__(
        self,
        source: Source,
        stream: Stream,
        kind: Frame,
        preamble: Callable[[int], bytes],
        ended: Callable[[], None],
        *,
        control_channel: int,
        write_now: Callable[[memoryview], int],
        write: Callable[[bytes], None],
        waiting_bytes: Callable[[], int],
    ) -> None:
        """Share the connection.

        Args:
            source: see Sink.
            stream: see Sink.
            kind: see Sink; with the data channel.
            preamble: see Sink.
            ended: see Sink.
            control_channel: where RTCP goes; the data channel when there is none.
            write_now: takes what it can at once and returns how many bytes; raises BlockingIOError for none.
            write: takes all, and lets it wait when it must.
            waiting_bytes: how many bytes wait.
        """
        super().__init__(source, stream, kind, preamble, ended)
        self._control_channel = control_channel
        self._write_now, self._write, self._waiting_bytes = write_now, write, waiting_bytes
        self._full_since: float | None = None
        self._waited = False
        self._now = 0.0

    def pump(self, now: float, unix_s: float) -> None:
        """See Sink; nothing is taken from the stream while something waits."""
        self._now = now
        if self._waiting_bytes():
            self._full()
            self._waited = True
            return
        if self._waited:
            self._waited, self._full_since = False, None
        super().pump(now, unix_s)

    def stuck(self, now: float) -> bool:
        """See Sink."""
        return self._full_since is not None and now - self._full_since >= TCP_STUCK_S

    def send(self, run: memoryview, width_bytes: int, count: int) -> int:
        """See Sink. Of a frame that went out in part, the rest is left to the connection, ahead of anything else."""
        if self._waiting_bytes():
            return 0
        try:
            sent = self._write_now(run)
        except BlockingIOError:
            self._full()
            return 0
        self._full_since = None
        taken, part = divmod(sent, width_bytes)
        if part and sent < len(run):
            taken += 1
            self._write(bytes(run[sent : taken * width_bytes]))
        return taken + (1 if part and sent == len(run) else 0)

    def _full(self) -> None:
        if self._full_since is None:
            self._full_since = self._now

    def send_extra(self, packet: memoryview) -> None:
        """See Sink."""
        self._write(bytes(packet))

    def send_control(self, packet: bytes) -> None:
        """See Sink."""
        if self._control_channel != self._kind.channel:
            self._write(write_interleaved(self._control_channel, packet))


def _waiting(sock: socket.socket) -> list[tuple[bytes, tuple[str, int]]]:
    found = []
    with suppress(BlockingIOError):
        for _ in range(_DATAGRAMS_A_LOOK):
            with suppress(ConnectionRefusedError):
                found.append(sock.recvfrom(DATAGRAM_MAX_BYTES))
    return found
