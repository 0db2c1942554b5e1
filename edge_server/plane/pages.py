"""Keeps slow disks away from the event loop: is this piece of a file in memory, and if not, who waits for it?"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from edge_server.plane.leases import PIECE_BITS, PIECE_BYTES, WARM_MAX_COUNT, WARM_S, OpenFile

PROBE_STEP_BYTES = 128 * 1024
"""One page in so many bytes is asked for: the kernel reads ahead by about so much (a probe takes 1 µs)."""
READ_BYTES = 256 * 1024
Done = Callable[[], None]


def in_memory(opened: OpenFile, piece: int) -> bool:
    """Tell whether a piece can be sent without waiting for the disk; False where the file system cannot tell."""
    end = min(opened.size_bytes, (piece + 1) << PIECE_BITS)
    one = [bytearray(1)]
    try:
        for at in range(piece << PIECE_BITS, end, PROBE_STEP_BYTES):
            os.preadv(opened.fd, one, at, os.RWF_NOWAIT)
        os.preadv(opened.fd, one, max(0, end - 1), os.RWF_NOWAIT)
    except OSError as error:
        # A disk that fails says so to who sends; only one that must be waited for is of interest here.
        return error.errno not in (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
    return True


def read_piece(opened: OpenFile, piece: int) -> None:
    """Bring a piece into memory; blocks for as long as the disk takes. Errors are left to who sends."""
    at, end = piece << PIECE_BITS, min(opened.size_bytes, (piece + 1) << PIECE_BITS)
    buffer = bytearray(min(READ_BYTES, max(1, end - at)))
    try:
        os.posix_fadvise(opened.fd, at, PIECE_BYTES, os.POSIX_FADV_WILLNEED)
        while at < end:
            count = os.preadv(opened.fd, [buffer], at)
            if not count:
                return
            at += count
    except OSError:
        return


class Pages:
    """Remembers what is in memory, and reads the rest in a few threads. Used from one thread, the event loop's."""

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        *,
        readers_max_count: int,
        in_memory: Callable[[OpenFile, int], bool] = in_memory,
        read_piece: Callable[[OpenFile, int], None] = read_piece,
    ) -> None:
        """``call_soon`` runs a function in the event loop's thread and may be called in any."""
        self._call_soon = call_soon
        self._in_memory, self._read_piece = in_memory, read_piece
        self._threads = ThreadPoolExecutor(readers_max_count, thread_name_prefix="read-ahead")
        self._waiting: dict[tuple[OpenFile, int], list[Done]] = {}

    def __len__(self) -> int:
        """Count the pieces that are being read."""
        return len(self._waiting)

    def ready(self, opened: OpenFile, offset_bytes: int, length_bytes: int, now_s: float) -> int:
        """Return the number of the first piece that must be waited for, -1 when there is none."""
        first, last = offset_bytes >> PIECE_BITS, (offset_bytes + length_bytes - 1) >> PIECE_BITS
        warm = opened.warm
        for piece in range(first, last + 1):
            if warm.get(piece, 0.0) <= now_s:
                if not self._in_memory(opened, piece):
                    return piece
                self._note(opened, piece, now_s)
        return -1

    def read(self, opened: OpenFile, piece: int, now_s: float, done: Done) -> None:
        """Read a piece and call ``done`` then; who asks for the same piece meanwhile waits for the same read."""
        waiting = self._waiting.get((opened, piece))
        if waiting is not None:
            waiting.append(done)
            return
        self._waiting[opened, piece] = [done]
        opened.users += 1

        def arrived() -> None:
            self._note(opened, piece, now_s)
            opened.release()
            for each in self._waiting.pop((opened, piece)):
                each()

        def work() -> None:
            self._read_piece(opened, piece)
            try:
                self._call_soon(arrived)
            except RuntimeError:  # the loop is closed: nobody waits any more
                opened.release()

        self._threads.submit(work).add_done_callback(lambda future: opened.release() if future.cancelled() else None)

    def close(self) -> None:
        """Take no more; what is being read ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _note(self, opened: OpenFile, piece: int, now_s: float) -> None:
        if len(opened.warm) >= WARM_MAX_COUNT:
            opened.warm.clear()
        opened.warm[piece] = now_s + WARM_S
