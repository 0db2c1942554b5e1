"""Time of a source from 0, without the jumps that splices and counter wraps leave in recordings. Pure."""

from __future__ import annotations

from dataclasses import dataclass

JUMP_FORWARD_S = 30.0
JUMP_BACK_S = 1.0
"""A step beyond these is a fault of the file unless the other track is there already; time then goes on without it."""

INTERLEAVE_MAX_S = 10.0
"""How far apart in time neighbouring packets of two tracks may lie in a file."""


@dataclass(slots=True)
class _Line:
    """One track."""

    shift_s: float = 0.0
    next_s: float = 0.0
    begun: bool = False


class Timeline:
    """Gives frames of several tracks their common time.

    When one track jumps, the others follow with the same correction as soon as it fits them, so that sound and picture
    keep their distance across a splice.
    """

    def __init__(self) -> None:
        """Nothing has begun."""
        self._zero_s = 0.0
        self.begun = False
        self.splices = 0
        """Jumps that were closed; one that both tracks make counts once."""
        self._newest_s = 0.0
        self._lines: dict[str, _Line] = {}

    def begin(self, zero_s: float) -> None:
        """Say which time of the source is 0."""
        self._zero_s, self.begun = zero_s, True

    @property
    def zero_s(self) -> float:
        """The time of the source that is 0."""
        return self._zero_s

    def at(self, track: str, raw_s: float | None, length_s: float) -> float:
        """Return when a frame of ``track`` begins; negative when it lies before 0.

        ``raw_s`` is its time in the source, None when the source does not say; ``length_s`` how long it lasts.
        """
        line = self._lines.setdefault(track, _Line())
        time_s = line.next_s if raw_s is None else self._corrected(track, line, raw_s - self._zero_s)
        line.next_s = max(line.next_s, time_s + length_s) if line.begun else time_s + length_s
        line.begun = True
        return time_s

    def _corrected(self, track: str, line: _Line, source_s: float) -> float:
        time_s = source_s - line.shift_s
        if not line.begun or _near(time_s - line.next_s):
            return time_s
        followed_s = source_s - self._newest_s
        if _near(followed_s - line.next_s):
            line.shift_s = self._newest_s
            return followed_s
        if time_s > line.next_s and self._reached_elsewhere(track, time_s):
            return time_s  # a real gap: this track was silent or dark while the other went on
        self.splices += 1
        line.shift_s += time_s - line.next_s
        self._newest_s = line.shift_s
        return line.next_s

    def _reached_elsewhere(self, track: str, time_s: float) -> bool:
        others = (line for name, line in self._lines.items() if name != track)
        return any(abs(time_s - line.next_s) < INTERLEAVE_MAX_S for line in others)


def _near(step_s: float) -> bool:
    return -JUMP_BACK_S < step_s < JUMP_FORWARD_S
