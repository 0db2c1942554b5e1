"""Reads the datagrams of all sessions."""

from __future__ import annotations

import ctypes
import socket
from pathlib import Path

import numpy as np

from benchmarks.rtp_load.ledger import RTP_BYTES, Ledger
from benchmarks.rtp_load.session import Session

SLOTS, SLOT_BYTES, A_CALL = 8192, 2048, 64
_CMSG_BYTES = 32
_MESSAGE = np.dtype(
    {
        "names": ["iov", "iovs", "control", "control_bytes", "length"],
        "formats": ["u8", "u8", "u8", "u8", "u4"],
        "offsets": [16, 24, 32, 40, 56],
        "itemsize": 64,
    }
)
"""struct mmsghdr, 64-bit."""


class UdpReader:
    """recvmmsg into one field of slots for all sessions; numbers are checked by the fieldful."""

    def __init__(self, ledger: Ledger, compared: set[int]) -> None:
        self.ledger, self.compared = ledger, compared
        self.slots = np.zeros((SLOTS, SLOT_BYTES), np.uint8)
        self.control = np.zeros((SLOTS, _CMSG_BYTES), np.uint8)
        vectors = np.zeros((2, SLOTS, 2), np.uint64)  # whole packets, and heads only
        vectors[:, :, 0] = self.slots.ctypes.data + np.arange(SLOTS, dtype=np.uint64) * SLOT_BYTES
        vectors[0, :, 1], vectors[1, :, 1] = SLOT_BYTES, 64
        self.vectors = vectors
        self.messages = np.zeros((2, SLOTS), _MESSAGE)
        self.messages["iovs"] = 1
        for kind in (0, 1):
            addresses = vectors[kind].ctypes.data + np.arange(SLOTS, dtype=np.uint64) * 16
            self.messages[kind]["iov"] = addresses
            self.messages[kind]["control"] = self.control.ctypes.data + np.arange(SLOTS, dtype=np.uint64) * _CMSG_BYTES
        self.messages["control_bytes"] = _CMSG_BYTES
        self.base = [int(self.messages[kind].ctypes.data) for kind in (0, 1)]
        self.call = ctypes.CDLL(None, use_errno=True).recvmmsg
        self.call.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
        self.used = self.closed = 0
        self.runs: list[tuple[int, int, int]] = []
        self.sockets: list[tuple[int, int, int]] = []

    def add(self, index: int, session: Session) -> None:
        assert session.data is not None
        self.sockets.append((index, session.data.fileno(), 0 if index in self.compared else 1))

    def cycle(self) -> None:
        """Read what waits on every socket."""
        self.drain()

    def drain(self) -> None:
        """Read what waits on every socket."""
        call, flags = self.call, socket.MSG_DONTWAIT | socket.MSG_TRUNC
        for index, number, kind in self.sockets:
            while True:
                if self.used + A_CALL > SLOTS:
                    self._enter()
                count = call(number, self.base[kind] + self.used * 64, A_CALL, flags, None)
                if count <= 0:
                    break
                self.runs.append((index, count, kind))
                self.used += count
                if count < A_CALL:
                    break
        self._enter()

    def _enter(self) -> None:
        if not self.used:
            return
        used, self.used = self.used, 0
        runs = np.array(self.runs, np.int64)
        self.runs.clear()
        who = np.repeat(runs[:, 0], runs[:, 1])
        kinds = np.repeat(runs[:, 2], runs[:, 1])
        lengths = np.where(kinds == 0, self.messages[0]["length"][:used], self.messages[1]["length"][:used])
        stamps = self.control[:used, 16:32].copy().view("<i8")
        arrivals = stamps[:, 0] + stamps[:, 1] / 1e9
        self.ledger.enter(who, self.slots[:used], lengths.astype(np.int64), arrivals)
        at = 0
        for index, count, kind in runs.tolist():
            if kind == 0:
                ends = lengths[at : at + count].tolist()
                self.ledger.compare(index, [self.slots[at + k, RTP_BYTES:end].tobytes() for k, end in enumerate(ends)])
            at += count
        self.messages["control_bytes"][:, :used] = _CMSG_BYTES


def dropped(ports: set[int]) -> int:
    """Count what the kernel dropped at our sockets (last column of /proc/net/udp)."""
    total = 0
    for name in ("/proc/net/udp", "/proc/net/udp6"):
        for line in Path(name).read_text().splitlines()[1:]:
            words = line.split()
            if int(words[1].rsplit(":", 1)[1], 16) in ports:
                total += int(words[-1])
    return total
