"""An RTSP server of one MPEG-TS lesson that obeys keys, from stb_protocols §4.7; ``odd`` is its misbehaviour.

Nothing of ours is imported: raw sockets and PyAV only. It sends inside the connection, faster than real time.
"""

import asyncio
import io
import struct

import av

PACKET = 188
PIECE = 7 * PACKET
PACE_S = 0.002
VIDEO = 256


class RtspKeys:
    """One lesson, one viewer.

    ``odd`` may have: ``elsewhere`` (a PLAY with Range shows what is so many seconds from there, and does not say so),
    ``says`` (the Range of such an answer), ``refuses`` (its status), ``loses`` (packets missing after a pause),
    ``mute`` (nothing comes after a key), ``backwards`` (winding goes the wrong way), ``no_scale`` (winding is answered
    with Scale 1), ``no_end`` (the end is not announced).
    """

    def __init__(self, ts: bytes, seconds: float, **odd) -> None:
        self.ts, self.seconds, self.odd = ts, seconds, odd
        self.asked: list[str] = []
        with av.open(io.BytesIO(ts), format="mpegts") as container:
            found = [p.pos for p in container.demux(video=0) if p.is_keyframe and p.pos is not None]
        # the muxer writes PAT and PMT in front of every picture: one key picture a second
        self.starts = [self._pat_before(each) for each in found]

    def _pat_before(self, at: int) -> int:
        while struct.unpack_from(">H", self.ts, at + 1)[0] & 0x1FFF:
            at -= PACKET
        return at

    async def __call__(self, reader, writer) -> None:
        self.at, self.sequence, self.sending, self.paused = 0, 0, None, False
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                text = head.decode()
                fields = {n.lower(): v.strip() for n, _, v in (each.partition(":") for each in text.split("\r\n")[1:])}
                await reader.readexactly(int(fields.get("content-length", "0")))
                self.asked.append(text)
                self.answer(writer, text.split(" ", 1)[0], fields)
                await writer.drain()
        finally:
            self.stop()

    def answer(self, writer, method: str, fields: dict[str, str]) -> None:
        port = writer.get_extra_info("sockname")[1]
        ok = f"RTSP/1.0 200 OK\r\nCSeq: {fields['cseq']}\r\n"
        if method == "DESCRIBE":
            sdp = (
                f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=7\r\nt=0 0\r\na=range:npt=0-{self.seconds}\r\n"
                "m=video 0 RTP/AVP 33\r\na=control:trackID=1\r\n"
            )
            kind = f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}"
            writer.write(f"{ok}Content-Base: rtsp://127.0.0.1:{port}/7/\r\n{kind}\r\n\r\n{sdp}".encode())
        elif method == "SETUP":
            writer.write(f"{ok}Session: 5A17\r\nTransport: MP2T/RTP/TCP;unicast;interleaved=0-1\r\n\r\n".encode())
        elif method == "PAUSE":
            self.stop()
            self.paused = True
            writer.write(f"{ok}Session: 5A17\r\n\r\n".encode())
        elif method == "PLAY":
            self.play(writer, ok, fields)
        else:
            self.stop()
            writer.write(f"{ok}Session: 5A17\r\n\r\n".encode())

    def play(self, writer, ok: str, fields: dict[str, str]) -> None:
        self.stop()
        scale, window = float(fields.get("scale", "1")), fields.get("range", "npt=now-")
        start = window.removeprefix("npt=").split("-")[0]
        begin = 0.0 if start == "beginning" else self.now() if start == "now" else float(start)
        moved = start not in ("now", "0")
        if moved and (status := self.odd.get("refuses")):
            writer.write(f"RTSP/1.0 {status} No\r\nCSeq: {fields['cseq']}\r\n\r\n".encode())
            return
        if moved or scale != 1:
            begin = float(int(begin))  # at a key picture
            self.at = self.starts[min(len(self.starts) - 1, int(begin + (self.odd.get("elsewhere", 0) * moved)))]
        elif self.paused:
            self.at += self.odd.get("loses", 0) * PIECE
        said = self.odd.get("says", begin) if moved else begin
        said_scale = 1.0 if self.odd.get("no_scale") else scale
        writer.write(
            f"{ok}Session: 5A17\r\nRange: npt={said:.3f}-{self.seconds}\r\nScale: {said_scale}\r\n\r\n".encode()
        )
        if self.odd.get("mute") and (moved or scale != 1 or self.paused):
            return
        wind = scale != 1 and not self.odd.get("no_scale")
        self.paused = False
        self.sending = asyncio.ensure_future(self.wound(writer, scale) if wind else self.straight(writer))

    def now(self) -> float:
        return max([n for n, each in enumerate(self.starts) if each <= self.at], default=0.0)

    def stop(self) -> None:
        if self.sending is not None:
            self.sending.cancel()
            self.sending = None

    async def straight(self, writer) -> None:
        while self.at < len(self.ts):
            self.frame(writer, self.ts[self.at : self.at + PIECE])
            self.at += PIECE
            await writer.drain()
            await asyncio.sleep(PACE_S)
        if not self.odd.get("no_end"):
            writer.write(b"ANNOUNCE rtsp://x/7 RTSP/1.0\r\nCSeq: 900\r\nx-notice: 2101 End-of-Stream\r\n\r\n")

    async def wound(self, writer, scale: float) -> None:
        """Key pictures only, counted anew, the times of the file."""
        step = 1 if (scale > 0) is not bool(self.odd.get("backwards")) else -1
        number, counters = self.starts.index(self.at), {}
        while 0 <= number < len(self.starts):
            self.at = self.starts[number]
            for packet in self.picture(self.at):
                pid = struct.unpack_from(">H", packet, 1)[0] & 0x1FFF
                counters[pid] = (counters.get(pid, -1) + 1) & 15
                self.frame(writer, packet[:3] + bytes([packet[3] & 0xF0 | counters[pid]]) + packet[4:])
            await writer.drain()
            await asyncio.sleep(0.1)
            number += step

    def picture(self, at: int):
        """PAT, PMT and the packets of one key picture."""
        begun = False
        for start in range(at, len(self.ts), PACKET):
            packet = self.ts[start : start + PACKET]
            pid = struct.unpack_from(">H", packet, 1)[0] & 0x1FFF
            if pid == VIDEO and packet[1] & 0x40:
                if begun:
                    return
                begun = True
            if pid in (0, 4096, VIDEO) and (pid == VIDEO or not begun):
                yield packet

    def frame(self, writer, payload: bytes) -> None:
        self.sequence = (self.sequence + 1) & 0xFFFF
        data = struct.pack(">BBHII", 0x80, 33, self.sequence, self.sequence * 100, 0x1234) + payload
        writer.write(b"$\0" + len(data).to_bytes(2, "big") + data)
