"""Where one session's packets go: chunks of its file, and UDP sockets or the RTSP connection. Decides nothing."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from edge_server.pacing.chunks import Source
from edge_server.pacing.datagrams import Datagrams, Way
from edge_server.pacing.framing import RAW, Frame, frame
from edge_server.pacing.stream import Stream
from edge_server.pacing.timeline import PAYLOAD_MAX_BYTES
from wire.rtp import RtpError, parse_rtcp
from wire.rtsp import write_interleaved

TCP_STUCK_S = 30.0
"""A TCP reader that takes nothing for so long loses its connection."""
DATAGRAM_MAX_BYTES = 2048
_DATAGRAMS_A_LOOK = 32


class Sink(ABC):
    """The common part: takes what is due from the leased file and hands it on."""

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
        self._preamble, self._ended = preamble, ended
        self._chunk: memoryview | None = None
        self._chunk_is: tuple[int, Frame] | None = None
        self._run = memoryview(b"")
        self._own_is: tuple[int, int] | None = None
        self._own_first = 0

    def pump(self, now: float, unix_s: float) -> None:
        """Send what is due (``pacing.pacer.Flow``).

        Raises:
            OSError: the file cannot be read any more.
        """
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
            width = self._head + stream.packets.strides[stream.block]
            run = self._own(count, width) if stream.own else self._shared(count, width)
            if run is None:  # still being read; the packets wait for the next turn
                return
            taken = self.send(run, width)
            if taken:
                stream.advance(taken)
            if taken != count:
                return
        if stream.ended(now):
            self._ended()

    def _shared(self, count: int, width: int) -> memoryview | None:
        stream = self.stream
        chunk = self._get(stream.block, self._kind)
        return None if chunk is None else chunk[stream.index * width : (stream.index + count) * width]

    def _own(self, count: int, width: int) -> memoryview | None:
        """Return packets of this viewer's own; framed for the rest of the block at once, as that costs least."""
        stream = self.stream
        made = (stream.plays, stream.block)
        if self._own_is != made:
            begin, end = stream.offset_bytes, stream.packets.starts[stream.block + 1]
            whole = self._source.packets
            block = whole.block_at(begin)  # a block of our own lies within one of all: it has only more cuts
            chunk = self._get(block, RAW)
            if chunk is None:
                return None
            payload = chunk[begin - whole.starts[block] : end - whole.starts[block]]
            stamps = stream.stamps(stream.left) if self._kind.rtp else None
            stride, kind = stream.packets.strides[stream.block], self._kind
            self._run = frame(payload, stride, kind, sequence=stream.sequence, stamps=stamps, ssrc=stream.ssrc)
            self._own_is, self._own_first = made, stream.index
            self._chunk = None
        at = stream.index - self._own_first
        return self._run[at * width : (at + count) * width]

    def _get(self, block: int, kind: Frame) -> memoryview | None:
        if self._chunk is None or self._chunk_is != (block, kind):
            self._chunk = self._source.chunk(block, kind)
            self._chunk_is = (block, kind)
        return self._chunk

    def goodbye(self, now: float, unix_s: float) -> None:
        """Tell an RTP receiver that it is over."""
        packet = self.stream.goodbye(now, unix_s)
        if packet is not None:
            self.send_control(packet)

    @abstractmethod
    def send(self, run: memoryview, width_bytes: int) -> int:
        """Send consecutive packets of this width, the last may be shorter; return how many were taken."""

    @abstractmethod
    def send_extra(self, packet: memoryview) -> None:
        """Send one packet that is not of the file."""

    @abstractmethod
    def send_control(self, packet: bytes) -> None:
        """Send RTCP, where there is a way for it."""

    def descriptors(self) -> tuple[int, ...]:
        """Return what becomes readable when the box gives a sign of life beside the RTSP connection."""
        return ()

    def heard(self) -> bool:
        """Tell whether the box has given one since last asked."""
        return False

    def stuck(self, now: float) -> bool:
        """Tell whether the reader has taken nothing for too long."""
        return False

    def close(self) -> None:
        """Give the file (lease) and the sockets back."""
        self._chunk = None
        self._source.close()


class UdpSink(Sink):
    """Datagrams from a pair of connected sockets: to the peer's own address, and to no other."""

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
        counters: Counter[str],
        way: Way | None = None,
    ) -> None:
        """Own the sockets."""
        super().__init__(source, stream, kind, preamble, ended)
        self._data, self._control, self._counters = data, control, counters
        self._out = Datagrams(data, self._head + PAYLOAD_MAX_BYTES, counters, way)

    def send(self, run: memoryview, width_bytes: int) -> int:
        """See Sink. All are taken: what the kernel does not take at once is lost."""
        self._out.send(run, width_bytes)
        return -(-len(run) // width_bytes)

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
        return tuple(each.fileno() for each in (self._data, self._control) if each is not None)

    def heard(self) -> bool:
        """See Sink: any datagram to the data port (a NAT punch), or RTCP to the control port."""
        alive = any([True for _ in _waiting(self._data)])
        for datagram in _waiting(self._control) if self._control is not None else ():
            with suppress(RtpError):
                alive = bool(parse_rtcp(datagram)) or alive
        return alive

    def close(self) -> None:
        """See Sink."""
        super().close()
        self._data.close()
        if self._control is not None:
            self._control.close()


class TcpSink(Sink):
    """``$`` frames inside the RTSP connection, straight into its socket.

    Nothing waits in our process but the rest of one frame: what the connection does not take stays in the stream, which
    then slips.
    """

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

    def send(self, run: memoryview, width_bytes: int) -> int:
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


def _waiting(sock: socket.socket) -> list[bytes]:
    found = []
    with suppress(BlockingIOError):
        for _ in range(_DATAGRAMS_A_LOOK):
            with suppress(ConnectionRefusedError):
                found.append(sock.recv(DATAGRAM_MAX_BYTES))
    return found
