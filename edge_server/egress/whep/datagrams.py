"""Sends packets to one address, runs of one size by one system call (UDP segmentation offload, Linux 4.18)."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

_UDP_SEGMENT = 103
"""linux/udp.h; Python has no name for it."""
RUN_MAX_BYTES, RUN_MAX_COUNT = 64_000, 60
"""Of one call: the kernel takes 65,507 bytes and 64 segments."""
SEND_BUFFER_BYTES = 1 << 20
_NO_SEGMENTATION = frozenset((errno.EINVAL, errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP))


def runs(packets: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Cut into runs of packets of one size, the last of each perhaps shorter."""
    start, count = 0, len(packets)
    while start < count:
        size = len(packets[start])
        most = min(count, start + min(RUN_MAX_COUNT, RUN_MAX_BYTES // size))
        end = start + 1
        while end < most and len(packets[end]) == size:
            end += 1
        if end < most and len(packets[end]) < size:
            end += 1
        yield packets[start:end]
        start = end


class Datagrams:
    """The way to one viewer. Never blocks: what the kernel has no room for is lost, and counted."""

    def __init__(self, descriptor: int, address: tuple[str, int]) -> None:
        """Use a socket that another owns, by a descriptor of our own."""
        self.dropped = 0
        """Packets that the kernel did not take."""
        self.calls = 0
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._address = address
        self._segments = True
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def send(self, packets: Sequence[bytes]) -> None:
        """Send; errors of the network count as losses."""
        for run in runs(packets):
            if len(run) == 1 or not self._segments:
                self._singly(run)
            else:
                self._together(run)

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()

    def _together(self, run: Sequence[bytes]) -> None:
        size = struct.pack("=H", len(run[0]))
        self.calls += 1
        try:
            self._socket.sendmsg(run, [(socket.IPPROTO_UDP, _UDP_SEGMENT, size)], 0, self._address)
        except OSError as error:
            if error.errno in _NO_SEGMENTATION:
                self._segments = False
                self._singly(run)
            else:
                self.dropped += len(run)

    def _singly(self, run: Sequence[bytes]) -> None:
        for packet in run:
            self.calls += 1
            try:
                self._socket.sendto(packet, self._address)
            except OSError:
                self.dropped += 1
