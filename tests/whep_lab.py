"""A viewer by WebRTC that nobody here wrote: aiortc, which decodes what it gets."""

from __future__ import annotations

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import VideoFrame
from yarl import URL

from fixtures import frame_code


class Stranger:
    """aiortc as a viewer."""

    def __init__(self, url: str, *, sound: bool = False) -> None:
        self.url, self.location = url, ""
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.video = self.pc.addTransceiver("video", direction="recvonly").receiver
        self.sound = self.pc.addTransceiver("audio", direction="recvonly").receiver if sound else None

    async def watch(self, http: aiohttp.ClientSession) -> None:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        offer = self.pc.localDescription.sdp
        async with http.post(self.url, data=offer, headers={"Content-Type": "application/sdp"}) as reply:
            answer = await reply.text()
            assert reply.status == 201, answer
            assert reply.content_type == "application/sdp"
            self.location = str(reply.url.join(URL(reply.headers["Location"])))
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def frames(self, count: int) -> list[tuple[int | None, int]]:
        """Return (number that was read from the picture, time in ticks) of the next frames."""
        found = []
        for _ in range(count):
            frame = await self.video.track.recv()
            assert isinstance(frame, VideoFrame) and frame.pts is not None
            luma = frame.to_ndarray(format="yuv420p")[: frame.height]
            found.append((frame_code.read(luma), frame.pts))
        return found
