"""Courseware (课件), columns (专栏) and the catalogue that an edge server receives.

A catalogue is one JSON document under the name ``CATALOGUE_PATH`` in each signed channel: that of the channel
``INDEX_CHANNEL`` lists the columns and no courseware, that of a column's own channel the column and its courseware. All
paths in it are names inside the same channel.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum

import msgspec

CATALOGUE_PATH = "catalogue.json"
CATALOGUE_FORMAT = 1
INDEX_CHANNEL = "index"
COLUMN_CHANNEL_PREFIX = "col-"
OFFLINE_DAYS_MAX = 3650
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


class Rendition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
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


class Asset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One file of a picture-text item, or the poster of a video."""

    path: str
    """Name in the snapshot, e.g. ``courseware/10000002/page/index.html``."""
    sha256: str
    length_bytes: int
    media_type: str


class Subtitle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The words of a video in one language, as WebVTT at the lesson's time."""

    language: str
    """BCP 47, ``und`` when nobody said; one a language."""
    label: str
    """What people choose it by."""
    path: str
    """Name in the snapshot, e.g. ``courseware/10000001/subtitle.zh.vtt``."""
    sha256: str
    length_bytes: int


class Courseware(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
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
    subtitles: tuple[Subtitle, ...] = ()
    page: Asset | None = None
    """Entry page (HTML, UTF-8) of a picture-text item."""
    page_assets: tuple[Asset, ...] = ()
    """Images that the page shows, and the page cut into screens for televisions (``tv-1.html``, ``gbk-1.html``, docs of
    ingest); their paths lie beside or below the page."""
    expires_at: str = ""
    """RFC 3339 UTC; not offered from then on. Empty: never."""
    offline_days: int = 0
    """Not offered by an edge that has heard nothing from the publisher for so many days; 0: always (SEC-04)."""
    held: bool = False
    """Parity is missing: it has not been played on every kind of box yet, and only a lab edge offers it."""

    def offered_until(self, contact: datetime) -> datetime | None:
        """Return from when on an edge that last heard from the publisher at ``contact`` must hide it; None: never."""
        ends = [contact + timedelta(days=self.offline_days)] if self.offline_days else []
        if self.expires_at:
            ends.append(datetime.fromisoformat(self.expires_at).astimezone(UTC))
        return min(ends, default=None)

    def paths(self) -> frozenset[str]:
        """Every name in the channel that belongs to this item."""
        assets = [*self.page_assets, *(each for each in (self.poster, self.page) if each is not None)]
        media = [each.path for each in self.renditions] + [each.path for each in self.subtitles]
        return frozenset(media + [each.path for each in assets])

    def subtitle(self, language: str) -> Subtitle | None:
        """Return the subtitles in that language, or None."""
        return next((each for each in self.subtitles if each.language == language), None)

    def rendition(self, name: str) -> Rendition | None:
        """Return the rendition of that name, or None."""
        return next((each for each in self.renditions if each.name == name), None)


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """专栏: a named, ordered list of courseware."""

    column_id: str
    """Decimal digits, at most 6."""
    title: str
    order: int


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
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
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CatalogueError(f"not a catalogue: {error}") from error
    if catalogue.format != CATALOGUE_FORMAT:
        raise CatalogueError(f"catalogue format {catalogue.format}; this version reads {CATALOGUE_FORMAT}")
    for item in catalogue.courseware:
        _check_limits(item)
    return catalogue


def _check_limits(item: Courseware) -> None:
    if not 0 <= item.offline_days <= OFFLINE_DAYS_MAX:
        raise CatalogueError(f"item {item.item_id}: offline_days {item.offline_days} is out of bounds")
    try:
        aware = not item.expires_at or datetime.fromisoformat(item.expires_at).utcoffset() is not None
    except ValueError:
        aware = False
    if not aware:
        raise CatalogueError(f"item {item.item_id}: expires_at {item.expires_at!r} is not an RFC 3339 time")


def column_channel(column_id: str) -> str:
    """Return the name of the sync channel that carries a column."""
    return COLUMN_CHANNEL_PREFIX + column_id
