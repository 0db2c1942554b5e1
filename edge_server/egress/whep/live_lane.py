"""A channel on air for one viewer: its ring as lanes, a picture a chunk. Packets of a picture are made once for all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import cast

from edge_server.egress.whep.frames import Chunk, Frame, chunk_of
from edge_server.egress.whep.lane import Lane, Place
from edge_server.egress.whep.outgoing import Outgoing
from edge_server.egress.whep.viewer import Protect, Viewer, Wire
from edge_server.live.channel import LiveChannel
from edge_server.live.track import LiveTrack, Unit
from wire.h264_rtp import packetise

BEHIND_MAX_S = 4.0
"""A viewer who is farther behind goes on with the last key picture."""
MADE_MAX_COUNT = 1024
"""Pictures and packets of sound of all channels whose packets are kept; some 15 s of the nearest."""
_NOTHING = Chunk((), 0)


@lru_cache(MADE_MAX_COUNT)
def packetised(unit: Unit) -> Chunk:
    """Make the packets of a picture."""
    payloads = packetise(unit.parts)
    return chunk_of([Frame(unit.time_s, payloads)] if payloads else [])


def opus_of(unit: Unit) -> Chunk:
    """Make the packet of sound."""
    return chunk_of([Frame(unit.time_s, unit.parts)])


class LiveLane:
    """See ``lane.Track``; numbers of chunks are numbers of units."""

    def __init__(self, track: LiveTrack, make: Callable[[Unit], Chunk]) -> None:
        """Look at a ring."""
        self.track, self._make = track, make

    @property
    def chunks(self) -> int:
        """See lane.Track."""
        return self.track.count

    def key(self, number: int) -> Hashable:
        """See lane.Track."""
        return self, number

    def read_chunk(self, number: int) -> Chunk:
        """See lane.Track: nothing when it is not here any more."""
        unit = self.track.unit(number)
        return _NOTHING if unit is None else self._make(unit)

    def chunk_at(self, time_s: float) -> int:
        """See lane.Track."""
        key = self.track.last_key(time_s) if self._make is packetised else None
        return key.number if key is not None else self.track.from_time(time_s)

    def begins_s(self, number: int) -> float:
        """See lane.Track; of what has not come, the time of what came last."""
        unit = self.track.unit(number) or (self.track.units[-1] if self.track.units else None)
        return unit.time_s if unit is not None else 0.0

    def keyframe_after(self, time_s: float) -> float | None:
        """See lane.Track."""
        key = self.track.key_after(time_s)
        return key.time_s if key is not None else None

    def take(self, number: int, ready: Callable[[Chunk | Exception], None]) -> Chunk | None:
        """Return what is here; else call when it is."""
        if self.track.unit(number) is not None or self.track.is_gone(number) or self.track.ended:
            return self.read_chunk(number)
        self.track.wait(number, lambda: ready(self.read_chunk(number)))
        return None


def ask_live(key: Hashable, make: Callable[[], Chunk], ready: Callable[[Chunk | Exception], None]) -> Chunk | None:
    """See ``lane.Ask``."""
    lane, number = cast(tuple[LiveLane, int], key)
    return lane.take(number, ready)


class LiveViewer(Viewer):
    """Sends a channel to one viewer: from the last key picture on, never far behind."""

    def __init__(
        self,
        tracks: Sequence[tuple[LiveLane, Outgoing]],
        ask: Callable[..., Chunk | None],
        channel: LiveChannel,
        *,
        wake: Callable[[Viewer], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """As Viewer; it begins where it begins."""
        super().__init__(tracks, ask, begin_s=0.0, wake=wake, failed=failed)
        self._ring, self._channel = tracks[0][0].track, channel
        self.skipped = 0

    def start(self, wire: Wire, protect: Protect, protect_rtcp: Protect, *, now_s: float, unix_s: float) -> None:
        """See Viewer."""
        last = self._ring.last_key()
        self._begin_s = last.time_s if last is not None else 0.0
        super().start(wire, protect, protect_rtcp, now_s=now_s, unix_s=unix_s)

    def pump(self, now_s: float) -> float | None:
        """See Viewer."""
        here_s, last = now_s - self._zero_s, self._ring.last_key()
        if (
            self._wire is not None
            and last is not None
            and self._ring.units[-1].time_s - here_s > BEHIND_MAX_S
            and last.time_s > here_s
        ):
            self.skipped += 1
            self._shift_s += here_s - last.time_s
            self._go(last.time_s, now_s)
        return super().pump(now_s)

    def take_feedback(self, data: bytes, now_s: float) -> bool:
        """See Viewer; who publishes is asked for a key picture, too."""
        before = self.keyframes_wanted
        over = super().take_feedback(data, now_s)
        if self.keyframes_wanted > before:
            self._channel.want_key()
        return over

    def _earliest(self) -> tuple[Lane, Place] | None:
        """Pictures do not wait for sound that does not come, nor sound for pictures."""
        places = [(lane, place) for lane in self._lanes if (place := lane.next()) is not None]
        return min(places, key=lambda each: each[1].frame.time_s, default=None)
