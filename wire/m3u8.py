"""HLS playlists (RFC 8216), read with deviations reported; `wire.m3u8_write` writes them. No I/O.

Only what lessons and linear channels need is modelled; unknown tags are skipped, as §6.3.1 asks of clients. Known tags
that would change what is played (keys, another initialization section without a discontinuity) are reported as
deviations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

PLAYLIST_MAX_CHARS = 4 * 1024 * 1024
SEGMENTS_MAX_COUNT = 50_000
_ATTRIBUTE = re.compile(r'([A-Z0-9-]{1,32})=("[^"\r\n]*"|[^",\s][^",]{0,127}+)(?:,|$)')
"""Bounds, since without them a long word takes its length squared."""
BLANK = " \t"


class PlaylistError(ValueError):
    """The text is not a playlist, or breaks a rule that makes playing it impossible."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One way in which the text differs from RFC 8216."""

    code: str
    where: str


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Part of a resource."""

    length_bytes: int
    offset_bytes: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One media segment."""

    uri: str
    duration_s: float
    byte_range: ByteRange | None = None
    title: str = ""
    discontinuity: bool = False
    starts_at: datetime | None = None
    """Moment of its first picture (§4.3.2.6)."""
    map_uri: str | None = None
    """Initialization section that it needs (§4.3.2.5), when that is another than the playlist's first."""
    map_range: ByteRange | None = None


@dataclass(frozen=True, slots=True)
class MediaPlaylist:
    """A list of segments of one variant."""

    segments: tuple[Segment, ...]
    target_duration_s: int
    version: int = 3
    media_sequence: int = 0
    vod: bool = True
    ended: bool = True
    independent: bool = True
    map_uri: str | None = None
    """The first initialization section."""
    map_range: ByteRange | None = None
    pictures_only: bool = False
    """Each segment is one I-frame, for fast winding (§4.3.3.6)."""
    discontinuity_sequence: int = 0
    """Changes of time base before the first segment (§4.3.3.3)."""
    event: bool = False
    """Segments are only added (§4.3.3.5)."""
    deviations: tuple[Deviation, ...] = ()

    @property
    def duration_s(self) -> float:
        """Sum of the segments' durations."""
        return sum(segment.duration_s for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to play the lesson."""

    uri: str
    bandwidth_bps: int
    """Peak segment rate (§4.3.4.2)."""
    average_bandwidth_bps: int | None = None
    codecs: str | None = None
    resolution: tuple[int, int] | None = None
    frame_rate: float | None = None
    subtitles: str | None = None
    """Group of the subtitles that go with it."""


@dataclass(frozen=True, slots=True)
class Subtitles:
    """The words in one language (§4.3.4.1, TYPE=SUBTITLES)."""

    uri: str
    group: str
    name: str
    """What people choose it by."""
    language: str | None = None
    default: bool = False


@dataclass(frozen=True, slots=True)
class MasterPlaylist:
    """A list of variants."""

    variants: tuple[Variant, ...]
    version: int = 3
    independent: bool = True
    pictures: tuple[Variant, ...] = ()
    """Playlists of I-frames (§4.3.4.3)."""
    subtitles: tuple[Subtitles, ...] = ()
    deviations: tuple[Deviation, ...] = ()


def parse(text: str) -> MediaPlaylist | MasterPlaylist:
    """Read a playlist of either kind.

    Raises:
        PlaylistError: no #EXTM3U, too large, no target duration, mixed kinds, or a number that is none.
    """
    if len(text) > PLAYLIST_MAX_CHARS:
        raise PlaylistError(f"playlist of {len(text)} characters; at most {PLAYLIST_MAX_CHARS}")
    found: list[Deviation] = []
    if text.startswith("\ufeff"):
        found.append(Deviation("byte-order-mark", "first line"))
        text = text[1:]
    raw = [line.removesuffix("\r") for line in text.split("\n")]
    lines = [line if line.startswith("#EXTINF:") else line.strip(BLANK) for line in raw]
    found += [Deviation("blanks", line[:80]) for line, kept in zip(raw, lines, strict=True) if line != kept]
    if not lines or lines[0] != "#EXTM3U":
        raise PlaylistError("the first line is not #EXTM3U")
    has_variants = any(line.startswith("#EXT-X-STREAM-INF:") for line in lines)
    if has_variants and any(line.startswith("#EXTINF:") for line in lines):
        raise PlaylistError("a playlist is either master or media, not both")
    return _parse_master(lines, found) if has_variants else _parse_media(lines, found)


def _parse_master(lines: list[str], found: list[Deviation]) -> MasterPlaylist:
    variants: list[Variant] = []
    pictures: list[Variant] = []
    subtitles: list[Subtitles] = []
    pending: dict[str, str] | None = None
    version, independent = 1, False
    for line in lines:
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-STREAM-INF":
            if pending is not None:
                found.append(Deviation("variant-without-uri", line[:80]))
            pending = _fields(value, tag, found)
        elif tag == "#EXT-X-I-FRAME-STREAM-INF":
            fields = _fields(value, tag, found)
            pictures.append(_variant(fields.get("URI", ""), fields, found))
        elif tag == "#EXT-X-MEDIA":
            fields = _fields(value, tag, found)
            if fields.get("TYPE") == "SUBTITLES":
                uri, group, name = (fields.get(each, "") for each in ("URI", "GROUP-ID", "NAME"))
                default = fields.get("DEFAULT") == "YES"
                subtitles.append(Subtitles(uri, group, name, fields.get("LANGUAGE"), default))
        elif tag == "#EXT-X-VERSION":
            version = _whole(value, tag)
        elif tag == "#EXT-X-INDEPENDENT-SEGMENTS":
            independent = True
        elif line and not line.startswith("#"):
            if pending is None:
                raise PlaylistError(f"a URI without #EXT-X-STREAM-INF: {line[:80]}")
            variants.append(_variant(line, pending, found))
            pending = None
    if pending is not None:
        found.append(Deviation("variant-without-uri", "end of playlist"))
    return MasterPlaylist(tuple(variants), version, independent, tuple(pictures), tuple(subtitles), tuple(found))


def _variant(uri: str, fields: dict[str, str], found: list[Deviation]) -> Variant:
    if "BANDWIDTH" not in fields:
        found.append(Deviation("no-bandwidth", uri[:80]))
    average, size = fields.get("AVERAGE-BANDWIDTH"), fields.get("RESOLUTION")
    width, _, height = (size or "").partition("x")
    rate = fields.get("FRAME-RATE")
    return Variant(
        uri=uri,
        bandwidth_bps=_whole(fields.get("BANDWIDTH", "0"), "BANDWIDTH"),
        average_bandwidth_bps=_whole(average, "AVERAGE-BANDWIDTH") if average else None,
        codecs=fields.get("CODECS"),
        resolution=(_whole(width, "RESOLUTION"), _whole(height, "RESOLUTION")) if size else None,
        frame_rate=_decimal(rate, "FRAME-RATE") if rate else None,
        subtitles=fields.get("SUBTITLES"),
    )


def _parse_media(lines: list[str], found: list[Deviation]) -> MediaPlaylist:
    reader = _MediaReader(found)
    for line in lines[1:]:
        reader.take(line)
    return reader.result()


class _MediaReader:
    """Gathers the tags before each URI."""

    def __init__(self, found: list[Deviation]) -> None:
        self.found = found
        self.segments: list[Segment] = []
        self.target: int | None = None
        self.version, self.sequence = 1, 0
        self.discontinuity_sequence = 0
        self.event = self.vod = self.ended = self.independent = self.pictures_only = False
        self.map_uri: str | None = None
        self.map_range: ByteRange | None = None
        self._map_now: tuple[str | None, ByteRange | None] = (None, None)
        self._map_change = ""
        self._keyed = False
        self._duration: float | None = None
        self._title, self._range_text, self._discontinuity = "", "", False
        self._starts_at: datetime | None = None
        self._range_ends: dict[str, int] = {}

    def take(self, line: str) -> None:
        tag, _, value = line.partition(":")
        if line and not line.startswith("#"):
            self._segment(line)
        elif tag == "#EXTINF":
            length, _, self._title = value.partition(",")
            self._duration = _decimal(length, tag)
        elif tag == "#EXT-X-BYTERANGE":
            self._range_text = value
        elif tag == "#EXT-X-DISCONTINUITY":
            self._discontinuity = True
        elif tag == "#EXT-X-TARGETDURATION":
            self.target = _whole(value, tag)
        elif tag == "#EXT-X-VERSION":
            self.version = _whole(value, tag)
        elif tag == "#EXT-X-MEDIA-SEQUENCE":
            self.sequence = _whole(value, tag)
        elif tag == "#EXT-X-DISCONTINUITY-SEQUENCE":
            self.discontinuity_sequence = _whole(value, tag)
        elif tag == "#EXT-X-PROGRAM-DATE-TIME":
            self._starts_at = self._moment(value)
        elif tag == "#EXT-X-PLAYLIST-TYPE":
            self.vod, self.event = value == "VOD", value == "EVENT"
        elif tag == "#EXT-X-ENDLIST":
            self.ended = True
        elif tag == "#EXT-X-INDEPENDENT-SEGMENTS":
            self.independent = True
        elif tag == "#EXT-X-I-FRAMES-ONLY":
            self.pictures_only = True
        elif tag == "#EXT-X-MAP":
            self._map(value)
        elif tag == "#EXT-X-KEY" and not self._keyed:
            self._keyed = _fields(value, tag, self.found).get("METHOD") != "NONE"
            if self._keyed:
                self.found.append(Deviation("encrypted", line[:80]))

    def _map(self, value: str) -> None:
        fields = _fields(value, "#EXT-X-MAP", self.found)
        if "URI" not in fields:
            raise PlaylistError("#EXT-X-MAP without URI")
        uri, text = fields["URI"], fields.get("BYTERANGE", "")
        part = self._range(text if "@" in text else f"{text}@0", uri) if text else None
        if self._map_now == (uri, part):
            return
        if self._map_now[0] is not None:
            self._map_change = "several-maps"
        elif self.segments:
            self._map_change = "late-map"
        self._map_now = (uri, part)
        if self.map_uri is None:
            self.map_uri, self.map_range = uri, part

    def _segment(self, uri: str) -> None:
        if self._duration is None:
            raise PlaylistError(f"a URI without #EXTINF: {uri[:80]}")
        if len(self.segments) >= SEGMENTS_MAX_COUNT:
            raise PlaylistError(f"more than {SEGMENTS_MAX_COUNT} segments")
        if self.target is not None and nearest(self._duration) > self.target:
            self.found.append(Deviation("longer-than-target", uri[:80]))
        if self._map_change and not self._discontinuity:
            self.found.append(Deviation(self._map_change, uri[:80]))
        self._map_change = ""
        part = self._range(self._range_text, uri) if self._range_text else None
        other = (None, None) if self._map_now == (self.map_uri, self.map_range) else self._map_now
        times = (self._discontinuity, self._starts_at)
        self.segments.append(Segment(uri, self._duration, part, self._title, *times, *other))
        self._duration, self._title, self._range_text, self._discontinuity = None, "", "", False
        self._starts_at = None

    def _moment(self, text: str) -> datetime | None:
        try:
            return datetime.fromisoformat(text.strip())
        except ValueError:
            self.found.append(Deviation("program-date-time", text[:80]))
            return None

    def _range(self, text: str, uri: str) -> ByteRange:
        length, at, offset = text.strip('"').partition("@")
        if not at and uri not in self._range_ends:
            raise PlaylistError(f"a byte range without offset, and none before it: {uri[:80]}")
        start = _whole(offset, "BYTERANGE") if at else self._range_ends[uri]
        part = ByteRange(_whole(length, "BYTERANGE"), start)
        self._range_ends[uri] = start + part.length_bytes
        return part

    def result(self) -> MediaPlaylist:
        if self.target is None:
            raise PlaylistError("no #EXT-X-TARGETDURATION")
        if self.vod and not self.ended:
            self.found.append(Deviation("vod-without-endlist", "end of playlist"))
        return MediaPlaylist(
            segments=tuple(self.segments),
            target_duration_s=self.target,
            version=self.version,
            media_sequence=self.sequence,
            vod=self.vod,
            ended=self.ended,
            independent=self.independent,
            map_uri=self.map_uri,
            map_range=self.map_range,
            pictures_only=self.pictures_only,
            discontinuity_sequence=self.discontinuity_sequence,
            event=self.event,
            deviations=tuple(self.found),
        )


def attributes(text: str) -> Iterator[tuple[str, str]]:
    """Yield the (name, value) pairs of an attribute list (§4.2), quotes taken off."""
    for match in _ATTRIBUTE.finditer(text):
        yield match[1], match[2].strip('"')


def _fields(text: str, tag: str, found: list[Deviation]) -> dict[str, str]:
    """Read an attribute list, and report what it holds beside well-formed attributes, and names that come twice."""
    pairs = list(attributes(text))
    if sum(len(match[0]) for match in _ATTRIBUTE.finditer(text)) != len(text) or len(dict(pairs)) != len(pairs):
        found.append(Deviation("attribute-list", f"{tag}:{text}"[:80]))
    return dict(pairs)


def nearest(duration_s: float) -> int:
    """Round as §4.3.3.1 does when it compares a duration with the target: to the nearest whole second."""
    return math.floor(duration_s + 0.5)


def _whole(text: str, where: str) -> int:
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or len(text) > 20:
        raise PlaylistError(f"{where}: not a whole number: {text[:40]!r}")
    return int(digits)


def _decimal(text: str, where: str) -> float:
    if not re.fullmatch(r"[ \t]*[0-9]{1,9}(\.[0-9]{0,12})?[ \t]*", text):
        raise PlaylistError(f"{where}: not a decimal number: {text[:40]!r}")
    return float(text)
