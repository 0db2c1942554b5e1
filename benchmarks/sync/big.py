"""A lesson of about 2 GB and two hours, of which no unit is like another, and the same with another title."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from benchmarks.sync.corpus import COPY, FAST_START, Corpus, ffmpeg, title
from media.payload import read_payload

REPEATS = 22
MARK_AT_BYTES = 16
MARK_BYTES = 4


def make_big(corpus: Corpus) -> tuple[Path, Path]:
    """Return an old and a new tree of one file each.

    Lesson A many times over, then a counter written into each coded picture and sound: the file still has the structure
    of a film, which is all that is read; nobody could watch it.
    """
    folder = corpus.folder / "big"
    old, new = folder / "old/lesson.mp4", folder / "new/lesson.mp4"
    if not new.exists():
        shutil.rmtree(folder, ignore_errors=True)
        source, again = corpus.library / "video/lessonA.mp4", str(REPEATS - 1)
        part = ffmpeg(folder / "old/unmarked.mp4", "-stream_loop", again, "-i", str(source), *COPY, *FAST_START)
        data = np.memmap(part, np.uint8, "r+")
        for track in read_payload(data.data).tracks:
            long = track.starts[track.lengths >= MARK_AT_BYTES + MARK_BYTES]
            marks = np.arange(len(long), dtype=">u4").view(np.uint8).reshape(-1, MARK_BYTES)
            data[long[:, None] + MARK_AT_BYTES + np.arange(MARK_BYTES)] ^= marks
        data.flush()
        del data
        part.rename(old)
        ffmpeg(new, "-i", str(old), *COPY, *title("Two hours of fractions, revised"), *FAST_START)
    return old.parent, new.parent
