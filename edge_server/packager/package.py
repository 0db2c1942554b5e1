"""Makes and finds the derived files of one rendition: a transport stream, and indexes of it and of the MP4.

Fragmented MP4 is no file: its segments are heads that were made here, in front of ranges of the MP4 itself. Derived
files are a cache keyed by (hash of the MP4, PACKAGER_VERSION); they are not signed and may be deleted at any time
(docs/adr/0010).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from media import DamagedIndex, MediaError
from media.mp4 import Mp4Index, read_mp4, save
from media.mp4 import load as load_mp4
from media.mp4.fmp4 import Fmp4Index
from media.mp4.segmenting import mapped, segment_mp4
from media.ts_index import TsIndex
from media.ts_mux import mux_ts

PACKAGER_VERSION = 4
"""Raised whenever the bytes or indexes that packaging makes change."""

_TS, _TS_INDEX = "media.ts", "ts.index"
_HEADS, _FMP4_INDEX, _MP4_INDEX = "fmp4.heads", "fmp4.index", "mp4.index"
_ALL = (_TS, _TS_INDEX, _HEADS, _FMP4_INDEX, _MP4_INDEX)


HELD_BYTES = 4096
TS_HELD_PER_BYTE = 3
"""Memory for one byte of a stored index: small objects take more than their bytes."""


class NotPackaged(LookupError):
    """The rendition has no derived files; the next sync makes them."""


class PackagingFailed(MediaError):
    """A rendition that arrived cannot be packaged; the message names the object."""


@dataclass(frozen=True, slots=True)
class Packaged:
    """One rendition ready to be played in every container."""

    mp4: Path
    ts: Path
    ts_index: TsIndex
    heads: Path
    """What stands in front of the MP4's own bytes in segments of fragmented MP4."""
    fmp4_index: Fmp4Index
    held_bytes: int
    """About what this takes in memory."""

    def samples(self) -> Mp4Index:
        """Read where the samples of the MP4 lie; from the MP4 again when the index file is gone or damaged.

        Raises:
            MediaError: the MP4 is not what it was.
            OSError: it cannot be read.
        """
        try:
            return load_mp4(self.heads.with_name(_MP4_INDEX))
        except (DamagedIndex, OSError):
            return read_mp4(mapped(self.mp4))


def folder_of(sha256: str, derived_root: Path) -> Path:
    """Where the derived files of one object lie."""
    return derived_root / sha256[:2] / sha256 / f"v{PACKAGER_VERSION}"


def is_packaged(sha256: str, derived_root: Path) -> bool:
    """Tell whether all derived files are there, without reading them."""
    folder = folder_of(sha256, derived_root)
    return all((folder / name).is_file() for name in _ALL)


def package(mp4: Path, sha256: str, derived_root: Path) -> Packaged:
    """Make the derived files unless they are there already; a crash leaves all or nothing.

    Raises:
        PackagingFailed: the MP4 cannot be muxed.
        OSError: the disk is full or broken.
    """
    try:
        return load(mp4, sha256, derived_root)
    except NotPackaged:
        pass
    folder = folder_of(sha256, derived_root)
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        mux_ts(mp4, draft / _TS).save(draft / _TS_INDEX)
        fmp4_index, mp4_index = segment_mp4(mp4, draft / _HEADS)
        fmp4_index.save(draft / _FMP4_INDEX)
        save(mp4_index, draft / _MP4_INDEX)
    except MediaError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise PackagingFailed(f"object {sha256[:12]}…: {error}") from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    for name in _ALL:
        _fsync(draft / name)
    _fsync(draft)
    shutil.rmtree(folder, ignore_errors=True)  # only ever a damaged one: load() did not accept it
    draft.rename(folder)
    for parent in (folder.parent, folder.parent.parent, derived_root):  # the folders above may be new as well
        _fsync(parent)
    for other in folder.parent.iterdir():  # made by another version of the packager, which is not coming back
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    return load(mp4, sha256, derived_root)


def load(mp4: Path, sha256: str, derived_root: Path) -> Packaged:
    """Find the derived files.

    Raises:
        NotPackaged: they are missing, damaged, or of another length than their index says.
    """
    folder = folder_of(sha256, derived_root)
    try:
        ts_index, fmp4_index = TsIndex.load(folder / _TS_INDEX), Fmp4Index.load(folder / _FMP4_INDEX)
        lengths = tuple(path.stat().st_size for path in (folder / _TS, folder / _HEADS, mp4))
        held = TS_HELD_PER_BYTE * (folder / _TS_INDEX).stat().st_size + 2 * (folder / _FMP4_INDEX).stat().st_size
        (folder / _MP4_INDEX).stat()
    except (DamagedIndex, OSError) as error:
        raise NotPackaged(f"object {sha256[:12]}…: {error}") from error
    if lengths != (ts_index.length_bytes, fmp4_index.heads_bytes, fmp4_index.mp4_bytes):
        raise NotPackaged(f"object {sha256[:12]}…: files of other lengths than their indexes say")
    return Packaged(mp4, folder / _TS, ts_index, folder / _HEADS, fmp4_index, HELD_BYTES + held)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
