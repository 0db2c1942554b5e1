"""Two questions about time, without a clock: are the timestamps continuous, and would a viewer have seen a stall?"""

from __future__ import annotations

from collections import deque

MIN_GAP_S = 0.5
"""A jump shorter than this is never called a gap: variable frame rates pause."""
GAP_INTERVALS = 3.0
AUDIO_GAP_S = 0.15
RECENT = 32


class VideoTimes:
    """Watches the presentation times of decoded pictures, in display order."""

    def __init__(self, nominal_interval_s: float = 0.04, *, leads_in: bool = False) -> None:
        """``nominal_interval_s``: what the stream's declared rate says, until pictures tell better.

        ``leads_in``: after a seek, pictures from the key picture to the place asked for may all bear that place's time.
        """
        self._leads_in = leads_in
        self.gaps: list[tuple[float, float]] = []
        self.backwards = 0
        self.first_s: float | None = None
        self.last_s = 0.0
        self._nominal_s = nominal_interval_s
        self._recent: deque[float] = deque(maxlen=RECENT)

    @property
    def interval_s(self) -> float:
        """Typical time between pictures: the median of the recent ones."""
        if len(self._recent) < 3:
            return self._nominal_s
        return sorted(self._recent)[len(self._recent) // 2]

    @property
    def end_s(self) -> float:
        """When the last picture ends."""
        return self.last_s + self.interval_s

    def picture(self, at_s: float) -> float:
        """Take the next picture's time; return how long the one before it was shown (0 for the first)."""
        if self.first_s is None:
            self.first_s = self.last_s = at_s
            return 0.0
        step = at_s - self.last_s
        if step == 0 and at_s == self.first_s and self._leads_in:
            return 0.0
        if step <= 0:
            self.backwards += 1
            return 0.0
        if step > max(MIN_GAP_S, GAP_INTERVALS * self.interval_s):
            self.gaps.append((self.last_s, at_s))
        else:
            self._recent.append(step)
        self.last_s = at_s
        return step


class AudioTimes:
    """Watches decoded audio: every block should begin where the one before it ended."""

    def __init__(self) -> None:
        """Begin before the first block."""
        self.gaps: list[tuple[float, float]] = []
        self.backwards = 0
        self.first_s: float | None = None
        self.end_s = 0.0

    def block(self, at_s: float, lasts_s: float) -> None:
        """Take the next block."""
        if self.first_s is None:
            self.first_s = at_s
        elif at_s - self.end_s > AUDIO_GAP_S:
            self.gaps.append((self.end_s, at_s))
        elif at_s - self.end_s < -AUDIO_GAP_S:
            self.backwards += 1
        self.end_s = at_s + lasts_s


class BufferModel:
    """Plays the arrivals as a viewer's box would: start when enough is buffered, stall when the next picture is late.

    All times are seconds; ``media_s`` is the decoding time of a picture, ``arrived_s`` the monotonic time at which its
    last byte came in.
    """

    def __init__(self, start_s: float, restart_s: float) -> None:
        """Start with ``start_s`` of media in the buffer; after a stall, go on with ``restart_s``."""
        self._start_s, self._restart_s = start_s, restart_s
        self.stalls = 0
        self.stall_s = 0.0
        self._pending: deque[tuple[float, float]] = deque()
        self._shift: float | None = None
        """Wall time at which media time 0 is due; None while (re)buffering."""
        self._late_since: float | None = None
        self._newest_media_s: float | None = None

    def arrive(self, media_s: float, arrived_s: float) -> None:
        """A picture's last byte has arrived."""
        if self._newest_media_s is not None and media_s <= self._newest_media_s:
            return
        self._newest_media_s = media_s
        if self._shift is not None:
            due = self._shift + media_s
            if arrived_s <= due:
                return
            self.stalls += 1
            self._late_since = due
            self._shift = None
            self._pending.clear()
        self._pending.append((media_s, arrived_s))
        wanted = self._restart_s if self._late_since is not None else self._start_s
        if media_s - self._pending[0][0] >= wanted:
            self._begin(arrived_s)

    def finish(self) -> None:
        """The end of the stream has arrived: what is buffered plays."""
        if self._pending:
            self._begin(self._pending[-1][1])

    def _begin(self, now_s: float) -> None:
        if self._late_since is not None:
            self.stall_s += max(0.0, now_s - self._late_since)
            self._late_since = None
        self._shift = now_s - self._pending[0][0]
        self._pending.clear()
