"""Many WebRTC viewers in one light process: aiortc shakes hands, then a thread counts packets without decrypting them.

    python -m benchmarks.whep_watchers URL VIEWERS SECONDS SERVER_PID

RTP headers are readable in SRTP: numbers, marker and time are looked at for every packet. About once a second each
viewer reports and asks for one packet again, so that NACK and its answer are part of what is measured. Prints JSON.
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import re
import select
import socket
import sys
import threading
import time
from typing import Any

import aiohttp
import aioice.ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription

from benchmarks.serve.programs import cpu_s
from wire.rtp import OtherRtcp, ReceiverReport, write_rtcp

H264 = [
    codec for codec in RTCRtpReceiver.getCapabilities("video").codecs if codec.mimeType in ("video/H264", "video/rtx")
]
ASK_EVERY_PACKETS = 350
CONNECT_S, SETTLE_S = 30.0, 3.0


class Watcher:
    """One viewer."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        receiver = self.pc.addTransceiver("video", direction="recvonly")
        receiver.setCodecPreferences(H264)
        self.receiver = receiver.receiver
        self.counting = False
        self.source = b""
        self.last = -1
        self.reset()

    def reset(self) -> None:
        self.packets = self.bytes = self.frames = self.lost = self.again = self.asked = self.reports = 0
        self.arrivals, self.stamps = array.array("d"), array.array("Q")

    async def watch(self, http: aiohttp.ClientSession, url: str) -> None:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        headers = {"Content-Type": "application/sdp"}
        async with http.post(url, data=self.pc.localDescription.sdp, headers=headers) as reply:
            answer = await reply.text()
        if reply.status != 201:
            raise SystemExit(f"{reply.status}: {answer}")
        source = re.search(r"a=ssrc:(\d+)", answer)
        assert source is not None
        self.source = int(source[1]).to_bytes(4, "big")
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        deadline = time.monotonic() + CONNECT_S
        while self.pc.connectionState != "connected":
            if time.monotonic() > deadline:
                raise SystemExit("a viewer did not connect")
            await asyncio.sleep(0.01)

    def take_over(self) -> None:
        """From now on the thread reads the socket."""
        ice: Any = self.receiver.transport.transport._connection
        pair = ice._nominated[1]
        self.protocol, self.address = pair.protocol, pair.remote_addr
        transport_socket = pair.protocol.transport.get_extra_info("socket")
        asyncio.get_running_loop()._remove_reader(transport_socket.fileno())  # type: ignore[attr-defined]
        self.socket = socket.socket(fileno=socket.dup(transport_socket.fileno()))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)

    def ask(self, sequence: int) -> None:
        """Report, and ask for a packet again."""
        fci = sequence.to_bytes(2, "big") + b"\0\0"
        data = write_rtcp([ReceiverReport(1), OtherRtcp(205, 1, (1).to_bytes(4, "big") + self.source + fci)])
        self.asked += 1
        self.socket.sendto(self.receiver.transport._tx_srtp.protect_rtcp(data), self.address)

    def packet(self, data: bytearray, length: int, now: float, loop: asyncio.AbstractEventLoop) -> None:
        if data[0] < 4:
            loop.call_soon_threadsafe(self.protocol.datagram_received, bytes(data[:length]), self.address)
            return
        if data[0] >> 6 != 2:
            return
        if 192 <= data[1] <= 223:
            self.reports += data[1] == 200
            return
        if data[8:12] != self.source:
            self.again += 1
            return
        sequence = data[2] << 8 | data[3]
        if self.last >= 0:
            ahead = sequence - self.last & 0xFFFF
            if ahead == 0 or ahead > 0x8000:
                self.again += 1
                return
            self.lost += ahead - 1
        self.last = sequence
        self.packets += 1
        self.bytes += length
        if data[1] & 0x80:
            self.frames += 1
            if self.counting:
                self.arrivals.append(now)
                self.stamps.append(int.from_bytes(data[4:8], "big"))
        if self.packets % ASK_EVERY_PACKETS == 0:
            loop.call_soon_threadsafe(self.ask, sequence)

    def spread_s(self) -> float:
        """Return by how much the latest frame was later than the earliest, against their own times."""
        if not self.stamps:
            return 0.0
        first = self.stamps[0]
        late = sorted(
            arrival - ((stamp - first + 0x80000000) % 0x100000000 - 0x80000000) / 90_000
            for arrival, stamp in zip(self.arrivals, self.stamps, strict=True)
        )
        return late[int(0.99 * (len(late) - 1))] - late[0]


class Reader:
    """The thread that reads all sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.stop = threading.Event()
        self._poll, self._by_number, self._loop = select.epoll(), dict[int, Watcher](), loop
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, watcher: Watcher) -> None:
        self._by_number[watcher.socket.fileno()] = watcher
        self._poll.register(watcher.socket.fileno(), select.EPOLLIN)

    def _run(self) -> None:
        buffer = bytearray(2048)
        while not self.stop.is_set():
            for number, _ in self._poll.poll(0.1):
                each = self._by_number[number]
                take, now = each.socket.recv_into, time.monotonic()
                try:
                    while True:
                        each.packet(buffer, take(buffer, 2048, socket.MSG_DONTWAIT), now, self._loop)
                except BlockingIOError:
                    pass

    def close(self) -> None:
        self.stop.set()
        self._thread.join()


async def run(url: str, count: int, seconds: float, pid: int) -> dict[str, Any]:
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    watchers = [Watcher() for _ in range(count)]
    reader = Reader(asyncio.get_running_loop())
    async with aiohttp.ClientSession() as http:
        for each in watchers:
            await each.watch(http, url)
            each.take_over()
            reader.add(each)
    await asyncio.sleep(SETTLE_S)
    for each in watchers:
        each.reset()
        each.counting = True
    server, mine, begin = cpu_s(pid), time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    lasted = time.monotonic() - begin
    server, mine = cpu_s(pid) - server, time.process_time() - mine
    totals = {
        name: sum(getattr(each, name) for each in watchers)
        for name in ("packets", "bytes", "frames", "lost", "again", "asked", "reports")
    }
    spreads = sorted(each.spread_s() for each in watchers)
    reader.close()
    return {
        "viewers": count,
        "seconds": lasted,
        "server_cpu": server / lasted,
        "client_cpu": mine / lasted,
        "cpu_percent_per_viewer": 100 * server / lasted / count,
        "mbps_per_viewer": 8 * totals["bytes"] / lasted / count / 1e6,
        "frames_per_second": totals["frames"] / lasted / count,
        "us_per_packet": 1e6 * server / max(1, totals["packets"]),
        "spread_p99_ms": 1000 * spreads[int(0.99 * (count - 1))],
        **totals,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))), flush=True)
    sys.stdout.flush()
    os._exit(0)  # hundreds of connections need not be taken down one by one
