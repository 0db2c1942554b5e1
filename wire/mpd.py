"""DASH manifests for on-demand lessons (ISO/IEC 23009-1, profile "isoff-live", static): written, never read. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from xml.sax.saxutils import quoteattr

MEDIA_TYPE = "application/dash+xml"
_NAMESPACE = "urn:mpeg:dash:schema:mpd:2011"
_PROFILE = "urn:mpeg:dash:profile:isoff-live:2011"
RATE_DENOMINATOR_MAX = 1001


@dataclass(frozen=True, slots=True)
class Segments:
    """Where segments are and when (§5.3.9.6); all times in ticks."""

    initialization: str
    media: str
    """With ``$Number$``, counted from 1."""
    timescale: int
    """Ticks a second."""
    zero: int
    """Media time at which the period begins."""
    starts: Sequence[int]
    durations: Sequence[int]


@dataclass(frozen=True, slots=True)
class Representation:
    """One encoding (§5.3.5)."""

    name: str
    """Its id; no blanks."""
    codecs: str
    bandwidth_bps: int
    segments: Segments
    size: tuple[int, int] | None = None
    """Pixels as shown."""
    frame_rate: float | None = None


@dataclass(frozen=True, slots=True)
class AdaptationSet:
    """Encodings of the same thing, between which a player may change (§5.3.3)."""

    content: str
    """``video`` or ``audio``."""
    representations: tuple[Representation, ...]
    aligned: bool = False
    """Segments of all begin and end at the same times."""
    independent: bool = True
    """Every segment begins with a picture that needs no other."""


@dataclass(frozen=True, slots=True)
class TextTrack:
    """Words in one language as one WebVTT file."""

    uri: str
    language: str
    label: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One lesson."""

    duration_s: float
    sets: tuple[AdaptationSet, ...]
    texts: tuple[TextTrack, ...] = ()
    min_buffer_s: float = 2.0


def write_mpd(manifest: Manifest) -> str:
    """Write a manifest."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        _open(
            "MPD",
            xmlns=_NAMESPACE,
            profiles=_PROFILE,
            type="static",
            mediaPresentationDuration=_seconds(manifest.duration_s),
            minBufferTime=_seconds(manifest.min_buffer_s),
        ),
        '<Period id="1" start="PT0S">',
    ]
    for number, each in enumerate(manifest.sets, 1):
        lines += _set(number, each)
    for number, text in enumerate(manifest.texts, len(manifest.sets) + 1):
        lines += [
            _open("AdaptationSet", id=number, contentType="text", mimeType="text/vtt", lang=text.language),
            '<Role schemeIdUri="urn:mpeg:dash:role:2011" value="subtitle"/>',
            f"<Label>{_text(text.label)}</Label>",
            _open("Representation", id=f"text-{number}", bandwidth=256),
            f"<BaseURL>{_text(text.uri)}</BaseURL>",
            "</Representation>",
            "</AdaptationSet>",
        ]
    return "\n".join([*lines, "</Period>", "</MPD>", ""])


def _set(number: int, group: AdaptationSet) -> list[str]:
    sap = {"startWithSAP": 1} if group.independent else {}
    kind = {"contentType": group.content, "mimeType": f"{group.content}/mp4"}
    lines = [_open("AdaptationSet", id=number, **kind, segmentAlignment=str(group.aligned).lower(), **sap)]
    for each in group.representations:
        fields: dict[str, object] = {"id": each.name, "codecs": each.codecs, "bandwidth": each.bandwidth_bps}
        if each.size is not None:
            fields |= {"width": each.size[0], "height": each.size[1], "sar": "1:1"}
        if each.frame_rate is not None:
            rate = Fraction(each.frame_rate).limit_denominator(RATE_DENOMINATOR_MAX)
            fields["frameRate"] = f"{rate.numerator}/{rate.denominator}"
        lines += [_open("Representation", **fields), *_template(each.segments), "</Representation>"]
    return [*lines, "</AdaptationSet>"]


def _template(segments: Segments) -> list[str]:
    fields = {
        "timescale": segments.timescale,
        "presentationTimeOffset": segments.zero,
        "startNumber": 1,
        "initialization": segments.initialization,
        "media": segments.media,
    }
    lines = [_open("SegmentTemplate", **fields), "<SegmentTimeline>"]
    expected, run = None, 0
    rows: list[tuple[int | None, int, int]] = []  # t when it does not follow, d, r
    for start, duration in zip(segments.starts, segments.durations, strict=True):
        if rows and expected == start and rows[-1][1] == duration:
            run += 1
            rows[-1] = (rows[-1][0], duration, run)
        else:
            run = 0
            rows.append((None if expected == start else start, duration, 0))
        expected = start + duration
    for at, duration, repeats in rows:
        place = f' t="{at}"' if at is not None else ""
        again = f' r="{repeats}"' if repeats else ""
        lines.append(f'<S{place} d="{duration}"{again}/>')
    return [*lines, "</SegmentTimeline>", "</SegmentTemplate>"]


def _open(name: str, **fields: object) -> str:
    return f"<{name} " + " ".join(f"{key}={quoteattr(str(value))}" for key, value in fields.items()) + ">"


def _text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _seconds(duration_s: float) -> str:
    """Write a duration (ISO 8601, W3C XML Schema §3.2.6)."""
    return f"PT{duration_s:.3f}S"
