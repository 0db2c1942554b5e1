"""What one playing showed, counted as it goes: written by the decoder's thread and the player, read by the judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from stb_emulator.observe import FrameCode
from stb_emulator.observe.keys import Key, Pressing
from stb_emulator.observe.leg import Leg
from stb_emulator.observe.timeline import BufferModel

WARNINGS_MAX = 20


@dataclass(slots=True)
class Tally:
    """The numbers of one playing. What was decoded is counted leg by leg; the rest is the player's, over all legs."""

    legs: list[Leg]
    pressings: list[Pressing] = field(default_factory=list)
    container: str = ""
    """What the player unpacks: ``mpegts``, ``mp4``, or ``h264`` straight from RTP."""
    announced_s: float | None = None
    """Duration that SDP, playlist or catalogue announced."""
    transport: str = ""
    asked_at: float | None = None
    """When the player asked for the media."""
    ended: str = ""
    """How the server said that the lesson is over, e.g. ``ANNOUNCE 2101``; empty when it did not."""
    redirects: int = 0
    """How often the player was sent elsewhere."""
    beats: int = 0
    """Signs of life that the player sent."""
    beats_answered: int = 0
    lost: int = 0
    reordered: int = 0
    duplicates: int = 0
    continuity_errors: int = 0
    expired: int = 0
    """Segments that had left the list before they were fetched."""
    overruns: int = 0
    """Packets that this program itself was too slow for."""
    bytes: int = 0
    pictures: int = 0
    """Still pictures decoded (picture-text lessons)."""
    deviations: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def leg(self) -> Leg:
        """The leg that plays now."""
        return self.legs[-1]

    def press(
        self, key: Key, at: float, asked: str, *, wanted_s: float | None = None, scale: int = 1, grain_s: float = 0.0
    ) -> Pressing:
        """Record that a key is pressed. Give the result to ``Decoder.cut`` or ``Decoder.go_on``, and fill it in.

        ``wanted_s``: the place asked for; ``grain_s``: how coarse this way of playing seeks at best.
        """
        pressing = Pressing(key, at, asked, wanted_s=wanted_s, scale=scale, grain_s=grain_s)
        self.pressings.append(pressing)
        return pressing

    def no_key(self, key: Key, at: float, words: str, *, scale: int = 1) -> None:
        """Record that this box has no such key; ``words`` say why (on the report: what was answered)."""
        self.pressings.append(Pressing(key, at, answered=words, scale=scale, has_key=False))

    def warn(self, text: str) -> None:
        """Remember something odd that does not fail the lesson."""
        if text not in self.warnings and len(self.warnings) < WARNINGS_MAX:
            self.warnings.append(text)

    def deviate(self, kind: str) -> None:
        """Remember a deviation from the protocol, each kind once."""
        if kind not in self.deviations and len(self.deviations) < WARNINGS_MAX:
            self.deviations.append(kind)

    @property
    def frames(self) -> int:
        """Pictures decoded in all legs."""
        return sum(leg.frames for leg in self.legs)

    @property
    def audio_frames(self) -> int:
        """Blocks of sound decoded in all legs."""
        return sum(leg.audio_frames for leg in self.legs)

    @property
    def decode_errors(self) -> int:
        """Decoding errors in all legs."""
        return sum(leg.decode_errors for leg in self.legs)

    @property
    def first_picture_at(self) -> float | None:
        """When the very first picture was there."""
        return next((leg.first_picture_at for leg in self.legs if leg.first_picture_at is not None), None)

    @property
    def seen(self) -> Leg:
        """The first leg that showed what the media are."""
        return next((leg for leg in self.legs if leg.video or leg.audio), self.legs[0])

    @property
    def buffers(self) -> Iterator[BufferModel]:
        """The models of a viewer's buffer."""
        return (leg.buffer for leg in self.legs)

    @property
    def played_s(self) -> float:
        """Seconds of media played in all legs."""
        return sum(leg.played_s for leg in self.legs)

    @property
    def frame_code(self) -> FrameCode | None:
        """What the painted numbers of the first leg say."""
        return self.legs[0].numbers.result()

    def finish(self) -> None:
        """Nothing more will be decoded."""
        for buffer in self.buffers:
            buffer.finish()
