"""Reads the frames in the RTSP connections of all sessions."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable

import numpy as np

from benchmarks.rtp_load.ledger import Ledger
from benchmarks.rtp_load.session import TCP_QUEUE_BYTES, Session

_FRAME = struct.Struct(">BBH")


class TcpReader:
    """Frames out of the RTSP connections; runs of equal frames are checked at once."""

    def __init__(self, ledger: Ledger, compared: set[int]) -> None:
        self.ledger, self.compared = ledger, compared
        self.buffer = bytearray(2 * TCP_QUEUE_BYTES)
        self.view = memoryview(self.buffer)
        self.array = np.frombuffer(self.buffer, np.uint8)
        self.sessions: list[tuple[int, Session]] = []
        self.closed = 0

    def add(self, index: int, session: Session) -> None:
        session.left = bytearray(session.rest)
        session.rtsp.setblocking(False)
        self.sessions.append((index, session))

    def drain(self, only: Callable[[int], bool] = lambda index: True) -> None:
        """Read what waits on every connection, or on some."""
        for index, session in tuple(self.sessions):
            if only(index):
                self._read(index, session)

    def _read(self, index: int, session: Session) -> None:
        left = session.left
        have = len(left)
        self.buffer[:have] = left
        try:
            count = session.rtsp.recv_into(self.view[have:])
        except BlockingIOError:
            return
        except OSError:
            count = 0
        now = time.monotonic()
        if not count:
            self.sessions.remove((index, session))
            self.closed += 1
            return
        end, at = have + count, 0
        while at + 4 <= end:
            if self.buffer[at] != 0x24:
                stop = self.buffer.find(b"\r\n\r\n", at, end)
                if stop < 0:
                    break
                size = re.search(rb"(?i)content-length: *(\d+)", self.view[at:stop])
                at = stop + 4 + (int(size[1]) if size else 0)
                continue
            _, channel, length = _FRAME.unpack_from(self.buffer, at)
            if at + 4 + length > end:
                break
            width, count = 4 + length, 1
            if channel == 0:
                most = (end - at) // width
                rows = self.array[at : at + most * width].reshape(most, width)
                same = (rows[:, 0] == 0x24) & (rows[:, 1] == 0) & (rows[:, 2] == length >> 8)
                same &= rows[:, 3] == length & 0xFF
                count = most if same.all() else int(np.argmin(same))
                rows = rows[:count, 4:]
                who = np.full(count, index)
                self.ledger.enter(who, rows, np.full(count, length), np.full(count, now))
                if self.ledger.whole is not None and index in self.compared:
                    self.ledger.compared += count
                    same_bytes = self.ledger.whole.same(index, rows[:, 12:].tobytes())
                    self.ledger.differing += 0 if same_bytes else count
            at += width * count
        session.left = bytearray(self.view[at:end]) if at < end else bytearray()
