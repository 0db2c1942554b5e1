"""Makes and finds the derived files of one rendition: a transport stream, a fragmented MP4 and their indexes.

Derived files are a cache keyed by (hash of the MP4, PACKAGER_VERSION); they are not signed and may be deleted at any
time (docs/adr/0001).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from media import DamagedIndex, MediaError
from media.fmp4 import Fmp4Index, fragment
from media.ts_index import TsIndex
from media.ts_mux import mux_ts

PACKAGER_VERSION = 1
"""Raised whenever the bytes or indexes that packaging makes change."""

_TS, _TS_INDEX, _FMP4, _FMP4_INDEX = "media.ts", "ts.index", "media.m4s", "fmp4.index"


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
    fmp4: Path
    fmp4_index: Fmp4Index


def folder_of(sha256: str, derived_root: Path) -> Path:
    """Where the derived files of one object lie."""
    return derived_root / sha256[:2] / sha256 / f"v{PACKAGER_VERSION}"


def is_packaged(sha256: str, derived_root: Path) -> bool:
    """Tell whether all four derived files are there, without reading them."""
    folder = folder_of(sha256, derived_root)
    return all((folder / name).is_file() for name in (_TS, _TS_INDEX, _FMP4, _FMP4_INDEX))


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
        fragment(mp4, draft / _FMP4).save(draft / _FMP4_INDEX)
    except MediaError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise PackagingFailed(f"object {sha256[:12]}…: {error}") from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    for name in (_TS, _TS_INDEX, _FMP4, _FMP4_INDEX):
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
        lengths = (folder / _TS).stat().st_size, (folder / _FMP4).stat().st_size
    except (DamagedIndex, OSError) as error:
        raise NotPackaged(f"object {sha256[:12]}…: {error}") from error
    if lengths != (ts_index.length_bytes, fmp4_index.length_bytes):
        raise NotPackaged(f"object {sha256[:12]}…: derived files of other lengths than their indexes say")
    return Packaged(mp4, folder / _TS, ts_index, folder / _FMP4, fmp4_index)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
