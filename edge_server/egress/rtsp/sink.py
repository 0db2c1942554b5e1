"""Where one session's packets go: its file descriptor, and UDP sockets or the RTSP connection. Decides nothing."""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from edge_server.egress.rtsp.stream import PAYLOAD_MAX_BYTES, Stream
from wire.rtp import RtpError, parse_rtcp
from wire.rtsp import write_interleaved

TCP_QUEUE_MAX_BYTES = 256 * 1024
"""Media waiting in our process for one TCP reader; above it we wait, and the stream slips."""
TCP_STUCK_S = 30.0
"""A TCP reader that takes nothing for so long loses its connection."""
DATAGRAM_MAX_BYTES = 2048
_DATAGRAMS_A_LOOK = 32


class Sink(ABC):
    """The common part: reads what is due from the leased file and hands it on."""

    def __init__(self, fd: int, stream: Stream, preamble: Callable[[int], bytes], ended: Callable[[], None]) -> None:
        """Own the file descriptor; ``preamble`` gives the packets to send before a jump to a byte."""
        self.stream = stream
        self.ended = ended
        self._fd = fd
        self._preamble = preamble

    def pump(self, now: float, unix_s: float) -> None:
        """Send what is due.

        Raises:
            OSError: the file cannot be read any more.
        """
        report = self.stream.report(now, unix_s)
        if report is not None:
            self.send_control(report)
        if self.stream.preamble:
            packets = self._preamble(self.stream.offset_bytes)
            header = self.stream.extra_header(len(packets))
            if packets:
                self.send([header], memoryview(packets))
        burst = self.stream.due(now)
        if burst is None:
            return
        data = os.pread(self._fd, burst.stop_bytes - burst.offset_bytes, burst.offset_bytes)
        if len(data) != burst.stop_bytes - burst.offset_bytes:
            raise OSError("the media file has become shorter")
        self.send(burst.headers, memoryview(data))

    def goodbye(self, now: float, unix_s: float) -> None:
        """Tell an RTP receiver that it is over."""
        packet = self.stream.goodbye(now, unix_s)
        if packet is not None:
            self.send_control(packet)

    @abstractmethod
    def send(self, headers: tuple[bytes, ...] | list[bytes], data: memoryview) -> None:
        """Send consecutive packets: one header and up to 1316 bytes each."""

    @abstractmethod
    def send_control(self, packet: bytes) -> None:
        """Send RTCP, where there is a way for it."""

    def heard(self) -> bool:
        """Tell whether the box has sent a sign of life beside the RTSP connection since last asked."""
        return False

    def stuck(self, now: float) -> bool:
        """Tell whether the reader has taken nothing for too long."""
        return False

    def close(self) -> None:
        """Give the file (lease) and the sockets back."""
        os.close(self._fd)


class UdpSink(Sink):
    """Datagrams from a pair of connected sockets: to the peer's own address, and to no other."""

    def __init__(
        self,
        fd: int,
        stream: Stream,
        preamble: Callable[[int], bytes],
        ended: Callable[[], None],
        *,
        data: socket.socket,
        control: socket.socket | None,
        counters: Counter[str],
    ) -> None:
        """Own the sockets."""
        super().__init__(fd, stream, preamble, ended)
        self._data, self._control, self._counters = data, control, counters

    def send(self, headers: tuple[bytes, ...] | list[bytes], data: memoryview) -> None:
        """See Sink. What the kernel does not take at once is lost, as on any line, and counted."""
        for index, header in enumerate(headers):
            payload = data[index * PAYLOAD_MAX_BYTES : (index + 1) * PAYLOAD_MAX_BYTES]
            self._datagram(self._data, b"".join((header, payload)) if header else payload)

    def send_control(self, packet: bytes) -> None:
        """See Sink."""
        if self._control is not None:
            self._datagram(self._control, packet)

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

    def _datagram(self, sock: socket.socket, packet: bytes | memoryview) -> None:
        try:
            sock.send(packet)
        except BlockingIOError:
            self._counters["datagrams dropped"] += 1
        except ConnectionRefusedError:
            self._counters["datagrams refused"] += 1
        except OSError:
            self._counters["datagrams failed"] += 1


class TcpSink(Sink):
    """``$`` frames inside the RTSP connection, with a bound on what waits."""

    def __init__(
        self,
        fd: int,
        stream: Stream,
        preamble: Callable[[int], bytes],
        ended: Callable[[], None],
        *,
        channels: tuple[int, int],
        write: Callable[[bytes], None],
        waiting_bytes: Callable[[], int],
    ) -> None:
        """Write through the connection's transport."""
        super().__init__(fd, stream, preamble, ended)
        self._channels, self._write, self._waiting_bytes = channels, write, waiting_bytes
        self._full_since: float | None = None

    def pump(self, now: float, unix_s: float) -> None:
        """See Sink; nothing is taken from the stream while the queue is full."""
        if self._waiting_bytes() >= TCP_QUEUE_MAX_BYTES:
            self._full_since = now if self._full_since is None else self._full_since
            return
        self._full_since = None
        super().pump(now, unix_s)

    def stuck(self, now: float) -> bool:
        """See Sink."""
        return self._full_since is not None and now - self._full_since >= TCP_STUCK_S

    def send(self, headers: tuple[bytes, ...] | list[bytes], data: memoryview) -> None:
        """See Sink."""
        frames = []
        for index, header in enumerate(headers):
            payload = data[index * PAYLOAD_MAX_BYTES : (index + 1) * PAYLOAD_MAX_BYTES]
            frames.append(write_interleaved(self._channels[0], b"".join((header, payload))))
        self._write(b"".join(frames))

    def send_control(self, packet: bytes) -> None:
        """See Sink."""
        if self._channels[0] != self._channels[1]:
            self._write(write_interleaved(self._channels[1], packet))


def _waiting(sock: socket.socket) -> list[bytes]:
    found = []
    with suppress(BlockingIOError):
        for _ in range(_DATAGRAMS_A_LOOK):
            with suppress(ConnectionRefusedError):
                found.append(sock.recv(DATAGRAM_MAX_BYTES))
    return found
