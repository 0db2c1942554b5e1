"""zstd with bounds: what comes out is never longer than announced, whatever comes in (``docs/formats/sync.md`` §6).

A frame must say how long its content is. The decoder then never takes more memory than that, and a frame that says
something else than its surroundings is refused before anything is unpacked.
"""

from __future__ import annotations

from backports.zstd import (
    CompressionParameter,
    DecompressionParameter,
    ZstdCompressor,
    ZstdDecompressor,
    ZstdDict,
    ZstdError,
    get_frame_info,
)

from sync import Corrupt, TooLong

WINDOW_LOG_MAX = 27
"""How far back a frame may refer: 2^27 bytes, over the base and what was unpacked."""
LEVEL = 19

_WINDOW_LOG_MIN = 10
_BASE_MIN_BYTES = 8
"""zstd takes no shorter dictionary; a shorter base is not used, on neither side."""
_MAGIC = b"\x28\xb5\x2f\xfd"
_HEAD_BYTES = len(_MAGIC) + 2
_SINGLE_SEGMENT = 0x20


def squeeze(raw: bytes | memoryview, *, level: int = LEVEL) -> bytes:
    """Return the bytes as one zstd frame that says its length; the same for the same input and zstd."""
    return _compress(raw, b"", level)


def expand(stored: bytes | memoryview, raw_length: int, *, most: int) -> bytes:
    """Return what is in a frame that comes from anybody.

    Args:
        stored: the whole frame and nothing else.
        raw_length: announced length of the content in bytes.
        most: how long a content may be here, in bytes.

    Raises:
        TooLong: raw_length is above most, or the frame says or holds more than raw_length.
        Corrupt: not exactly one whole frame of that content length.
    """
    return _decompress(stored, b"", raw_length, most)


def patch(raw: bytes | memoryview, base: bytes | memoryview, *, level: int = LEVEL) -> bytes:
    """Return the bytes as one zstd frame with ``base`` as prefix; short when the two are alike."""
    return _compress(raw, base, level)


def apply_patch(stored: bytes | memoryview, base: bytes | memoryview, raw_length: int, *, most: int) -> bytes:
    """Return what is in a frame from anybody that was made by :func:`patch` with the same base.

    A wrong base may give wrong bytes instead of an error: compare the hash.

    Raises:
        TooLong: raw_length is above most, or the frame says or holds more than raw_length.
        Corrupt: not exactly one whole frame of that content length, or it does not fit the base.
    """
    return _decompress(stored, base, raw_length, most)


def _compress(raw: bytes | memoryview, base: bytes | memoryview, level: int) -> bytes:
    options: dict[int, int] = {CompressionParameter.compression_level: level}
    prefix = None
    if len(base) >= _BASE_MIN_BYTES:
        # The window covers both; without long-distance matching far references into the base are not found.
        reach = (len(base) + len(raw)).bit_length()
        options[CompressionParameter.window_log] = min(max(reach, _WINDOW_LOG_MIN), WINDOW_LOG_MAX)
        options[CompressionParameter.enable_long_distance_matching] = 1
        prefix = ZstdDict(base, is_raw=True).as_prefix
    return ZstdCompressor(options=options, zstd_dict=prefix).compress(raw, ZstdCompressor.FLUSH_FRAME)


def _decompress(stored: bytes | memoryview, base: bytes | memoryview, raw_length: int, most: int) -> bytes:
    if not 0 <= raw_length <= most:
        raise TooLong(f"{raw_length:,} bytes announced; at most {most:,}")
    prefix = ZstdDict(base, is_raw=True).as_prefix if len(base) >= _BASE_MIN_BYTES else None
    try:
        if bytes(stored[: len(_MAGIC)]) != _MAGIC:
            raise Corrupt("not a zstd frame")
        said = get_frame_info(stored).decompressed_size
        if said is not None and said > raw_length:
            raise TooLong(f"a zstd frame holds {said:,} bytes; announced are {raw_length:,}")
        if said != raw_length:
            raise Corrupt(f"a zstd frame says {said} bytes; announced are {raw_length:,}")
        if _window_bytes(bytes(stored[:_HEAD_BYTES])) > 1 << WINDOW_LOG_MAX:
            raise Corrupt(f"a zstd frame with a window of more than 2^{WINDOW_LOG_MAX} bytes")
        decoder = ZstdDecompressor(zstd_dict=prefix, options={DecompressionParameter.window_log_max: WINDOW_LOG_MAX})
        raw = decoder.decompress(stored, raw_length + 1)
    except ZstdError as error:
        raise Corrupt(f"a damaged zstd frame: {error}") from error
    if len(raw) > raw_length:
        raise TooLong(f"a zstd frame holds more than the announced {raw_length:,} bytes")
    if not decoder.eof or decoder.unused_data or len(raw) != raw_length:
        raise Corrupt("not exactly one whole zstd frame")
    return raw


def _window_bytes(head: bytes) -> int:
    """Return the window that a frame asks for (RFC 8878 §3.1.1.1), or 0 when it is as long as the content.

    zstd does not look at it when the whole content fits into what it was given; another reader may have to.
    """
    descriptor, window = head[-2:]
    if descriptor & _SINGLE_SEGMENT:
        return 0
    base = 1 << (10 + (window >> 3))
    return base + base // 8 * (window & 7)
