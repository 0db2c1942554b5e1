"""Ready packets in memory: read, framed and kept by the chunk, for all who play the same file at about the same place.

The disk is never read on the event loop: a chunk is made by other hands (a thread), the next one before it is needed.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from edge_server.pacing.framing import Frame, frame
from edge_server.pacing.timeline import Numbers, Packets
from wire.rtp import CLOCK_HZ

CHUNKS_MAX_BYTES = 128 * 1024 * 1024
"""Default bound of what is kept. Beside it each flow holds the one chunk that it is sending."""
LOADS_MAX_COUNT = 2
"""Chunks read from the disk at the same time."""

Hands = Callable[[Callable[[], memoryview], Callable[["memoryview | OSError"], None]], None]
"""Does the first thing off the event loop, then calls the second on it with what came of it."""
_Key = tuple[Path, int, Frame]


class Reader(Protocol):
    """Where the bytes of a source come from; read in a thread."""

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Return bytes of one block, fewer at the end.

        Raises:
            OSError: they cannot be read.
        """

    def close(self) -> None:
        """Give it back."""


class _File:
    """One file, open as long as somebody plays it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        return os.pread(self._descriptor, length_bytes, offset_bytes)

    def close(self) -> None:
        os.close(self._descriptor)


class Chunks:
    """The chunks of all files, the least recently used leaving first."""

    def __init__(self, hands: Hands, secret: bytes, *, max_bytes: int = CHUNKS_MAX_BYTES) -> None:
        """Begin empty; ``secret`` makes RTP numbers that cannot be guessed from outside (RFC 3550 §5.1)."""
        self._hands, self._secret, self._max_bytes = hands, secret, max_bytes
        self._kept: OrderedDict[_Key, memoryview] = OrderedDict()
        self._kept_bytes = 0
        self._loading: set[_Key] = set()
        self._failed: dict[_Key, OSError] = {}
        self._sources: dict[Path, Source] = {}

    @property
    def kept_bytes(self) -> int:
        """Bytes kept now."""
        return self._kept_bytes

    @property
    def hands(self) -> Hands:
        """Who reads the disk, for those who make packets of their own."""
        return self._hands

    def numbers(self, path: Path) -> Numbers:
        """Return the RTP numbers of a file: the same as long as the process lives."""
        drawn = hashlib.blake2b(os.fsencode(path), key=self._secret, digest_size=10).digest()
        whole = int.from_bytes(drawn, "big")
        return Numbers(whole & 0xFFFFFFFF, whole >> 32 & 0xFFFF, whole >> 48)

    def open(self, path: Path, packets: Packets, reader: Callable[[], Reader] | None = None) -> Source:
        """Open a file (lease), or share the one that is open; close each once.

        Without a ``reader`` it is the file of that path.

        Raises:
            OSError: it cannot be opened.
        """
        source = self._sources.get(path)
        if source is None:
            source = self._sources[path] = Source(self, path, _File(path) if reader is None else reader(), packets)
        source.users += 1
        return source

    def get(self, source: Source, block: int, kind: Frame) -> memoryview | None:
        """Return the packets of one block; None when they are not here yet (they are being read).

        Raises:
            OSError: the file cannot be read.
        """
        key = (source.path, block, kind)
        found = self._kept.get(key)
        if found is None:
            if key not in self._failed:
                self._load(source, key)
            if key in self._failed:
                raise self._failed.pop(key)
            found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def want(self, source: Source, block: int, kind: Frame) -> None:
        """Say that these packets will be needed soon."""
        key = (source.path, block, kind)
        if block < len(source.packets.strides) and key not in self._kept and key not in self._failed:
            self._load(source, key)

    def _load(self, source: Source, key: _Key) -> None:
        if key in self._loading:
            return
        self._loading.add(key)
        source.users += 1
        _, block, kind = key

        def done(found: memoryview | OSError) -> None:
            self._loading.discard(key)
            if isinstance(found, OSError):
                self._failed[key] = found
            else:
                self._keep(key, found)
            self.release(source)

        self._hands(lambda: source.read(block, kind), done)

    def _keep(self, key: _Key, found: memoryview) -> None:
        self._kept[key] = found
        self._kept_bytes += len(found)
        while self._kept_bytes > self._max_bytes and len(self._kept) > 1:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    def release(self, source: Source) -> None:
        """Take one user from an open file; the last one closes it."""
        source.users -= 1
        if not source.users:
            source.reader.close()
            del self._sources[source.path]
            for key in [key for key in self._failed if key[0] == source.path]:
                del self._failed[key]


class Source:
    """One open file."""

    def __init__(self, chunks: Chunks, path: Path, reader: Reader, packets: Packets) -> None:
        """Made by ``Chunks.open``."""
        self.path, self.reader, self.packets = path, reader, packets
        self.users = 0
        self._chunks = chunks
        self._numbers = chunks.numbers(path)

    def chunk(self, block: int, kind: Frame) -> memoryview | None:
        """See ``Chunks.get``; the following block is made ready meanwhile."""
        found = self._chunks.get(self, block, kind)
        if found is not None:
            self._chunks.want(self, block + 1, kind)
        return found

    def read(self, block: int, kind: Frame) -> memoryview:
        """Read and frame one block; runs in a thread.

        Raises:
            OSError: the file cannot be read, or is shorter than its index says.
        """
        packets = self.packets
        start, stop, stride = packets.starts[block], packets.starts[block + 1], packets.strides[block]
        data = self.reader.read(start, stop - start)
        if len(data) != stop - start:
            raise OSError(f"{self.path.name} has become shorter: {len(data)} of {stop - start} bytes at {start}")
        times = packets.timeline.times_at(np.arange(start, stop, stride))
        stamps = self._numbers.timestamp + np.rint(times * CLOCK_HZ).astype(np.int64)
        sequence = self._numbers.sequence + packets.firsts[block]
        return frame(memoryview(data), stride, kind, sequence=sequence, stamps=stamps, ssrc=self._numbers.ssrc)

    def close(self) -> None:
        """Give the file back."""
        self._chunks.release(self)
