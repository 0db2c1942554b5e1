"""Servers written by hand from the protocol notes, with the misbehaviour a test asks for; and tiny media from FFmpeg.

Nothing of ours is imported: raw sockets and PyAV only.
"""

import asyncio
import struct
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler):
    """Serve on a free port of 127.0.0.1; yields the port."""
    connections = set()

    async def one(reader, writer):
        connections.add(asyncio.current_task())
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.wait(connections) if connections else None


def draw_code(luma: np.ndarray, number: int) -> None:
    """Paint the frame number as docs/frame_code.md says."""
    crc = 0
    for byte in number.to_bytes(3, "big"):
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1) ^ 0x07 if crc & 0x80 else crc << 1
            crc &= 0xFF
    bits = f"1010{number:020b}{crc:08b}"
    height, width = luma.shape
    for i, bit in enumerate(bits):
        luma[: height // 8, round(i * width / 32) : round((i + 1) * width / 32)] = 235 if bit == "1" else 16


def make_media(kind: str, frames: int = 50, *, coded: bool = True, size=(320, 240), skip=(), options=None) -> bytes:
    """Encode a lesson with FFmpeg's own muxer: H.264 with counted frames (``skip``: numbers left out) and AAC."""
    width, height = size
    with tempfile.NamedTemporaryFile() as sink, av.open(sink.name, "w", format=kind, options=options or {}) as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {"preset": "veryfast", "crf": "28", "x264-params": "keyint=25:scenecut=0:threads=1"}
        audio = out.add_stream("aac", rate=48000, layout="stereo")
        samples = 0
        numbers = [n for n in range(frames + len(skip)) if n not in skip]
        for at, number in enumerate(numbers):
            picture = np.full((height * 3 // 2, width), 128, np.uint8)
            picture[height // 2 : height, :] = (number * 5) % 200 + 20
            if coded:
                draw_code(picture[:height], number)
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = at, Fraction(1, 25)
            out.mux(video.encode(frame))
            while samples + 1024 <= (at + 1) * 1920:
                wave = (np.sin(np.arange(samples, samples + 1024) * 0.13) * 0.2).astype(np.float32)
                sound = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
                sound.rate, sound.pts, sound.time_base = 48000, samples, Fraction(1, 48000)
                out.mux(audio.encode(sound))
                samples += 1024
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
        out.close()
        return Path(sink.name).read_bytes()


class HttpFiles:
    """A small HTTP/1.1 server of bytes by path, with Range; ``odd`` answers replace a path's normal one."""

    def __init__(self, files: dict[str, tuple[str, bytes]]) -> None:
        self.files = files
        self.odd: dict[str, list[bytes]] = {}
        """Raw replies, used up one a request; the connection is closed after each."""
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    async def __call__(self, reader, writer) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            start, *lines = head.decode("latin-1").strip().split("\r\n")
            method, target, _ = start.split(" ")
            headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.asked.append((method, target, headers, body))
            if self.odd.get(target):
                writer.write(self.odd[target].pop(0))
                await writer.drain()
                return
            writer.write(self.answer(target.partition("?")[0], headers))
            await writer.drain()

    def answer(self, path: str, headers: dict[str, str]) -> bytes:
        if path not in self.files:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        kind, data = self.files[path]
        first, last, status = 0, len(data) - 1, "200 OK"
        if headers.get("range", "").startswith("bytes="):
            begin, _, end = headers["range"][6:].partition("-")
            first, last, status = int(begin), min(last, int(end) if end else last), "206 Partial Content"
        head = f'HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {last - first + 1}\r\nETag: "v1"\r\n'
        if status[0:3] == "206":
            head += f"Content-Range: bytes {first}-{last}/{len(data)}\r\n"
        return head.encode() + b"\r\n" + data[first : last + 1]


class RtspScript:
    """An RTSP server of one MPEG-TS lesson from stb_protocols §4 and §12.2; ``odd`` is its misbehaviour."""

    def __init__(self, ts: bytes, seconds: float, *, answer: str, **odd) -> None:
        self.ts, self.seconds, self.answer = ts, seconds, answer
        self.odd = odd
        self.asked: list[str] = []
        self.transport = ""

    async def __call__(self, reader, writer) -> None:
        port = writer.get_extra_info("sockname")[1]
        while head := await reader.readuntil(b"\r\n\r\n"):
            text = head.decode()
            method = text.split(" ", 1)[0]
            fields = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in text.split("\r\n")[1:])}
            await reader.readexactly(int(fields.get("content-length", "0")))
            self.asked.append(text)
            if raw := self.odd.get(method.lower()):
                writer.write(raw.replace(b"{cseq}", fields["cseq"].encode()))
                if self.odd.get("hang_up"):
                    return
                continue
            ok = f"RTSP/1.0 200 OK\r\nCSeq: {fields['cseq']}\r\n"
            if method == "DESCRIBE":
                base = f"rtsp://127.0.0.1:{port}/vod/7.mpg/"
                sdp = (
                    f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=7\r\nt=0 0\r\na=range:npt=0-{self.seconds}\r\n"
                    "m=video 0 RTP/AVP 33\r\na=control:trackID=1\r\n"
                )
                kind = f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}"
                writer.write(f"{ok}Content-Base: {base}\r\n{kind}\r\n\r\n{sdp}".encode())
            elif method == "SETUP":
                self.transport = fields["transport"]
                if "udp" in self.answer.lower() or self.answer == "RTP/AVP":
                    ports = next(
                        p.partition("=")[2]
                        for t in self.transport.split(",")
                        if t.startswith(self.answer + ";")
                        for p in t.split(";")
                        if p.startswith("client_port=")
                    )
                    self.udp = await self._udp(int(ports.split("-")[0]))
                    own = self.udp.get_extra_info("sockname")[1]
                    chosen = f"{self.answer};unicast;client_port={ports};server_port={own}-{own + 1}"
                else:
                    chosen = f"{self.answer};unicast;interleaved=0-1;source=127.0.0.1"
                writer.write(f"{ok}Session: 5A17;timeout=180\r\nTransport: {chosen}\r\n\r\n".encode())
            elif method == "PLAY":
                writer.write(f"{ok}Session: 5A17\r\nRange: npt=0.000-{self.seconds}\r\nScale: 1\r\n\r\n".encode())
                await self._data(writer)
                if not self.odd.get("silent_end"):
                    announce = f"ANNOUNCE rtsp://127.0.0.1:{port}/vod/7.mpg RTSP/1.0\r\nCSeq: 900\r\nSession: 5A17\r\n"
                    writer.write(f"{announce}x-notice: 2101 End-of-Stream\r\n\r\n".encode())
            elif method == "TEARDOWN":
                writer.write(f"{ok}Session: 5A17\r\n\r\n".encode())
                await writer.drain()
                return
            else:
                writer.write(f"{ok}Session: 5A17\r\n\r\n".encode())
            await writer.drain()

    async def _udp(self, port: int):
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0), remote_addr=("127.0.0.1", port)
        )
        return transport

    async def _data(self, writer) -> None:
        rtp = "RTP" in self.answer
        packets = [self.ts[i : i + 1316] for i in range(0, len(self.ts), 1316)]
        packets = packets[: self.odd.get("only", len(packets))]
        numbered = list(enumerate(packets))
        for at in self.odd.get("lose", ()):
            numbered = [p for p in numbered if p[0] != at]
        for at in self.odd.get("swap", ()):
            numbered[at], numbered[at + 1] = numbered[at + 1], numbered[at]
        for at in self.odd.get("twice", ()):
            numbered.insert(at, numbered[at])
        for count, (number, payload) in enumerate(numbered):
            head = struct.pack(">BBHII", 0x80, 33, (65530 + number) & 0xFFFF, number * 100, 0x1234) if rtp else b""
            frame = head + payload
            if "TCP" in self.answer:
                writer.write(b"$\0" + len(frame).to_bytes(2, "big") + frame)
            else:
                self.udp.sendto(frame)
            if count % 8 == 0:
                await asyncio.sleep(0.002)
        if "TCP" not in self.answer:
            await asyncio.sleep(0.05)
            self.udp.close()
