"""What a viewer may watch: a lesson, or a channel that is on air; and what sends it to one viewer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge_server.egress.whep.chunks import Chunks
from edge_server.egress.whep.lane import Track
from edge_server.egress.whep.lesson import Lesson
from edge_server.egress.whep.live_lane import LiveLane, LiveViewer, ask_live, opus_of, packetised
from edge_server.egress.whep.negotiate import Refused
from edge_server.egress.whep.outgoing import Outgoing
from edge_server.egress.whep.viewer import Viewer
from edge_server.live.channel import LiveChannel

Wake = Callable[[Viewer], None]
Failed = Callable[[Exception], None]


class Shown(Protocol):
    """See above."""

    @property
    def profile_level_id(self) -> str:
        """Six hexadecimal digits (RFC 6184 §8.1)."""

    @property
    def has_sound(self) -> bool:
        """There is sound that browsers know, or can be made."""

    def viewer(self, video: Outgoing, sound: Outgoing | None, wake: Wake, failed: Failed) -> Viewer:
        """Make what sends it."""


@dataclass(frozen=True, slots=True)
class ShownLesson:
    """A lesson from some second on."""

    lesson: Lesson
    chunks: Chunks
    begin_s: float

    @property
    def profile_level_id(self) -> str:
        """See Shown."""
        return self.lesson.config.profile_level_id

    @property
    def has_sound(self) -> bool:
        """See Shown."""
        return self.lesson.sound is not None

    def viewer(self, video: Outgoing, sound: Outgoing | None, wake: Wake, failed: Failed) -> Viewer:
        """See Shown."""
        tracks: list[tuple[Track, Outgoing]] = [(self.lesson, video)]
        if sound is not None and self.lesson.sound is not None:
            tracks.append((self.lesson.sound, sound))
        return Viewer(tracks, self.chunks.take, begin_s=self.begin_s, wake=wake, failed=failed)


class ShownLive:
    """A channel that is on air."""

    def __init__(self, channel: LiveChannel) -> None:
        """Look at what is on.

        Raises:
            Refused: nothing, or what browsers cannot show.
        """
        on_air = channel.on_air
        if on_air is None:
            raise Refused(404, "现在没有直播 / nothing is on air now")
        if on_air.reordered:
            raise Refused(
                406,
                "浏览器不能这样看：来源用了被引用的 B 帧 / "
                "browsers cannot show this: the source has B-frames that other pictures refer to",
            )
        self._channel = channel
        self._pictures = LiveLane(on_air.pictures, packetised)
        self._sound = LiveLane(on_air.sound, opus_of) if on_air.has_sound else None
        self.profile_level_id = on_air.parameters.profile_level_id
        self.has_sound = on_air.has_sound
        channel.want_key()

    def viewer(self, video: Outgoing, sound: Outgoing | None, wake: Wake, failed: Failed) -> Viewer:
        """See Shown."""
        tracks = [(self._pictures, video)]
        if sound is not None and self._sound is not None:
            tracks.append((self._sound, sound))
        return LiveViewer(tracks, ask_live, self._channel, wake=wake, failed=failed)
