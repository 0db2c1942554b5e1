"""What ingest hands to publishing: files in the work folder, measured."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MadeFile:
    """One finished file."""

    file: Path
    sha256: str
    length_bytes: int
    media_type: str


@dataclass(frozen=True, slots=True)
class MadeRendition:
    """One finished MP4 and what was measured in it; the words are those of ``domain.courseware.Rendition``."""

    name: str
    made: MadeFile
    duration_s: float
    width: int
    height: int
    display_width: int
    frame_rate: float
    frames: int
    video_codec: str
    audio_codec: str | None
    peak_bps: int
    average_bps: int
    copied: bool


@dataclass(frozen=True, slots=True)
class MadeSubtitle:
    """The lesson's words in one language, as WebVTT."""

    language: str
    """BCP 47, ``und`` when nobody said."""
    label: str
    """What people choose it by."""
    made: MadeFile


@dataclass(frozen=True, slots=True)
class MadeVideo:
    """A video lesson."""

    renditions: tuple[MadeRendition, ...]
    duration_s: float
    poster: MadeFile | None
    subtitles: tuple[MadeSubtitle, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MadePage:
    """A picture-text lesson: the page and its images, named as the page refers to them."""

    page: MadeFile
    assets: tuple[tuple[str, MadeFile], ...]
    warnings: tuple[str, ...]
    screens: tuple[tuple[str, MadeFile], ...] = ()
    """The same cut into screens for televisions, ``tv-1.html`` and ``gbk-1.html`` and on, and larger pictures."""


Ingested = MadeVideo | MadePage


def finished(file: Path, media_type: str) -> MadeFile:
    """Measure and hash a finished file."""
    with file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    return MadeFile(file, digest, file.stat().st_size, media_type)
