"""Decoded pictures and sound in, one MP4 out: constant rate, time from 0, sound as long as picture."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
import numpy as np
from numpy.typing import NDArray

from central_platform.ingest.targets import AUDIO_BPS, AUDIO_HZ, GOP_S, MP4_OPTIONS, Profile, Shape
from media.probe import VideoFacts

AUDIO_BLOCK = 1024
SOUND_SLACK_S = 0.08
"""Sound may be this far from its time before silence is put in or samples are taken out."""
SD_LINES_MAX = 576
UNSPECIFIED = 2
"""Colour matrix "unspecified" of ITU-T H.273 table 4."""
HOLD_MAX_S = 600.0
"""A picture is shown at most this long while the source has none."""
THREADS = 2


def matrix_of(shape: Shape) -> str:
    """Return the colour matrix in which a picture of this shape is stored, by x264's name."""
    return "bt709" if min(shape.width, shape.height) > SD_LINES_MAX else "smpte170m"


class PictureLane:
    """Turns pictures of any size and time into a constant rate of one shape."""

    def __init__(self, facts: VideoFacts, shape: Shape, emit: Callable[[av.VideoFrame], None]) -> None:
        """``emit`` is called with each picture; ``pts`` counts pictures from 0."""
        self._facts, self.shape, self._emit = facts, shape, emit
        self._graph: Any = None
        self._form: tuple[int, int, str] | None = None
        self._held: av.VideoFrame | None = None
        self.count = 0

    def take(self, frame: av.VideoFrame, time_s: float) -> None:
        """Take one decoded picture, shown from ``time_s`` on."""
        form = (frame.width, frame.height, frame.format.name)
        if form != self._form:
            self._drain()
            self._graph, self._form = self._build(frame), form
        frame.pts, frame.time_base = round(time_s * 90000), Fraction(1, 90000)
        self._graph.push(frame)
        self._pull()

    def finish(self, end_s: float) -> None:
        """Show the last picture until ``end_s``."""
        self._drain()
        while self._held is not None and self.count < round(end_s * self.shape.rate):
            self._put(self._held)

    def _build(self, frame: av.VideoFrame) -> Any:
        graph = av.filter.Graph()
        steps = [
            graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 90000))
        ]
        if self._facts.interlaced:
            steps.append(graph.add("bwdif", "mode=send_frame:deint=interlaced"))
        turn = self._facts.rotation % 360
        for name, arguments in {
            90: [("transpose", "cclock")],
            180: [("hflip", ""), ("vflip", "")],
            270: [("transpose", "clock")],
        }.get(turn, []):
            steps.append(graph.add(name, arguments))
        shape = self.shape
        # Pictures that do not name their colour matrix are, by custom, BT.709 when large and BT.601 when small.
        large = min(frame.width, frame.height) > SD_LINES_MAX
        given = "" if frame.colorspace != UNSPECIFIED else f":in_color_matrix={'bt709' if large else 'smpte170m'}"
        size = f"{shape.width}:{shape.height}:flags=bicubic"
        steps.append(graph.add("scale", f"{size}{given}:out_color_matrix={matrix_of(shape)}:out_range=tv"))
        steps.append(graph.add("setsar", "1"))
        steps.append(graph.add("format", "pix_fmts=yuv420p"))
        steps.append(graph.add("buffersink"))
        for before, after in itertools.pairwise(steps):
            before.link_to(after)
        graph.configure()
        return graph

    def _drain(self) -> None:
        if self._graph is not None:
            self._graph.push(None)
            self._pull()
            self._graph = None

    def _pull(self) -> None:
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            # A quarter of a step early still belongs to its own place: halving 50 to 25 drops every other picture.
            place = int(frame.time * self.shape.rate + 0.25)
            self._fill(place)
            if place >= self.count or self._held is None:
                self._held = frame
                self._put(frame)

    def _fill(self, place: int) -> None:
        """Repeat the held picture up to, not including, this place."""
        most = self.count + int(HOLD_MAX_S * self.shape.rate)
        while self._held is not None and self.count < min(place, most):
            self._put(self._held)

    def _put(self, frame: av.VideoFrame) -> None:
        frame.pts, frame.time_base = self.count, 1 / self.shape.rate
        self.count += 1
        self._emit(frame)


class SoundLane:
    """Turns sound of any kind into 48 kHz stereo blocks whose time is their count."""

    def __init__(self, emit: Callable[[av.AudioFrame], None]) -> None:
        """``emit`` is called with each block."""
        self._emit = emit
        self._resampler: Any = None
        self._form: tuple[str, str, int] | None = None
        self._waiting: list[NDArray[np.float32]] = []
        self._waiting_count = 0
        self.samples = 0
        """Samples taken so far, silence included."""
        self._sent = 0

    def take(self, frame: av.AudioFrame, time_s: float) -> None:
        """Take one decoded frame that begins at ``time_s`` (may be negative: what is before 0 is dropped)."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:
            self._resampler = av.AudioResampler(format="fltp", layout="stereo", rate=AUDIO_HZ)
            self._form = form
        frame.pts = None
        for block in self._resampler.resample(frame):
            data = block.to_ndarray().astype(np.float32, copy=False)
            drift = round(time_s * AUDIO_HZ) - self.samples
            if drift > SOUND_SLACK_S * AUDIO_HZ:
                self.silence(min(drift, round(HOLD_MAX_S * AUDIO_HZ)))
            elif drift < -SOUND_SLACK_S * AUDIO_HZ or (self.samples == 0 and drift < 0):
                data = data[:, min(data.shape[1], -drift) :]
            self._add(data)
            time_s += block.samples / AUDIO_HZ

    def keep_up(self, time_s: float) -> None:
        """Add silence up to a time: a source without sound, written evenly between the pictures."""
        self.silence(round(time_s * AUDIO_HZ) - self.samples)

    def silence(self, samples: int) -> None:
        """Add silence."""
        while samples > 0:
            step = min(samples, AUDIO_HZ)
            self._add(np.zeros((2, step), np.float32))
            samples -= step

    def finish(self, end_s: float) -> None:
        """Make the sound exactly as long as the picture, to the block."""
        wanted = round(end_s * AUDIO_HZ)
        self.silence(wanted - self.samples)
        rest = np.concatenate(self._waiting, axis=1) if self._waiting else np.zeros((2, 0), np.float32)
        rest = rest[:, : max(0, wanted - self._sent)]
        self._waiting, self._waiting_count = [], 0
        if rest.shape[1]:
            self._send(np.pad(rest, ((0, 0), (0, AUDIO_BLOCK - rest.shape[1]))))

    def _add(self, data: NDArray[np.float32]) -> None:
        self._waiting.append(data)
        self._waiting_count += data.shape[1]
        self.samples += data.shape[1]
        if self._waiting_count < AUDIO_BLOCK:
            return
        whole = np.concatenate(self._waiting, axis=1)
        blocks = whole.shape[1] // AUDIO_BLOCK
        for number in range(blocks):
            self._send(whole[:, number * AUDIO_BLOCK : (number + 1) * AUDIO_BLOCK])
        self._waiting = [whole[:, blocks * AUDIO_BLOCK :]]
        self._waiting_count = self._waiting[0].shape[1]

    def _send(self, data: NDArray[np.float32]) -> None:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_HZ, self._sent, Fraction(1, AUDIO_HZ)
        self._sent += AUDIO_BLOCK
        self._emit(frame)


class Encoder:
    """Writes one rendition."""

    def __init__(self, file: Path, profile: Profile, facts: VideoFacts, shape: Shape) -> None:
        """Open the file for writing."""
        self._out = av.open(str(file), "w", format="mp4", options=MP4_OPTIONS)
        keyint = max(1, round(GOP_S * shape.rate))
        video: Any = self._out.add_stream("libx264", rate=shape.rate)
        video.width, video.height, video.pix_fmt = shape.width, shape.height, "yuv420p"
        video.codec_context.time_base = 1 / shape.rate
        video.codec_context.thread_count = THREADS
        video.codec_context.sample_aspect_ratio = Fraction(1)
        video.options = {
            "preset": "veryfast",
            "crf": "22",
            "profile": profile.h264_profile,
            "level": profile.h264_level,
            "maxrate": str(profile.video_max_bps),
            "bufsize": str(profile.buffer_bits),
            "x264-params": f"keyint={keyint}:min-keyint={keyint}:scenecut=0:open-gop=0"
            f":bframes={profile.b_frames}:b-pyramid=none"
            f":colormatrix={matrix_of(shape)}:videoformat=component:fullrange=off",
        }
        audio: Any = self._out.add_stream("aac", rate=AUDIO_HZ, layout="stereo")
        audio.bit_rate = AUDIO_BPS
        self._video, self._audio = video, audio
        self.pictures = PictureLane(facts, shape, self._picture)

    def sound(self, frame: av.AudioFrame) -> None:
        """Encode one block of sound."""
        self._out.mux(self._audio.encode(frame))

    def close(self) -> None:
        """Write what is left and the index."""
        self._out.mux(self._video.encode(None))
        self._out.mux(self._audio.encode(None))
        self._out.close()

    def abort(self) -> None:
        """Give the file up."""
        self._out.close()

    def _picture(self, frame: av.VideoFrame) -> None:
        frame.pict_type = 0
        self._out.mux(self._video.encode(frame))
