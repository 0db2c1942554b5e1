"""Upload → probe → renditions → checks: a media file or a folder becomes courseware, or is refused with a reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from central_platform.ingest.page import ingest_page
from central_platform.ingest.refusal import RefusalReason, Refused
from central_platform.ingest.results import Ingested, MadeFile, MadePage, MadeRendition, MadeSubtitle, MadeVideo
from central_platform.ingest.video import ingest_video

__all__ = [
    "Ingested",
    "MadeFile",
    "MadePage",
    "MadeRendition",
    "MadeSubtitle",
    "MadeVideo",
    "RefusalReason",
    "Refused",
    "ingest",
]


def ingest(source: Path, workdir: Path, *, on_progress: Callable[[float], None]) -> Ingested:
    """Make courseware files in ``workdir`` from a media file, or from the folder of a picture-text lesson.

    ``on_progress`` gets a fraction 0..1; what it raises ends the work. When anything is raised, nothing is left behind.

    Raises:
        Refused: the source cannot be made playable.
        OSError: the disk is full or the source cannot be opened.
    """
    before = set(workdir.iterdir())
    try:
        if source.is_dir():
            return ingest_page(source, workdir, on_progress)
        if not source.is_file():
            raise Refused(RefusalReason.UNREADABLE, "neither a file nor a folder")
        return ingest_video(source, workdir, on_progress)
    except BaseException:
        for left in set(workdir.iterdir()) - before:
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        raise
