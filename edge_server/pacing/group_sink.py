"""A sink of a multicast group: what leaves is also remembered for those who come late, and protected by parity."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from edge_server.pacing.chunks import Source
from edge_server.pacing.framing import Frame
from edge_server.pacing.recent import Recent
from edge_server.pacing.repair import Repair
from edge_server.pacing.sink import UdpSink
from edge_server.pacing.stream import Stream
from edge_server.pacing.timeline import PAYLOAD_MAX_BYTES, TS_BYTES

_NULL = b"\x47\x1f\xff\x10".ljust(TS_BYTES, b"\xff")
"""ISO/IEC 13818-1 §2.4.1: may stand anywhere, says nothing."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What goes on beside one RTP stream as long as its numbers go on."""

    recent: Recent | None = None
    repair: Repair | None = None
    repair_socket: socket.socket | None = None


class GroupSink(UdpSink):
    """Sends as `UdpSink` does; what goes on beside outlives it, and so do its numbers."""

    def __init__(
        self,
        source: Source,
        stream: Stream,
        kind: Frame,
        preamble: Callable[[int], bytes],
        *,
        data: socket.socket,
        control: socket.socket | None,
        counters: Counter[str],
        beside: Beside,
    ) -> None:
        """Own both sockets, and use those of ``beside``."""
        super().__init__(source, stream, kind, preamble, lambda: None, data=data, control=control, counters=counters)
        self._beside, self._now = beside, 0.0
        self._full_bytes = kind.head_bytes + PAYLOAD_MAX_BYTES
        self._cuts = frozenset(stream.timeline.cuts) if beside.recent is not None else frozenset()

    def pump(self, now: float, unix_s: float) -> None:
        """See Sink."""
        self._now = now
        super().pump(now, unix_s)

    def send(self, run: memoryview, width_bytes: int, count: int) -> int:
        """See Sink. Packets that parity protects are all of one size: a mended one has no other."""
        if self._beside.repair is not None:
            run, width_bytes = _filled(run, width_bytes, self._full_bytes)
        taken = super().send(run, width_bytes, count)
        if self._beside.recent is not None:
            stream = self.stream
            key = not stream.index and stream.packets.starts[stream.block] in self._cuts
            self._beside.recent.note(run, width_bytes, self._now, key=key)
        self._protect(run, width_bytes)
        return taken

    def send_extra(self, packet: memoryview) -> None:
        """See Sink."""
        if self._beside.repair is not None:
            packet, _ = _filled(packet, len(packet), self._full_bytes)
        super().send_extra(packet)
        if self._beside.recent is not None:
            self._beside.recent.note(packet, len(packet), self._now, key=False)
        self._protect(packet, len(packet))

    def _protect(self, run: memoryview, width_bytes: int) -> None:
        repair, sock = self._beside.repair, self._beside.repair_socket
        if repair is None or sock is None:
            return
        for packet in repair.feed(run, width_bytes):
            self._counters["parity packets"] += 1
            try:
                sock.send(packet)
            except OSError:
                self._counters["parity packets not sent"] += 1


def _filled(run: memoryview, width_bytes: int, full_bytes: int) -> tuple[memoryview, int]:
    """Fill packets with null packets of the transport stream up to the full size."""
    if width_bytes == full_bytes and not len(run) % full_bytes:
        return run, width_bytes
    packets = (run[at : at + width_bytes] for at in range(0, len(run), width_bytes))
    filled = b"".join(bytes(each) + _NULL * ((full_bytes - len(each)) // TS_BYTES) for each in packets)
    return memoryview(filled), full_bytes
