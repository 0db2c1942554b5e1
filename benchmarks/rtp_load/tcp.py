"""Reads the frames in the RTSP connections of all sessions: much at once, and looked at for all of them together."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable

import numpy as np

from benchmarks.rtp_load.frames import frames
from benchmarks.rtp_load.ledger import HEAD_BYTES, Ledger
from benchmarks.rtp_load.session import SO_TIMESTAMPNS, Session

BATCH_BYTES, READ_MAX_BYTES = 4 << 20, 256 << 10
"""What is looked at together (no more than the processor's cache holds), and what is read of one session at a time."""
UNFINISHED_MAX_BYTES = 70_000
"""What a session may hold that is no whole frame: one frame has 65,539 bytes."""
SHARES = 5
"""Sessions that are not timed are read at one cycle in so many; their packets wait in their queues."""
_TIME = struct.Struct("@qq")
_TIME_SPACE_BYTES = socket.CMSG_SPACE(_TIME.size)


class Connection:
    """A session's socket, and the part of a frame that has come."""

    __slots__ = ("index", "left", "socket", "timed")

    def __init__(self, index: int, session: Session, timed: bool) -> None:
        self.index, self.socket, self.left, self.timed = index, session.rtsp, session.rest, timed
        self.socket.setblocking(False)
        if timed:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


class TcpReader:
    """The RTSP connections of all sessions.

    Of the sessions that are timed, arrival is when the last byte that was read came in (the kernel's own time): what
    came in parts counts as late as its last part.
    """

    def __init__(self, ledger: Ledger, compared: set[int]) -> None:
        self.ledger, self.compared = ledger, compared
        self.buffer = bytearray(BATCH_BYTES)
        self.view = memoryview(self.buffer)
        self.array = np.frombuffer(self.buffer, np.uint8)
        self.heads = np.ndarray((BATCH_BYTES - HEAD_BYTES + 1,), f"V{HEAD_BYTES}", self.buffer, strides=(1,))
        """The bytes that begin at each place."""
        self.timed: list[Connection] = []
        self.others: list[Connection] = []
        self.runs: list[tuple[Connection, int, int, float]] = []
        self.used = 0
        self.cycles = 0
        self.closed = 0

    def add(self, index: int, session: Session) -> None:
        connection = Connection(index, session, bool(self.ledger.timed[index]))
        (self.timed if connection.timed else self.others).append(connection)

    def drain(self) -> None:
        """Read what waits on every connection."""
        self._drain([*self.timed, *self.others])

    def cycle(self) -> None:
        """Read what waits on those that are timed, and on a share of the others."""
        self.cycles += 1
        self._drain([*self.timed, *self.others[self.cycles % SHARES :: SHARES]])

    def _drain(self, connections: Iterable[Connection]) -> None:
        for each in connections:
            if self.used + UNFINISHED_MAX_BYTES + READ_MAX_BYTES > BATCH_BYTES - HEAD_BYTES:
                self._enter()
            self._read(each)
        self._enter()

    def _read(self, connection: Connection) -> None:
        begin = self.used
        at = begin + len(connection.left)
        space, now = self.view[at : at + READ_MAX_BYTES], 0.0
        try:
            if connection.timed:
                count, notes, _, _ = connection.socket.recvmsg_into((space,), _TIME_SPACE_BYTES)
                now = time.time()
                for _, kind, text in notes:
                    if kind == SO_TIMESTAMPNS:
                        seconds, nanoseconds = _TIME.unpack(text)
                        now = seconds + nanoseconds / 1e9
            else:
                count = connection.socket.recv_into(space)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self._close(connection)
            return
        self.view[begin:at] = connection.left
        self.used = at + count
        self.runs.append((connection, begin, self.used, now))

    def _close(self, connection: Connection) -> None:
        (self.timed if connection.timed else self.others).remove(connection)
        self.closed += 1

    def _enter(self) -> None:
        if not self.runs:
            return
        runs, self.runs, self.used = self.runs, [], 0
        connections, begins, ends, times = zip(*runs, strict=True)
        found = frames(self.array, np.array(begins), np.array(ends))
        for connection, rest, end in zip(connections, found.rest.tolist(), ends, strict=True):
            connection.left = bytes(self.view[rest:end])
            if len(connection.left) > UNFINISHED_MAX_BYTES:
                self._close(connection)
        media = found.channel == 0
        run, at, lengths = found.run[media], found.at[media], found.length[media]
        if not len(run):
            return
        rows = self.heads[at].view(np.uint8).reshape(-1, HEAD_BYTES)
        who = np.array([each.index for each in connections])
        self.ledger.enter(who[run], rows, lengths, np.array(times)[run])
        if self.ledger.whole is None or self.compared.isdisjoint(who.tolist()):
            return
        for number in np.flatnonzero(np.isin(who, list(self.compared))).tolist():
            first, after = np.searchsorted(run, (number, number + 1)).tolist()
            places = zip(at[first:after].tolist(), lengths[first:after].tolist(), strict=True)
            self.ledger.compare(int(who[number]), [self.view[a + 12 : a + length] for a, length in places])
