"""HLS playlists (RFC 8216), written strictly: what no reader would read back is an error. No I/O."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from wire.m3u8 import BLANK, ByteRange, MasterPlaylist, MediaPlaylist, PlaylistError, Variant, nearest

_UNREADABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ufeff]")


def write_media(playlist: MediaPlaylist) -> str:
    """Write a media playlist.

    Raises:
        PlaylistError: a URI, title or duration that no reader would read back, or a segment over the target duration.
    """
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{playlist.version}", f"#EXT-X-TARGETDURATION:{playlist.target_duration_s}"]
    lines.append(f"#EXT-X-MEDIA-SEQUENCE:{playlist.media_sequence}")
    lines += [f"#EXT-X-DISCONTINUITY-SEQUENCE:{playlist.discontinuity_sequence}"] * bool(
        playlist.discontinuity_sequence
    )
    lines += ["#EXT-X-PLAYLIST-TYPE:EVENT"] * playlist.event
    lines += ["#EXT-X-PLAYLIST-TYPE:VOD"] * playlist.vod + ["#EXT-X-INDEPENDENT-SEGMENTS"] * playlist.independent
    lines += ["#EXT-X-I-FRAMES-ONLY"] * playlist.pictures_only
    if playlist.map_uri is not None:
        part = f',BYTERANGE="{_range_text(playlist.map_range)}"' if playlist.map_range else ""
        lines.append(f"#EXT-X-MAP:URI={_quoted(playlist.map_uri)}{part}")
    for segment in playlist.segments:
        lines += ["#EXT-X-DISCONTINUITY"] * segment.discontinuity
        if not 0 <= nearest(segment.duration_s) <= playlist.target_duration_s:
            raise PlaylistError(f"{segment.uri[:80]}: {segment.duration_s} s, target {playlist.target_duration_s} s")
        if segment.starts_at is not None:
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{_moment(segment.starts_at)}")
        lines.append(f"#EXTINF:{segment.duration_s:.6f},{_line(segment.title)}")
        if segment.byte_range is not None:
            lines.append(f"#EXT-X-BYTERANGE:{_range_text(segment.byte_range)}")
        lines.append(_uri(segment.uri))
    lines += ["#EXT-X-ENDLIST"] * playlist.ended
    return "\n".join(lines) + "\n"


def write_master(playlist: MasterPlaylist) -> str:
    """Write a master playlist.

    Raises:
        PlaylistError: a URI, name or CODECS that no reader would read back.
    """
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{playlist.version}"] + ["#EXT-X-INDEPENDENT-SEGMENTS"] * playlist.independent
    for each in playlist.subtitles:
        fields = [f"TYPE=SUBTITLES,GROUP-ID={_quoted(each.group)},NAME={_quoted(each.name)}"]
        fields += [f"LANGUAGE={_quoted(each.language)}"] if each.language is not None else []
        fields += [f"DEFAULT={'YES' if each.default else 'NO'},AUTOSELECT=YES,URI={_quoted(each.uri)}"]
        lines.append("#EXT-X-MEDIA:" + ",".join(fields))
    for variant in playlist.variants:
        lines += ["#EXT-X-STREAM-INF:" + ",".join(_attributes(variant)), _uri(variant.uri)]
    for variant in playlist.pictures:
        lines.append("#EXT-X-I-FRAME-STREAM-INF:" + ",".join([*_attributes(variant), f"URI={_quoted(variant.uri)}"]))
    return "\n".join(lines) + "\n"


def _attributes(variant: Variant) -> list[str]:
    found = [f"BANDWIDTH={variant.bandwidth_bps}"]
    if variant.average_bandwidth_bps is not None:
        found.append(f"AVERAGE-BANDWIDTH={variant.average_bandwidth_bps}")
    if variant.codecs is not None:
        found.append(f"CODECS={_quoted(variant.codecs)}")
    if variant.resolution is not None:
        found.append(f"RESOLUTION={variant.resolution[0]}x{variant.resolution[1]}")
    if variant.frame_rate is not None:
        found.append(f"FRAME-RATE={variant.frame_rate:.3f}")
    if variant.subtitles is not None:
        found.append(f"SUBTITLES={_quoted(variant.subtitles)}")
    return found


def _moment(moment: datetime) -> str:
    """Write a moment with milliseconds, in UTC."""
    if moment.tzinfo is None:
        raise PlaylistError(f"a moment without time zone: {moment}")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(text: str) -> str:
    """Return the text if it can stand in one line."""
    if _UNREADABLE.search(text):
        raise PlaylistError(f"control characters cannot be written: {text[:80]!r}")
    return text


def _uri(text: str) -> str:
    """Return the URI if a line of its own can hold it."""
    if not text or text.startswith("#") or text != text.strip(BLANK):
        raise PlaylistError(f"not a URI that a playlist can hold: {text[:80]!r}")
    return _line(text)


def _quoted(text: str) -> str:
    """Write a quoted-string (§4.2)."""
    if '"' in text or not text:
        raise PlaylistError(f"a quoted string cannot hold {text[:80]!r}")
    return f'"{_line(text)}"'


def _range_text(part: ByteRange) -> str:
    return f"{part.length_bytes}@{part.offset_bytes}"
