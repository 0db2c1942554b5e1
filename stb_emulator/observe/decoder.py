"""Really decoding what arrived: PyAV in a thread of its own, fed by a bounded pipe, watched picture by picture.

Two kinds of source: a container (``mpegts``, ``mp4``) as a byte stream, and bare H.264 access units with RTP times.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal

import av
import av.error

from stb_emulator.observe.pictures import luma_of
from stb_emulator.observe.pipe import BytePipe, PipeClosed
from stb_emulator.observe.tally import Tally
from stb_emulator.observe.timeline import BufferModel
from stb_emulator.observe.units import UnitQueue

Container = Literal["mpegts", "mp4"]
READ_BYTES = 32 * 1024
OPEN_OPTIONS = {"probesize": "1000000", "analyzeduration": "200000", "fpsprobesize": "0", "fflags": "+discardcorrupt"}
"""Little probing: an old box shows the first picture without seconds of analysis."""


class Decoder:
    """One lesson's decoder. ``start`` on the loop, feed ``pipe`` or ``units``, ``await finish()``, read ``tally``."""

    def __init__(
        self, *, want_s: float | None, buffer: BufferModel, silence_s: float, now: Callable[[], float]
    ) -> None:
        """Decode ``want_s`` seconds of media, or everything when None."""
        self.tally = Tally(buffer)
        self.pipe = BytePipe(silence_s=silence_s)
        self.units = UnitQueue(silence_s=silence_s)
        self.enough = asyncio.Event()
        """Set when all wanted seconds are decoded, or decoding has ended: fetch no more."""
        self._want_s, self._now = want_s, now
        self._loop = asyncio.get_running_loop()
        self._thread: threading.Thread | None = None
        self._ended = asyncio.Event()
        self._held_s = 0.0

    def start(self, kind: Container | Literal["h264"]) -> None:
        """Begin to decode; called by the player when it knows what comes."""
        self.tally.container = kind
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(kind,), name=f"decode-{kind}", daemon=True)
            self._thread.start()

    async def feed(self, data: bytes) -> None:
        """Give bytes of a transport that can be held back; waits while the pipe is full.

        The time that a slow decoder holds the line is taken off the arrival times: it is not the network's fault.

        Raises:
            PipeClosed: decoding has ended.
        """
        at = self._now()
        await self.pipe.write(data, at - self._held_s)
        self._held_s += self._now() - at

    async def finish(self) -> Tally:
        """Tell the decoder that nothing more comes, wait for it, and return what it saw."""
        self.pipe.end()
        self.units.end()
        if self._thread is not None:
            await self._ended.wait()
            self._thread.join()
        self.tally.finish()
        return self.tally

    async def stop(self) -> None:
        """Drop what is not yet decoded and end the thread. Idempotent."""
        self.pipe.abandon()
        self.units.abandon()
        if self._thread is not None:
            await self._ended.wait()
            self._thread.join()

    def _run(self, kind: Container | Literal["h264"]) -> None:
        try:
            if kind == "h264":
                self._bare_units()
            else:
                self._container(kind)
        except PipeClosed:
            pass
        except av.error.FFmpegError as error:
            self.tally.broken = f"{type(error).__name__}: {error.strerror}"
        except Exception as error:
            self.tally.broken = f"{type(error).__name__}: {error}"
        finally:
            self.tally.starved = self.pipe.starved or self.units.starved
            self.pipe.abandon()
            self.units.abandon()
            self._loop.call_soon_threadsafe(self.enough.set)
            self._loop.call_soon_threadsafe(self._ended.set)

    def _container(self, kind: Container) -> None:
        with av.open(self.pipe, "r", format=kind, options=OPEN_OPTIONS, buffer_size=READ_BYTES) as container:
            chosen: list[av.VideoStream | av.AudioStream] = []
            if container.streams.video:
                video = container.streams.video[0]
                _strict(video.codec_context)
                self.tally.video_stream(video)
                chosen.append(video)
            if container.streams.audio:
                audio = container.streams.audio[0]
                _strict(audio.codec_context)
                self.tally.audio_stream(audio)
                chosen.append(audio)
            if not chosen:
                self.tally.broken = "neither picture nor sound in the stream"
                return
            for packet in container.demux(*chosen):
                is_video = packet.stream.type == "video"
                if is_video and packet.dts is not None and packet.pos is not None and packet.time_base is not None:
                    arrived = self.pipe.arrival_of(packet.pos + packet.size)
                    if arrived is not None:
                        self.tally.buffer.arrive(float(packet.dts * packet.time_base), arrived)
                if packet.is_corrupt:
                    self.tally.decode_errors += 1
                self._decode(packet)
                if self._satisfied():
                    return

    def _decode(self, packet: Any) -> None:
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            self.tally.decode_errors += 1
            return
        for frame in frames:
            if isinstance(frame, av.VideoFrame) and frame.time is not None:
                self._picture(frame, frame.time)
            elif isinstance(frame, av.AudioFrame) and frame.time is not None:
                self.tally.sound(frame.time, frame.samples / frame.sample_rate)

    def _picture(self, frame: av.VideoFrame, at_s: float) -> None:
        if self.tally.first_picture_at is None:
            self.tally.first_picture_at = self._now()
        self.tally.picture(luma_of(frame), at_s, corrupt=frame.is_corrupt)

    def _satisfied(self) -> bool:
        return self._want_s is not None and self.tally.decoded_s >= self._want_s

    def _bare_units(self) -> None:
        context = av.VideoCodecContext.create("h264", "r")
        _strict(context)
        for unit in self.units:
            packet = av.Packet(unit.annex_b)
            packet.pts = packet.dts = unit.time_90khz
            packet.time_base = Fraction(1, 90_000)
            self.tally.buffer.arrive(unit.time_90khz / 90_000, unit.arrived)
            self._decode_bare(context, packet)
            if self._satisfied():
                return
        self._decode_bare(context, None)

    def _decode_bare(self, context: av.VideoCodecContext, packet: Any) -> None:
        try:
            frames = context.decode(packet)
        except av.error.InvalidDataError:
            self.tally.decode_errors += 1
            return
        for frame in frames:
            if isinstance(frame, av.VideoFrame) and frame.pts is not None:
                self.tally.video_context(context)
                self._picture(frame, frame.pts / 90_000)


def _strict(context: av.CodecContext) -> None:
    """One thread, and damage is an error instead of something to paint over."""
    context.thread_count = 1
    context.options = {"err_detect": "explode"}
