"""Courseware (课件), columns (专栏) and the catalogue that an edge server receives.

The catalogue is one JSON document in the signed snapshot, under the name ``CATALOGUE_PATH``. All paths in it are
names inside the same snapshot.
"""

from __future__ import annotations

from enum import Enum

import msgspec

CATALOGUE_PATH = "catalogue.json"
CATALOGUE_FORMAT = 1
CATALOGUE_MAX_BYTES = 64 * 1024 * 1024


class CatalogueError(ValueError):
    """The bytes are not a catalogue of a format this version reads."""


class ItemClass(Enum):
    """教育类 or 服务类: what the cache must keep, and what it may evict (requirements REQ-CON-07)."""

    EDUCATION = "education"
    SERVICE = "service"


class MediaFamily(Enum):
    """视频 or 图文 (requirements REQ-CON-05)."""

    VIDEO = "video"
    PICTURE_TEXT = "picture_text"


class Rendition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One encoding of a video item: R12 for old boxes, R40 for new ones. Always a faststart MP4, H.264 (+ AAC)."""

    name: str
    """``R12`` or ``R40``."""
    path: str
    """Name of the MP4 in the snapshot, e.g. ``courseware/10000001/R12.mp4``."""
    sha256: str
    length_bytes: int
    duration_s: float
    width: int
    """Pixels as stored; ``display_width`` allows for the sample aspect ratio."""
    height: int
    display_width: int
    frame_rate: float
    frames: int
    """Number of video frames in the file."""
    video_codec: str
    """RFC 6381 string, e.g. ``avc1.4D401E``."""
    audio_codec: str | None
    """RFC 6381 string, e.g. ``mp4a.40.2``; None without sound."""
    peak_bps: int
    """Largest rate of any 1 s window, video and audio, bits per second."""
    average_bps: int
    copied: bool = False
    """True when the video stream was copied from the source, not encoded again."""


class Asset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a picture-text item, or the poster of a video."""

    path: str
    """Name in the snapshot, e.g. ``courseware/10000002/page/index.html``."""
    sha256: str
    length_bytes: int
    media_type: str


class Courseware(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One learning item: a video in several renditions, or a picture-text page with its images."""

    item_id: str
    """Decimal digits, at most 12; the same on every box and every level."""
    title: str
    item_class: ItemClass
    column_id: str
    family: MediaFamily
    issued_at: str
    """RFC 3339 UTC, whole seconds."""
    summary: str = ""
    duration_s: float = 0.0
    renditions: tuple[Rendition, ...] = ()
    poster: Asset | None = None
    page: Asset | None = None
    """Entry page (HTML, UTF-8) of a picture-text item."""
    page_assets: tuple[Asset, ...] = ()
    """Images that the page shows; their paths lie beside or below the page."""

    def rendition(self, name: str) -> Rendition | None:
        """Return the rendition of that name, or None."""
        return next((each for each in self.renditions if each.name == name), None)


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """专栏: a named, ordered list of courseware."""

    column_id: str
    """Decimal digits, at most 6."""
    title: str
    order: int


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that one snapshot offers, in the order in which boxes show it."""

    format: int = CATALOGUE_FORMAT
    columns: tuple[Column, ...] = ()
    courseware: tuple[Courseware, ...] = ()

    def item(self, item_id: str) -> Courseware | None:
        """Return the item of that id, or None."""
        return next((each for each in self.courseware if each.item_id == item_id), None)

    def column(self, column_id: str) -> Column | None:
        """Return the column of that id, or None."""
        return next((each for each in self.columns if each.column_id == column_id), None)


def encode_catalogue(catalogue: Catalogue) -> bytes:
    """Write the catalogue as UTF-8 JSON, the same bytes for the same value."""
    return msgspec.json.encode(catalogue, order="deterministic")


def decode_catalogue(raw: bytes) -> Catalogue:
    """Read a catalogue.

    Raises:
        CatalogueError: too large, not JSON of this shape, or of a newer format.
    """
    if len(raw) > CATALOGUE_MAX_BYTES:
        raise CatalogueError(f"catalogue of {len(raw)} bytes; at most {CATALOGUE_MAX_BYTES}")
    try:
        catalogue = msgspec.json.decode(raw, type=Catalogue)
    except msgspec.MsgspecError as error:
        raise CatalogueError(f"not a catalogue: {error}") from error
    if catalogue.format != CATALOGUE_FORMAT:
        raise CatalogueError(f"catalogue format {catalogue.format}; this version reads {CATALOGUE_FORMAT}")
    return catalogue
