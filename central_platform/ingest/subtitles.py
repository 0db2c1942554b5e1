"""Subtitles of a lesson become WebVTT (W3C, "WebVTT: The Web Video Text Tracks Format"): tracks inside, files beside.

FFmpeg's libraries read them; only text is kept, in its order, at the lesson's own time. Beside ``lesson.mkv`` may lie
``lesson.srt``, ``lesson.zh.vtt`` and the like, in UTF-8, UTF-16 with a byte order mark, or GB18030.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import av.error
from av.subtitles.subtitle import AssSubtitle

from central_platform.ingest.results import MadeSubtitle, finished
from media.probe import Unreadable, open_media

SUFFIXES = {".vtt": "webvtt", ".srt": "srt", ".ass": "ass", ".ssa": "ass"}
"""Files beside the lesson, and what libav calls them."""
TEXT_CODECS = frozenset({"ass", "ssa", "srt", "subrip", "webvtt", "mov_text", "text"})
FILE_MAX_BYTES = 4 * 1024 * 1024
TRACKS_MAX_COUNT = 8
CUES_MAX_COUNT = 50_000
CUE_MAX_CHARS = 2000
CUE_UNSAID_S = 4.0
"""Shown for so long when the source does not say, or until the next one."""
UNKNOWN = "und"
LABELS = {
    "zh": "中文",
    "en": "English",
    "bo": "བོད་ཡིག",
    "ug": "ئۇيغۇرچە",
    "mn": "ᠮᠣᠩᠭᠣᠯ",
    "ko": "조선말",
    UNKNOWN: "字幕",
}
_BCP47 = {"chi": "zh", "zho": "zh", "eng": "en", "tib": "bo", "bod": "bo", "uig": "ug", "mon": "mn", "kor": "ko"}
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}\Z")
_OVERRIDE = re.compile(r"\{\\[^}]*\}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")

Cue = tuple[float, float, str]
"""Begin and end in seconds of the lesson, and the text."""


def make_subtitles(source: Path, zero_s: float, duration_s: float, workdir: Path) -> tuple[MadeSubtitle, ...]:
    """Write one WebVTT file a language into ``workdir``; files beside the lesson come before tracks inside.

    What cannot be read as text is left out: a lesson without subtitles is better than none.

    Args:
        source: the media file.
        zero_s: time of the source that became the lesson's 0.
        duration_s: of the lesson; nothing is shown after it.
        workdir: where to write.
    """
    made: dict[str, MadeSubtitle] = {}
    for language, cues in (*_beside(source), *_inside(source, zero_s)):
        shown = fitted(cues, duration_s)
        if shown and language not in made and len(made) < TRACKS_MAX_COUNT:
            file = workdir / f"subtitle.{language}.vtt"
            file.write_text(write_vtt(shown), "utf-8")
            label = LABELS.get(language, language)
            made[language] = MadeSubtitle(language, label, finished(file, "text/vtt; charset=utf-8"))
    return tuple(made.values())


def fitted(cues: Iterable[Cue], duration_s: float) -> list[Cue]:
    """Sort, give an end to those that have none, and leave out what lies outside of the lesson or says nothing."""
    ordered = sorted(cues)[:CUES_MAX_COUNT]
    found = []
    for (start, end, text), (following, _, _) in pairwise([*ordered, (duration_s, duration_s, "")]):
        if end <= start:
            end = min(start + CUE_UNSAID_S, following if following > start else start + CUE_UNSAID_S)
        start, end = max(0.0, start), min(end, duration_s)
        words = "\n".join(line for line in _CONTROL.sub(" ", text[:CUE_MAX_CHARS]).splitlines() if line.strip())
        if words and end - start >= 0.001:
            found.append((start, end, words))
    return found


def write_vtt(cues: Iterable[Cue]) -> str:
    """Write cues as a WebVTT file."""
    blocks = [f"{_time(start)} --> {_time(end)}\n{_escaped(text)}\n" for start, end, text in cues]
    return "\n".join(["WEBVTT\n", *blocks])


def decoded(raw: bytes) -> str:
    """Turn the bytes of a subtitle file into text: byte order mark, else UTF-8, else GB18030."""
    for mark, coding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if raw.startswith(mark):
            return raw.decode(coding, "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("gb18030", "replace")


def _beside(source: Path) -> Iterator[tuple[str, list[Cue]]]:
    for file in sorted(source.parent.glob("*")):
        if file.suffix.lower() not in SUFFIXES or not file.is_file():
            continue
        stem, _, language = file.stem.removeprefix(source.stem).partition(".")
        if stem or not file.stem.startswith(source.stem) or (language and not _LANGUAGE.match(language)):
            continue
        with file.open("rb") as opened:
            raw = opened.read(FILE_MAX_BYTES + 1)
        if len(raw) > FILE_MAX_BYTES:
            continue
        text = decoded(raw).replace("\x00", "").encode()
        try:
            with av.open(io.BytesIO(text), "r", format=SUFFIXES[file.suffix.lower()]) as container:
                yield language or UNKNOWN, list(_cues(container, container.streams.subtitles[0], 0.0))
        except (av.error.FFmpegError, IndexError, ValueError):
            continue


def _inside(source: Path, zero_s: float) -> Iterator[tuple[str, list[Cue]]]:
    try:
        with open_media(source) as container:
            streams = [each for each in container.streams.subtitles if each.codec_context.name in TEXT_CODECS]
            for stream in streams[:TRACKS_MAX_COUNT]:
                language = _BCP47.get(stream.language or "", stream.language or UNKNOWN)
                container.seek(0)
                yield language if _LANGUAGE.match(language) else UNKNOWN, list(_cues(container, stream, zero_s))
    except (Unreadable, av.error.FFmpegError):
        return


def _cues(container: Any, stream: Any, zero_s: float) -> Iterator[Cue]:
    texts = (packet for packet in container.demux(stream) if packet.size and packet.pts is not None)
    for packet in islice(texts, CUES_MAX_COUNT):
        start_s = float(packet.pts * packet.time_base) - zero_s
        end_s = start_s + float((packet.duration or 0) * packet.time_base)
        said = [each.dialogue for each in packet.decode() or () if isinstance(each, AssSubtitle)]
        text = b"\n".join(said).decode("utf-8", "replace")
        yield start_s, end_s, _OVERRIDE.sub("", text).replace("\\h", " ")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"
