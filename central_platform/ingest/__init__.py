"""Upload → probe → renditions → checks: a media file or a folder becomes courseware, or is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from central_platform.ingest.page import ingest_page
from central_platform.ingest.refusal import RefusalReason, Refused
from central_platform.ingest.results import Ingested, MadeFile, MadePage, MadeRendition, MadeVideo
from central_platform.ingest.video import ingest_video

__all__ = [
    "Ingested",
    "MadeFile",
    "MadePage",
    "MadeRendition",
    "MadeVideo",
    "RefusalReason",
    "Refused",
    "ingest",
]


def ingest(source: Path, workdir: Path, *, on_progress: Callable[[float], None]) -> Ingested:
    """Make courseware files in ``workdir`` from a media file, or from the folder of a picture-text lesson.

    ``on_progress`` gets a fraction 0..1; what it raises ends the work.

    Raises:
        Refused: the source cannot be made playable. ``workdir`` is the caller's to remove in any case.
        OSError: the disk is full or the source cannot be opened.
    """
    return ingest_page(source, workdir, on_progress) if source.is_dir() else ingest_video(source, workdir, on_progress)
