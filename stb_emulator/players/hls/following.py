"""Following a live playlist (RFC 8216 §6.3.3, §6.3.4): where to begin, what is new, when to look again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from wire.m3u8 import ByteRange, MediaPlaylist, Segment

BEHIND_TARGETS = 3
"""A live list is begun at least so many target durations before its end."""
UNMOVED_TARGETS = 1.5
"""A list that has not changed for so many target durations is late."""
DEAD_TARGETS = 3.0
"""After so many the channel has stopped."""


@dataclass(frozen=True, slots=True)
class Due:
    """A segment to fetch."""

    segment: Segment
    sequence: int
    map_uri: str | None
    map_range: ByteRange | None
    breaks: bool
    """Its times do not continue those of the segment before, or some were missed."""


def whole(playlist: MediaPlaylist) -> tuple[Due, ...]:
    """All segments of a list that is complete."""
    return _dues(playlist, playlist.media_sequence, breaks=False, first=True)


def begin_at(playlist: MediaPlaylist) -> int:
    """Return the sequence number at which to begin: three target durations before the end, if there is so much."""
    left_s = 0.0
    for place in range(len(playlist.segments) - 1, 0, -1):
        left_s += playlist.segments[place].duration_s
        if left_s >= BEHIND_TARGETS * playlist.target_duration_s:
            return playlist.media_sequence + place
    return playlist.media_sequence


class Following:
    """One live list, version after version."""

    def __init__(self, begin: int | None = None) -> None:
        """Begin at this sequence number; None: where the standard says."""
        self.expired = 0
        """Segments that left the list before they were taken."""
        self.went_back = False
        """The numbers began anew: the server was restarted without telling."""
        self.reload_at = 0.0
        self._next = begin
        self._changed_at = self._looked_at = 0.0
        self._target_s = 1.0
        self._seen: tuple[int, int, str, bool] | None = None
        self._is_first = True

    def take(self, playlist: MediaPlaylist, now: float) -> tuple[Due, ...]:
        """Take the list as it was when it was asked for at ``now``; return what is new."""
        self._looked_at = now
        end = playlist.media_sequence + len(playlist.segments)
        last = playlist.segments[-1].uri if playlist.segments else ""
        seen = (playlist.media_sequence, len(playlist.segments), last, playlist.ended)
        self._target_s = max(1.0, float(playlist.target_duration_s))
        if changed := seen != self._seen:
            self._seen, self._changed_at = seen, now
        self.reload_at = now + (self._target_s if changed else self._target_s / 2)
        if self._next is None:
            self._next = begin_at(playlist)
        breaks = False
        if end < self._next:
            self.went_back, breaks = True, True
            self._next = begin_at(playlist)
        elif playlist.media_sequence > self._next:
            self.expired += playlist.media_sequence - self._next
            self._next, breaks = playlist.media_sequence, True
        dues = _dues(playlist, self._next, breaks=breaks, first=self._is_first)
        self._is_first = self._is_first and not dues
        self._next = end
        return dues

    @property
    def unmoved(self) -> float:
        """For how many target durations the list had not changed when it was looked at last."""
        return (self._looked_at - self._changed_at) / self._target_s


def _dues(playlist: MediaPlaylist, begin: int, *, breaks: bool, first: bool) -> tuple[Due, ...]:
    """From this sequence number on; the very first segment continues nothing."""
    found: list[Due] = []
    for place, segment in enumerate(playlist.segments):
        sequence = playlist.media_sequence + place
        if sequence >= begin:
            own = (segment.map_uri, segment.map_range) if segment.map_uri else (playlist.map_uri, playlist.map_range)
            is_first = first and not found
            found.append(Due(segment, sequence, *own, breaks=not is_first and (segment.discontinuity or breaks)))
            breaks = False
    return tuple(found)


def place_of(dues: Sequence[Due], at_s: float) -> tuple[int, float]:
    """Return which of the segments shows a moment of the list, and when that one begins: seconds from the beginning."""
    begins_s = 0.0
    for place, due in enumerate(dues):
        if at_s < begins_s + due.segment.duration_s or place == len(dues) - 1:
            return place, begins_s
        begins_s += due.segment.duration_s
    return 0, 0.0


def moment_in(playlist: MediaPlaylist, moment: datetime) -> Due | None:
    """Return the segment of that moment; None when the list does not tell its times, or does not reach there."""
    begins: datetime | None = None
    for due in whole(playlist):
        begins = due.segment.starts_at or begins
        if begins is None or begins.tzinfo is None:
            continue
        ends = begins + timedelta(seconds=due.segment.duration_s)
        if begins <= moment < ends:
            return replace(due, segment=replace(due.segment, starts_at=begins))
        begins = ends
    return None
