"""The index file of an MP4: everything `read_mp4` found, small. Disposable: made again from the MP4 at any time."""

from __future__ import annotations

import zlib
from dataclasses import fields
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from media import DamagedIndex
from media.index_file import read_index
from media.mp4.model import Mp4Index, Mp4Track
from media.payload.samples import SAMPLES_MAX
from media.payload.tracks import TRACKS_MAX

FORMAT: Final = "rural-media-edge/mp4-index"
VERSION: Final = 1
INDEX_MAX_BYTES: Final = 256 * 1024 * 1024
_ARRAYS: Final = ("offsets", "sizes", "dts", "durations", "composition", "sync")
_WIDTHS: Final = ("<i1", "<i2", "<i4", "<i8")


class _Array(msgspec.Struct, frozen=True, array_like=True):
    """Numbers as runs: of equal values, or of equal steps when ``steps``; both lists in the narrowest type."""

    count: int
    steps: bool
    first: int
    repeats: bytes
    repeats_width: int
    values: bytes
    values_width: int


class _Track(msgspec.Struct, frozen=True):
    texts: dict[str, str]
    numbers: dict[str, int]
    records: dict[str, bytes]
    arrays: dict[str, _Array]
    chunks: _Array
    """How many samples lie back to back, run by run; ``arrays["offsets"]`` says where each run begins."""


class _Body(msgspec.Struct, frozen=True):
    file_bytes: int
    duration_s: float
    tracks: tuple[_Track, ...]


class _File(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    version: int
    crc32: int
    body: bytes


def save(index: Mp4Index, path: Path) -> None:
    """Write an index file; making it appear at once is the caller's business."""
    tracks = tuple(_pack_track(each) for each in index.tracks)
    body = msgspec.msgpack.encode(_Body(index.file_bytes, index.duration_s, tracks))
    path.write_bytes(msgspec.msgpack.encode(_File(format=FORMAT, version=VERSION, crc32=zlib.crc32(body), body=body)))


def load(path: Path) -> Mp4Index:
    """Read an index file.

    Raises:
        DamagedIndex: the file is no index, cut, changed, or of another version.
        OSError: the file cannot be read at all.
    """
    file = read_index(path, _File, form=FORMAT, version=VERSION, max_bytes=INDEX_MAX_BYTES)
    if zlib.crc32(file.body) != file.crc32:
        raise DamagedIndex(f"{path.name}: changed since it was written; make it again")
    try:
        found = msgspec.msgpack.decode(file.body, type=_Body)
        if len(found.tracks) > TRACKS_MAX:
            raise ValueError("too many tracks")
        tracks = tuple(_unpack_track(each, found.file_bytes) for each in found.tracks)
        return Mp4Index(tracks, found.file_bytes, found.duration_s)
    except (msgspec.DecodeError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise DamagedIndex(f"{path.name}: not an index of an MP4 ({error}); make it again") from error


def _pack_track(track: Mp4Track) -> _Track:
    texts: dict[str, str] = {}
    numbers: dict[str, int] = {}
    records: dict[str, bytes] = {}
    for name in _plain():
        value = getattr(track, name)
        if isinstance(value, str):
            texts[name] = value
        elif isinstance(value, bytes):
            records[name] = value
        else:
            numbers[name] = value
    apart = np.flatnonzero(track.offsets[1:] != track.offsets[:-1] + track.sizes[:-1]) + 1
    heads = np.concatenate([[0], apart]) if len(track.offsets) else np.empty(0, np.int64)
    arrays = {name: _pack(getattr(track, name).astype(np.int64)) for name in _ARRAYS[1:]}
    arrays["offsets"] = _pack(track.offsets[heads])
    return _Track(texts, numbers, records, arrays, _pack(np.diff(np.append(heads, len(track.offsets)))))


def _unpack_track(track: _Track, file_bytes: int) -> Mp4Track:
    arrays = {name: _unpack(track.arrays[name]) for name in _ARRAYS}
    chunks, sizes = _unpack(track.chunks), arrays["sizes"]
    count = len(sizes)
    if (chunks < 1).any() or chunks.sum() != count or len(chunks) != len(arrays["offsets"]):
        raise ValueError("chunks do not hold the samples")
    before = np.cumsum(sizes) - sizes
    heads = np.cumsum(chunks) - chunks
    arrays["offsets"] = before + np.repeat(arrays["offsets"] - before[heads], chunks)
    if any(len(each) != count for each in arrays.values()):
        raise ValueError("arrays of different lengths")
    ends = arrays["offsets"] + sizes
    if count and (int(arrays["offsets"].min()) < 0 or int(sizes.min()) < 0 or int(ends.max()) > file_bytes):
        raise ValueError("samples outside of the file")
    if track.numbers["timescale"] < 1:
        raise ValueError("no time scale")
    if {*track.texts, *track.numbers, *track.records} != set(_plain()):
        raise ValueError("fields that do not belong here")
    made: dict[str, NDArray[np.int64] | NDArray[np.bool_]] = {**arrays, "sync": arrays["sync"] != 0}
    return Mp4Track(**track.texts, **track.numbers, **track.records, **made)  # type: ignore[arg-type]


def _plain() -> list[str]:
    return [each.name for each in fields(Mp4Track) if each.name not in _ARRAYS]


def _pack(numbers: NDArray[np.int64]) -> _Array:
    """Pack numbers by value or by step, whichever has fewer runs."""
    by_value = np.count_nonzero(np.diff(numbers))
    steps = np.diff(numbers, prepend=numbers[:1])
    stepped = bool(np.count_nonzero(np.diff(steps)) < by_value)
    first = int(numbers[0]) if len(numbers) else 0
    row = steps if stepped else numbers
    edges = np.concatenate([[0], np.flatnonzero(np.diff(row)) + 1]) if len(row) else np.empty(0, np.int64)
    repeats = np.diff(np.append(edges, len(row)))
    return _Array(len(numbers), stepped, first, *_narrow(repeats), *_narrow(row[edges]))


def _narrow(numbers: NDArray[np.int64]) -> tuple[bytes, int]:
    low, high = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)
    width = next(w for w in range(4) if -(1 << 8 * (1 << w) - 1) <= low and high < 1 << 8 * (1 << w) - 1)
    return numbers.astype(_WIDTHS[width]).tobytes(), width


def _unpack(packed: _Array) -> NDArray[np.int64]:
    if not 0 <= packed.count <= SAMPLES_MAX:
        raise ValueError("too many samples")
    repeats = _wide(packed.repeats, packed.repeats_width)
    values = _wide(packed.values, packed.values_width)
    if (repeats < 1).any() or repeats.max(initial=0) > SAMPLES_MAX or int(repeats.sum()) != packed.count:
        raise ValueError("runs do not fill the array")
    row = np.repeat(values, repeats)
    return np.cumsum(row) + packed.first if packed.steps else row


def _wide(data: bytes, width: int) -> NDArray[np.int64]:
    if not 0 <= width < len(_WIDTHS):
        raise ValueError("no such width")
    return np.frombuffer(data, _WIDTHS[width]).astype(np.int64)
