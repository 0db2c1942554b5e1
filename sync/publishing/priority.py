"""Which priority a name gets when nobody says (``docs/formats/sync.md`` §2)."""

from __future__ import annotations

TEXTS, PICTURES, LESSONS, EVICTABLE_LESSONS = 0, 1, 2, 3

_ENDINGS = {
    TEXTS: ("json", "html", "htm", "md", "txt", "xml", "css", "js", "m3u8", "csv"),
    PICTURES: ("jpg", "jpeg", "png", "gif", "webp", "svg", "ico", "vtt", "srt", "ass"),
}
_PRIORITY = {ending: priority for priority, endings in _ENDINGS.items() for ending in endings}


def priority_of(name: str) -> int:
    """Return 0 for texts, 1 for pictures and subtitles, else 2, by the ending of the name."""
    return _PRIORITY.get(name.rpartition(".")[2].lower(), LESSONS)
