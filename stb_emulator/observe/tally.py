"""What one playing showed, counted as it goes: written by the decoder's thread and the player, read by the judge."""

from __future__ import annotations

from dataclasses import dataclass, field

import av

from stb_emulator.observe import FrameCode
from stb_emulator.observe.pictures import Luma, NumberWatch, StillWatch
from stb_emulator.observe.timeline import AudioTimes, BufferModel, VideoTimes

WARNINGS_MAX = 20


@dataclass(slots=True)
class Tally:
    """The numbers of one playing. The decoder owns the first part, the player the second."""

    buffer: BufferModel
    video_times: VideoTimes | None = None
    audio_times: AudioTimes | None = None
    frames: int = 0
    audio_frames: int = 0
    decode_errors: int = 0
    first_picture_at: float | None = None
    container: str = ""
    """What the player unpacks: ``mpegts``, ``mp4``, or ``h264`` straight from RTP."""
    video: str = ""
    audio: str = ""
    width: int = 0
    height: int = 0
    level: int = 0
    broken: str = ""
    """Why decoding ended early; empty when it did not."""
    starved: bool = False
    numbers: NumberWatch = field(default_factory=NumberWatch)
    still: StillWatch = field(default_factory=StillWatch)

    announced_s: float | None = None
    """Duration that SDP, playlist or catalogue announced."""
    transport: str = ""
    asked_at: float | None = None
    """When the player asked for the media."""
    lost: int = 0
    reordered: int = 0
    duplicates: int = 0
    continuity_errors: int = 0
    overruns: int = 0
    """Packets that this program itself was too slow for."""
    bytes: int = 0
    pictures: int = 0
    """Still pictures decoded (picture-text lessons)."""
    deviations: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Remember something odd that does not fail the lesson."""
        if text not in self.warnings and len(self.warnings) < WARNINGS_MAX:
            self.warnings.append(text)

    def deviate(self, kind: str) -> None:
        """Remember a deviation from the protocol, each kind once."""
        if kind not in self.deviations and len(self.deviations) < WARNINGS_MAX:
            self.deviations.append(kind)

    def video_stream(self, stream: av.VideoStream) -> None:
        """A video track was found."""
        rate = stream.average_rate or stream.guessed_rate
        self.video_times = VideoTimes(1 / float(rate)) if rate else VideoTimes()
        self.video_context(stream.codec_context)

    def video_context(self, context: av.CodecContext) -> None:
        """Note what the decoder says of the video."""
        if self.video_times is None:
            self.video_times = VideoTimes()
        self.video = context.name
        if isinstance(context, av.VideoCodecContext):
            self.width, self.height = context.width, context.height
            self.level = getattr(context, "level", 0) or 0

    def audio_stream(self, stream: av.AudioStream) -> None:
        """An audio track was found."""
        self.audio_times = AudioTimes()
        self.audio = stream.codec_context.name

    def picture(self, luma: Luma, at_s: float, *, corrupt: bool) -> None:
        """A picture was decoded."""
        assert self.video_times is not None
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
    def played_s(self) -> float:
        """From the first moment of picture or sound to the last."""
        firsts = [t.first_s for t in (self.video_times, self.audio_times) if t is not None and t.first_s is not None]
        if not firsts:
            return 0.0
        ends = [t.end_s for t in (self.video_times, self.audio_times) if t is not None and t.first_s is not None]
        return max(ends) - min(firsts)

    @property
    def frame_code(self) -> FrameCode | None:
        """What the painted numbers say."""
        return self.numbers.result()

    def finish(self) -> None:
        """Nothing more will be decoded."""
        self.buffer.finish()
