"""One stretch of playing without a jump in it: from the beginning, or from a key that leads elsewhere, to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

import av

from stb_emulator.observe.keys import Key, Pressing
from stb_emulator.observe.pictures import Luma, NumberWatch, StillWatch
from stb_emulator.observe.timeline import AudioTimes, BufferModel, VideoTimes


@dataclass(slots=True, eq=False)
class Leg:
    """What was decoded in it. Written by the decoder's thread."""

    buffer: BufferModel
    begun_by: Pressing | None = None
    """The key that led here; None: the beginning."""
    follows: Leg | None = None
    """The leg that this one goes on from on another time line, without a key."""
    before_s: float = 0.0
    """Seconds decoded between the key before, or the beginning, and this leg."""
    resumed_by: Pressing | None = None
    """The newest end of a pause in this leg."""
    video_times: VideoTimes | None = None
    audio_times: AudioTimes | None = None
    frames: int = 0
    audio_frames: int = 0
    decode_errors: int = 0
    first_picture_at: float | None = None
    video: str = ""
    audio: str = ""
    width: int = 0
    height: int = 0
    level: int = 0
    broken: str = ""
    """Why decoding ended early; empty when it did not."""
    starved: bool = False
    is_cut: bool = False
    """Left by a key: what was not yet decoded is not missed."""
    numbers: NumberWatch = field(default_factory=NumberWatch)
    still: StillWatch = field(default_factory=StillWatch)

    @property
    def is_wound(self) -> bool:
        """Whether it was played at another speed, or backwards."""
        return self.begun_by is not None and self.begun_by.key is Key.TRICK

    def damaged(self) -> None:
        """Something could not be decoded; when a key cut it off, that is no fault."""
        self.decode_errors += not self.is_cut

    def video_stream(self, stream: av.VideoStream) -> None:
        """A video track was found."""
        rate = stream.average_rate or stream.guessed_rate
        self.video_times = VideoTimes(1 / float(rate) if rate else 0.04, leads_in=self.begun_by is not None)
        self.video_context(stream.codec_context)

    def video_context(self, context: av.CodecContext) -> None:
        """Note what the decoder says of the video."""
        if self.video_times is None:
            self.video_times = VideoTimes(leads_in=self.begun_by is not None)
        self.video = context.name
        if isinstance(context, av.VideoCodecContext):
            self.width, self.height = context.width, context.height
            self.level = getattr(context, "level", 0) or 0

    def audio_stream(self, stream: av.AudioStream) -> None:
        """An audio track was found."""
        self.audio_times = AudioTimes()
        self.audio = stream.codec_context.name

    def picture(self, luma: Luma, at_s: float, now: float, *, corrupt: bool) -> None:
        """A picture was decoded, at ``now``."""
        assert self.video_times is not None
        if self.first_picture_at is None:
            self.first_picture_at = now
        for pressing in (self.begun_by, self.resumed_by):
            if pressing is not None and pressing.first_picture_at is None:
                pressing.first_picture_at = now
        shown_s = self.video_times.picture(at_s)
        self.frames += 1
        self.decode_errors += corrupt
        self.height, self.width = luma.shape
        self.still.picture(luma, shown_s)
        self.numbers.picture(luma)

    def sound(self, at_s: float, lasts_s: float) -> None:
        """A block of sound was decoded."""
        assert self.audio_times is not None
        self.audio_frames += 1
        self.audio_times.block(at_s, lasts_s)

    @property
    def decoded_s(self) -> float:
        """Seconds decoded of whichever track is behind."""
        tracks = [t for t in (self.video_times, self.audio_times) if t is not None]
        return min((0.0 if t.first_s is None else t.end_s - t.first_s for t in tracks), default=0.0)

    @property
    def run_s(self) -> float:
        """Seconds decoded since the key before, or the beginning, over all time lines."""
        return self.before_s + self.decoded_s

    @property
    def played_s(self) -> float:
        """From the first moment of picture or sound to the last."""
        firsts = [t.first_s for t in (self.video_times, self.audio_times) if t is not None and t.first_s is not None]
        if not firsts:
            return 0.0
        ends = [t.end_s for t in (self.video_times, self.audio_times) if t is not None and t.first_s is not None]
        return max(ends) - min(firsts)
