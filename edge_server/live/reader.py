"""A process that speaks to one source and writes records: ``python -m edge_server.live.reader``.

The address comes as one line of JSON on stdin; the process ends when its stdin does. Whatever a hostile source makes
of libav happens here, and not in the process that serves.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import av
import av.error
import msgspec
from av.bitstream import BitStreamFilterContext

from edge_server.live import SAMPLE_MAX_BYTES, TICKS_PER_S, Kind, Sample
from edge_server.live.records import HEAD, read_head, write_record
from edge_server.live.sound import TAKEN, Sound
from runtime.clock import Clock, SystemClock

OPEN_MAX_S, SILENT_MAX_S = 15.0, 10.0
"""A source that says nothing for so long is left; the next try begins with a greeting."""
BROKEN_MAX_COUNT = 200
"""Packets in a row that cannot be read."""
_PROBE = {"analyzeduration": "1500000", "probesize": "2000000"}
_KILL_WITH_PARENT = 1
"""PR_SET_PDEATHSIG (prctl(2))."""


class NotTaken(Exception):
    """The source cannot be relayed; the words are for people."""


def kinds_of(url: str) -> tuple[str, dict[str, str], bool]:
    """Return what libav is told: address, options, and whether it waits to be called."""
    parts = urlsplit(url)
    if parts.scheme == "rtsp":
        return url, {"rtsp_transport": "tcp", "timeout": str(int(OPEN_MAX_S * 1e6)), **_PROBE}, False
    if parts.scheme == "rtmp":
        query = [(name, value) for name, value in parse_qsl(parts.query) if name != "mode"]
        listens = ("mode", "listener") in parse_qsl(parts.query)
        plain = urlunsplit(parts._replace(query=urlencode(query)))
        return plain, {**_PROBE, **({"listen": "1"} if listens else {})}, listens
    if parts.scheme == "file":
        return parts.path, {}, False
    return url, dict(_PROBE), ("mode", "listener") in parse_qsl(parts.query)


@contextmanager
def opened(url: str) -> Iterator[Any]:
    """Open the source.

    Raises:
        av.error.FFmpegError: it cannot be.
        OSError: nor started.
    """
    address, options, listens = kinds_of(url)
    wait_s = None if listens else OPEN_MAX_S
    if not address.startswith("srt:"):
        with av.open(address, options=options, timeout=(wait_s, SILENT_MAX_S)) as container:
            yield container
        return
    # The libav of the wheel has no SRT, that of the system has.
    probe = [word for name, value in _PROBE.items() for word in (f"-{name}", value)]
    command = ["ffmpeg", "-nostdin", "-v", "error", *probe, "-i", address, "-map", "0:v?", "-map", "0:a?"]
    libc = ctypes.CDLL(None)
    process = subprocess.Popen(
        [*command, "-c", "copy", "-f", "mpegts", "-flush_packets", "1", "pipe:1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: libc.prctl(_KILL_WITH_PARENT, signal.SIGKILL),
    )
    assert process.stdout is not None
    try:
        with av.open(process.stdout, format="mpegts", options=dict(_PROBE)) as container:
            yield container
    finally:
        process.kill()
        process.wait()


def relay(url: str, write: Callable[[bytes], None], clock: Clock) -> None:
    """Write records of a source until it ends.

    Raises:
        NotTaken: see there.
        av.error.FFmpegError: it broke off.
        OSError: likewise.
    """
    with opened(url) as container:
        pictures = next(iter(container.streams.video), None)
        if pictures is None:
            raise NotTaken("来源没有视频 / the source has no video")
        codec = pictures.codec_context
        if codec is None or codec.name != "h264":
            name = codec.name if codec is not None else "?"
            raise NotTaken(f"视频是 {name}，直播只转发 H.264 / the video is {name}; live channels relay H.264 only")
        heard = next((each for each in container.streams.audio if _name(each) in TAKEN), None)
        for each in container.streams.audio:
            if heard is None:
                words = f"声音是 {_name(each)}，未转发 / the sound is {_name(each)}; it is left out"
                write(write_record(Sample(Kind.WORDS, 0, 0, words.encode())))
                break
        write(write_record(Sample(Kind.BEGIN, 0, 0, b"sound" if heard is not None else b"")))
        filtered = BitStreamFilterContext("h264_mp4toannexb", pictures)
        extradata = bytes(codec.extradata or b"")
        if extradata.startswith((b"\0\0\1", b"\0\0\0\1")):
            write(write_record(Sample(Kind.PARAMETERS, 0, 0, extradata)))
        sound = None
        if heard is not None:
            context = heard.codec_context
            sound = Sound(_name(heard), context, bytes(context.extradata or b""), write)
        wanted = [pictures] if heard is None else [pictures, heard]
        whole = _Whole(write) if urlsplit(url).scheme == "rtsp" else None
        pace = _Pace(clock) if urlsplit(url).scheme == "file" else None
        broken = 0
        for packet in container.demux(*wanted):
            if packet.pts is None and packet.dts is None:
                continue  # the end, or nobody knows when
            if packet.size > SAMPLE_MAX_BYTES:
                raise NotTaken(f"一帧超过 {SAMPLE_MAX_BYTES} 字节 / a picture of over {SAMPLE_MAX_BYTES} bytes")
            dts = _ticks(packet, packet.dts if packet.dts is not None else packet.pts)
            pts = _ticks(packet, packet.pts if packet.pts is not None else packet.dts)
            if pace is not None:
                pace.wait(dts)
            if packet.stream is not pictures:
                if sound is not None:
                    sound.take(packet, pts)
                continue
            kind = Kind.KEY_PICTURE if packet.is_keyframe else Kind.PICTURE
            try:
                for each in filtered.filter(packet):
                    sample = Sample(kind, pts, dts, bytes(each))
                    whole.take(sample) if whole is not None else write(write_record(sample))
                broken = 0
            except av.error.FFmpegError as error:
                broken += 1
                if broken > BROKEN_MAX_COUNT:
                    raise NotTaken("视频数据损坏 / the video is damaged") from error


class _Whole:
    """Puts pieces of one moment together: RTP senders may mark every slice as the end of its picture."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._held: Sample | None = None

    def take(self, sample: Sample) -> None:
        """Take a piece; what was before it is whole when this is of another moment."""
        held = self._held
        if held is None or held.pts != sample.pts:
            if held is not None:
                self._write(write_record(held))
            self._held = sample
        elif len(held.data) + len(sample.data) <= SAMPLE_MAX_BYTES:
            self._held = Sample(max(held.kind, sample.kind), held.pts, held.dts, held.data + sample.data)


class _Pace:
    """Lets a recorded lesson take its time."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._zero_s = clock, 0.0
        self._first: int | None = None
        self._never = threading.Event()

    def wait(self, dts: int) -> None:
        """Return when it is time for that."""
        if self._first is None:
            self._first, self._zero_s = dts, self._clock.monotonic()
        due_s = self._zero_s + (dts - self._first) / TICKS_PER_S
        self._never.wait(max(0.0, due_s - self._clock.monotonic()))


def voice(source: BinaryIO, write: Callable[[bytes], None]) -> None:
    """Turn records of Opus into records of AAC, until there are none."""
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48_000, "stereo"
    sound = Sound("opus", decoder, b"", lambda record: write(record) if record[0] == Kind.AAC else None)
    while len(head := source.read(HEAD.size)) == HEAD.size:
        _, pts, _, length = read_head(head)
        sound.take(av.Packet(source.read(length)), pts)


def _name(stream: Any) -> str:
    context = stream.codec_context
    return "?" if context is None else str(context.codec.canonical_name)


def _ticks(packet: Any, value: int) -> int:
    base = packet.time_base
    return int(value * TICKS_PER_S * base.numerator // base.denominator)


def main() -> None:
    """Do what the first line of stdin says."""
    source, out = cast(BinaryIO, sys.stdin.buffer), sys.stdout.buffer
    url = msgspec.json.decode(source.readline(), type=str)

    def write(record: bytes) -> None:
        out.write(record)
        out.flush()

    def watch() -> None:
        source.read()  # whoever started us is gone, or has enough
        os._exit(0)

    try:
        if not url:
            voice(source, write)
        else:
            threading.Thread(target=watch, daemon=True).start()
            relay(url, write, SystemClock())
    except NotTaken as error:
        write(write_record(Sample(Kind.WORDS, 0, 0, str(error).encode())))
    except BrokenPipeError:
        os._exit(0)
    except av.error.ExitError:
        words = f"来源 {SILENT_MAX_S:g} 秒没有数据 / nothing came from the source for {SILENT_MAX_S:g} s"
        write(write_record(Sample(Kind.WORDS, 0, 0, words.encode())))
    except (av.error.FFmpegError, OSError) as error:
        words = f"来源读不到 / the source cannot be read: {error.strerror or type(error).__name__}"
        write(write_record(Sample(Kind.WORDS, 0, 0, words.encode())))
    os._exit(0)


if __name__ == "__main__":
    main()
