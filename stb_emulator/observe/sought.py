"""Playing an MP4 from its middle: which byte to ask for, and a file for the decoder that has its head and what came.

The index is read by FFmpeg out of the file's own head, as a browser does; no server is asked what it means.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import av

from stb_emulator.observe.pipe import BytePipe

HEAD_MAX_BYTES = 8 * 1024 * 1024
"""Largest head (up to the end of ``moov``) that a box keeps."""
LEAD_BYTES = 1024 * 1024
"""Kept of what lies behind it: FFmpeg looks at the first pictures before it seeks."""
WINDOW_BYTES = 1024 * 1024
"""How far back one may read again: sound and picture of one moment do not lie in order."""


@dataclass(frozen=True, slots=True)
class Middle:
    """A place in an MP4."""

    head: bytes
    at_byte: int
    """Where the samples of the place begin."""
    seconds: float
    grain_s: float
    """From the key picture before the place to the next one."""
    length: int


def head_of(data: bytes | bytearray) -> int | None:
    """Return where ``moov`` ends (ISO/IEC 14496-12 §4.2); None while it has not come, or lies behind the media."""
    at = 0
    while at + 16 <= len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8 or name == b"mdat":
            return None
        if name == b"moov":
            return at + size if at + size <= len(data) else None
        at += size
    return None


def middle(data: bytes, seconds: float, length: int) -> Middle:
    """Find the place of the key picture at or before ``seconds`` in a file that begins with ``data``.

    Raises:
        ValueError: the head is not there, or has no picture.
    """
    end = head_of(data)
    if end is None:
        raise ValueError("the index is not at the beginning of the file")
    head = data[: end + LEAD_BYTES]
    try:
        with av.open(io.BytesIO(head), "r", format="mp4") as container:
            if not container.streams.video:
                raise ValueError("no picture in the file")
            video = container.streams.video[0]
            assert video.time_base is not None
            stamps = [each.timestamp for each in video.index_entries if each.is_keyframe]
            wanted = round(seconds / video.time_base)
            before = [each for each in stamps if each <= wanted] or stamps[:1]
            if not before:
                raise ValueError("no key picture in the index")
            after = [each for each in stamps if each > before[-1]]
            key_s = float(before[-1] * video.time_base)
            places = []
            for stream in (*container.streams.video[:1], *container.streams.audio[:1]):
                assert stream.time_base is not None
                number = stream.index_entries.search_timestamp(round(key_s / stream.time_base))
                places.append(stream.index_entries[max(0, number - 1 if stream.type == "audio" else number)].pos)
            next_s = float(after[0] * video.time_base) if after else seconds
    except av.FFmpegError as error:
        raise ValueError(f"unreadable index: {error}") from error
    return Middle(head, min(places), seconds, max(0.0, next_s - key_s), length)


class SoughtFile:
    """The head, then a hole, then what the pipe brings from ``at_byte`` on. For PyAV, in the decoder's thread.

    What was asked for again is taken from the pipe, although the head may have it: it has to be right.
    """

    def __init__(self, place: Middle, pipe: BytePipe) -> None:
        """Read ``place.head`` again and the pipe once."""
        self._place, self._pipe = place, pipe
        self._at = 0
        self._window = bytearray()
        self._window_at = place.at_byte

    def seek(self, offset: int, whence: int = 0) -> int:
        """As a file's; reads nothing."""
        self._at = offset + (0, self._at, self._place.length)[whence]
        return self._at

    def tell(self) -> int:
        """As a file's."""
        return self._at

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes, blocking for at least one.

        Raises:
            ValueError: the bytes were never asked for.
        """
        head, at = self._place.head, self._at
        if at < min(len(head), self._place.at_byte):
            data = bytes(head[at : min(at + size, self._place.at_byte)])
        elif at < self._window_at:
            raise ValueError(f"byte {at} is needed, and the box asked for bytes from {self._place.at_byte} on")
        else:
            data = self._from_window(at, size)
        self._at += len(data)
        return data

    def _from_window(self, at: int, size: int) -> bytes:
        while at >= self._window_at + len(self._window):
            piece = self._pipe.read(size)
            if not piece:
                return b""
            self._window += piece
            spare = len(self._window) - WINDOW_BYTES
            if spare > 0:
                del self._window[:spare]
                self._window_at += spare
        begin = at - self._window_at
        return bytes(self._window[begin : begin + size])
