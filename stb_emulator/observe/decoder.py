"""Really decoding what arrived: PyAV in a thread of its own, fed by a bounded pipe, watched picture by picture.

Two kinds of source: a container (``mpegts``, ``mp4``) as a byte stream, and bare H.264 access units with RTP times.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import av
import av.error

from stb_emulator.observe.keys import Pressing
from stb_emulator.observe.leg import Leg
from stb_emulator.observe.pictures import luma_of
from stb_emulator.observe.pipe import BytePipe, PipeClosed
from stb_emulator.observe.sought import Middle, SoughtFile
from stb_emulator.observe.tally import Tally
from stb_emulator.observe.timeline import AudioTimes, BufferModel, VideoTimes
from stb_emulator.observe.units import UnitQueue

Container = Literal["mpegts", "mp4"]
Kind = Literal["mpegts", "mp4", "h264"]
READ_BYTES = 32 * 1024
STANDS_MAX_S = 3600.0
"""Longest wait for a key to be carried out."""
OPEN_OPTIONS = {"probesize": "1000000", "analyzeduration": "200000", "fpsprobesize": "0", "fflags": "+discardcorrupt"}
"""Little probing: an old box shows the first picture without seconds of analysis."""


@dataclass(frozen=True, slots=True)
class _Playing:
    """What one thread works on."""

    leg: Leg
    pipe: BytePipe
    units: UnitQueue
    ended: asyncio.Event
    """Set when the last leg of a run has ended."""
    done: asyncio.Event
    """Set when this leg has ended."""
    place: Middle | None = None


class Decoder:
    """One lesson's decoder. ``start`` on the loop, feed ``pipe`` or ``units``, ``await finish()``, read ``tally``.

    A key that leads elsewhere begins a new leg with ``cut``: a fresh demultiplexer and decoder, as in a box.
    """

    def __init__(
        self,
        *,
        want_s: float | None,
        buffer: Callable[[], BufferModel],
        silence_s: float,
        now: Callable[[], float],
        keys: int = 0,
    ) -> None:
        """Decode ``want_s`` seconds of media after the last of ``keys`` keys, or everything when None."""
        self._buffer, self._silence_s = buffer, silence_s
        self.tally = Tally([Leg(buffer())])
        self.pipe = BytePipe(silence_s=silence_s)
        self.units = UnitQueue(silence_s=silence_s)
        self.enough = asyncio.Event()
        """Set when all wanted seconds are decoded, or decoding has ended: fetch no more."""
        self._want_s, self._now = want_s, now
        self._loop = asyncio.get_running_loop()
        self._thread: threading.Thread | None = None
        self._kind: Kind = "mpegts"
        self._ended = asyncio.Event()
        self._legs: deque[_Playing] = deque(maxlen=2)
        self._held_s = 0.0
        self._overruns = 0
        self._keys_left = keys
        self._since_s = 0.0
        """What was decoded of this leg when the last key was pressed."""
        self._first_ticks: dict[str, int] = {}
        self._due_s: float | None = None
        self._due = asyncio.Event()
        self._runs = threading.Event()
        """Clear while the picture stands: a key is due, and not yet pressed."""
        self._runs.set()

    def start(self, kind: Kind) -> None:
        """Begin to decode; called by the player when it knows what comes."""
        self.tally.container = self._kind = kind
        if self._thread is None:
            self._begin(None)

    def cut(self, pressing: Pressing, place: Middle | None = None) -> None:
        """Begin a new leg: what is fed from now on does not continue what came before.

        What was fed and is not yet decoded is thrown away, but of winding, whose few pictures a decoder holds back, all
        is shown. A container begins anew: a transport stream anywhere, an MP4 with its head; or, with ``place``, the
        bytes of a whole MP4 from ``place.at_byte`` on are fed.
        """
        leg = self.tally.leg
        leg.is_cut = True
        self.run()
        self.pipe.end()
        self.units.end()
        if not leg.is_wound:
            self._abandon()
        self.count_overruns()
        self._renew(Leg(self._buffer(), begun_by=pressing))
        self._since_s, self._held_s = 0.0, 0.0
        self._ended = asyncio.Event()
        self.enough.clear()
        if self._thread is not None:
            self._begin(self._thread, place)

    async def turn(self) -> None:
        """Begin a new time line where the old one ends: nothing is thrown away, and what is fed from now on follows it.

        Waits while two legs are being decoded: no more than that is held.
        """
        if len(self._legs) == 2:
            await self._legs[0].done.wait()
        self.all_fed()
        self.count_overruns()
        self._renew(Leg(self._buffer(), follows=self.tally.leg))
        if self._thread is not None:
            self._begin(self._thread)

    def _abandon(self) -> None:
        """Drop what is not yet decoded."""
        for each in self._legs:
            if not each.done.is_set() and not each.leg.is_wound:
                each.leg.is_cut = each.leg.is_cut or self.tally.leg.is_cut
                each.pipe.abandon()
                each.units.abandon()
        self.pipe.abandon()
        self.units.abandon()

    def _renew(self, leg: Leg) -> None:
        self._overruns = self.tally.overruns
        self.pipe, self.units = BytePipe(silence_s=self._silence_s), UnitQueue(silence_s=self._silence_s)
        self.tally.legs.append(leg)

    def count_overruns(self) -> None:
        """Write into the tally what there was no room for."""
        self.tally.overruns = self._overruns + self.pipe.overruns + self.units.overruns

    def go_on(self, pressing: Pressing) -> None:
        """Note the end of a pause: what is fed from now on continues what came before."""
        self.tally.leg.resumed_by = pressing
        self.tally.leg.buffer = self._buffer()
        self._since_s = self.tally.leg.run_s
        self.run()

    def run(self) -> None:
        """Decode on, although the key that was due is not carried out: a picture that has come is shown."""
        self._runs.set()

    async def played(self, seconds: float) -> bool:
        """Wait until so many seconds of media are decoded since the last key; False when decoding ended before.

        There the picture stands until ``cut``, ``go_on``, ``run`` or ``pressed``: decoding is faster than playing.
        """
        self._due.clear()
        self._due_s = self._since_s + seconds
        async with asyncio.TaskGroup() as group:
            waits = {group.create_task(self._due.wait()), group.create_task(self._ended.wait())}
            if self.tally.leg.run_s >= self._due_s:
                self._due.set()
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waits:
                    task.cancel()
        is_due, since_s, self._due_s = self._due.is_set(), self._due_s, None
        if is_due:
            self._since_s = since_s
        return is_due

    def pressed(self) -> None:
        """Count one key as done: after the last one, the wanted seconds count."""
        self._keys_left -= 1
        self.run()

    async def feed(self, data: bytes) -> None:
        """Give bytes of a transport that can be held back; waits while the pipe is full.

        The time that a slow decoder holds the line is taken off the arrival times: it is not the network's fault.

        Raises:
            PipeClosed: decoding has ended.
        """
        at = self._now()
        await self.pipe.write(data, at - self._held_s)
        self._held_s += self._now() - at

    def show(self, frame: av.VideoFrame | av.AudioFrame) -> None:
        """Take what the player has decoded itself, as WebRTC does, from any thread; nothing is fed.

        Each track's times are 32 bits from a beginning of its own (RFC 3550 §5.1).
        """
        leg = self.tally.leg
        if frame.pts is None or frame.time_base is None:
            return
        kind = "video" if isinstance(frame, av.VideoFrame) else "audio"
        ticks = (frame.pts - self._first_ticks.setdefault(kind, frame.pts)) & 0xFFFFFFFF
        at_s = float((ticks - (ticks >> 31 << 32)) * frame.time_base)
        if isinstance(frame, av.VideoFrame):
            leg.video = leg.video or "h264"
            leg.video_times = leg.video_times or VideoTimes()
            leg.buffer.arrive(at_s, self._now())
            leg.picture(luma_of(frame), at_s, self._now(), corrupt=frame.is_corrupt)
        else:
            leg.audio = leg.audio or "opus"
            leg.audio_times = leg.audio_times or AudioTimes()
            leg.sound(at_s, frame.samples / frame.sample_rate)
        if self._satisfied(leg):
            self._loop.call_soon_threadsafe(self.enough.set)

    def all_fed(self) -> None:
        """Say that nothing more comes in this leg."""
        self.pipe.end()
        self.units.end()

    async def finish(self) -> Tally:
        """Tell the decoder that nothing more comes, wait for it, and return what it saw."""
        self.all_fed()
        self.run()
        await self._join()
        self.tally.finish()
        return self.tally

    async def stop(self) -> None:
        """Drop what is not yet decoded and end the thread. Idempotent."""
        self._abandon()
        self.run()
        await self._join()

    async def _join(self) -> None:
        if self._thread is not None:
            await self._ended.wait()
            self._thread.join()

    def _begin(self, before: threading.Thread | None, place: Middle | None = None) -> None:
        playing = _Playing(self.tally.leg, self.pipe, self.units, self._ended, asyncio.Event(), place)
        self._legs.append(playing)
        arguments = (self._kind, playing, before)
        self._thread = threading.Thread(target=self._run, args=arguments, name=f"decode-{self._kind}", daemon=True)
        self._thread.start()

    def _run(self, kind: Kind, playing: _Playing, before: threading.Thread | None) -> None:
        leg = playing.leg
        if before is not None:
            before.join()
        if leg.follows is not None:
            leg.before_s = leg.follows.run_s
        try:
            if leg.follows is not None and self._satisfied(leg):
                pass
            elif kind == "h264":
                self._bare_units(playing)
            else:
                self._container(kind, playing)
        except PipeClosed:
            pass
        except av.error.FFmpegError as error:
            leg.broken = f"{type(error).__name__}: {error.strerror}"
        except Exception as error:
            leg.broken = f"{type(error).__name__}: {error}"
        finally:
            leg.starved = playing.pipe.starved or playing.units.starved
            playing.pipe.abandon()
            playing.units.abandon()
            if leg.is_cut:
                leg.broken, leg.starved = "", False
            self._loop.call_soon_threadsafe(self._over, playing)

    def _over(self, playing: _Playing) -> None:
        """On the loop: a leg has ended; decoding too, unless another leg was begun meanwhile."""
        playing.done.set()
        if playing.leg is self.tally.leg:
            playing.ended.set()
            self.enough.set()

    def _container(self, kind: Container, playing: _Playing) -> None:
        leg, pipe, place = playing.leg, playing.pipe, playing.place
        file = pipe if place is None else SoughtFile(place, pipe)
        begin = 0 if place is None else place.at_byte
        with av.open(file, "r", format=kind, options=OPEN_OPTIONS, buffer_size=READ_BYTES) as container:
            chosen: list[av.VideoStream | av.AudioStream] = []
            if container.streams.video:
                video = container.streams.video[0]
                _strict(video.codec_context)
                leg.video_stream(video)
                chosen.append(video)
            if container.streams.audio:
                audio = container.streams.audio[0]
                _strict(audio.codec_context)
                leg.audio_stream(audio)
                chosen.append(audio)
            if not chosen:
                leg.broken = "neither picture nor sound in the stream"
                return
            if place is not None:
                container.seek(round(place.seconds * av.time_base))
            for packet in container.demux(*chosen):
                if leg.is_cut and not leg.is_wound:
                    return  # the demultiplexer gives up a half packet when the pipe is shut
                is_video = packet.stream.type == "video"
                if is_video and packet.dts is not None and packet.pos is not None and packet.time_base is not None:
                    arrived = pipe.arrival_of(packet.pos + packet.size - begin)
                    if arrived is not None:
                        leg.buffer.arrive(float(packet.dts * packet.time_base), arrived)
                if packet.is_corrupt:
                    leg.damaged()
                self._decode(leg, packet)
                if self._satisfied(leg):
                    return

    def _decode(self, leg: Leg, packet: Any) -> None:
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            leg.damaged()
            return
        for frame in frames:
            if isinstance(frame, av.VideoFrame) and frame.time is not None:
                leg.picture(luma_of(frame), frame.time, self._now(), corrupt=frame.is_corrupt)
            elif isinstance(frame, av.AudioFrame) and frame.time is not None:
                leg.sound(frame.time, frame.samples / frame.sample_rate)

    def _satisfied(self, leg: Leg) -> bool:
        """Whether no more need be decoded; tells who waits for a key's time on the way."""
        due_s = self._due_s
        if due_s is not None and leg.run_s >= due_s and not leg.is_cut:
            self._runs.clear()
            self._loop.call_soon_threadsafe(self._due.set)
            self._runs.wait(STANDS_MAX_S)
        if self._want_s is None or self._keys_left > 0:
            return False
        return leg.run_s - self._since_s >= self._want_s

    def _bare_units(self, playing: _Playing) -> None:
        leg = playing.leg
        context = av.VideoCodecContext.create("h264", "r")
        _strict(context)
        for unit in playing.units:
            if leg.is_cut and not leg.is_wound:
                return
            packet = av.Packet(unit.annex_b)
            packet.pts = packet.dts = unit.time_90khz
            packet.time_base = Fraction(1, 90_000)
            leg.buffer.arrive(unit.time_90khz / 90_000, unit.arrived)
            self._decode_bare(leg, context, packet)
            if self._satisfied(leg):
                return
        self._decode_bare(leg, context, None)

    def _decode_bare(self, leg: Leg, context: av.VideoCodecContext, packet: Any) -> None:
        try:
            frames = context.decode(packet)
        except av.error.InvalidDataError:
            leg.damaged()
            return
        for frame in frames:
            if isinstance(frame, av.VideoFrame) and frame.pts is not None:
                leg.video_context(context)
                leg.picture(luma_of(frame), frame.pts / 90_000, self._now(), corrupt=frame.is_corrupt)


def _strict(context: av.CodecContext) -> None:
    """One thread, and damage is an error instead of something to paint over."""
    context.thread_count = 1
    context.options = {"err_detect": "explode"}
