"""The floor: what no method can save, counted without recipes or packs.

New payload (each coded picture and each sound frame of the new tree whose bytes are nowhere in the old tree, once),
plus for every other changed file the smaller of zstd -19 of the file and of its patch from the old file of that name.
New boxes and tables count nothing, nor does anything that says what belongs where: no method reaches the floor quite.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from backports import zstd

from benchmarks.sync.corpus import tree
from media.payload import read_payload

WINDOW_LOG = 27


@dataclass(frozen=True)
class Floor:
    """Bytes nobody has at the edge."""

    payload: int
    patches: int
    files: int
    """Length of all films that are new or changed and of all other files under new names, plus the patches of the rest:
    what a method without any idea of films sends."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.payload + self.patches


def pictures_and_sounds(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Hash and length of the payload of every sample."""
    for track in read_payload(memoryview(data)).tracks:
        bounds = np.flatnonzero(np.diff(track.samples, prepend=-1, append=-2)).tolist()
        starts, lengths = track.starts.tolist(), track.lengths.tolist()
        for first, stop in itertools.pairwise(bounds):
            digest = hashlib.blake2b(digest_size=16)
            for i in range(first, stop):
                digest.update(memoryview(data)[starts[i] : starts[i] + lengths[i]])
            yield digest.digest(), sum(lengths[first:stop])


def patch_bytes(new: bytes, old: bytes) -> int:
    """Length of the smallest patch that we know how to make."""
    plain: dict[int, int] = {
        zstd.CompressionParameter.compression_level: 19,
        zstd.CompressionParameter.window_log: WINDOW_LOG,
    }
    options = {**plain, zstd.CompressionParameter.enable_long_distance_matching: 1}
    best = len(zstd.compress(new, options=plain))
    if old:
        best = min(best, len(zstd.compress(new, options=options, zstd_dict=zstd.ZstdDict(old, is_raw=True).as_prefix)))
    return min(best, len(new))


def floor(old: Path, new: Path) -> Floor:
    """Measure the floor of an update."""
    have: set[bytes] = set()
    before = tree(old)
    inodes = {path.stat().st_ino for path in before.values()}
    wanted = {name: path for name, path in tree(new).items() if path.stat().st_ino not in inodes}
    for path in before.values() if wanted else ():
        if path.suffix == ".mp4":
            have.update(digest for digest, _ in pictures_and_sounds(path.read_bytes()))
    payload = patches = files = 0
    for name, path in wanted.items():
        data = path.read_bytes()
        if path.suffix != ".mp4":
            patch = patch_bytes(data, before[name].read_bytes() if name in before else b"")
            patches += patch
            files += patch if name in before else len(data)
            continue
        files += len(data)
        for digest, length in pictures_and_sounds(data):
            if digest not in have:
                have.add(digest)
                payload += length
    return Floor(payload, patches, files)
