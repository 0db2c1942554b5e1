"""A viewer by WebRTC (draft-ietf-wish-whep, HTTP rules of RFC 9725): offer, answer, pictures and sound, good-bye."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Literal

import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from stb_emulator.observe import NotAllowed, PlayError, Stage, Unreachable
from stb_emulator.observe.line import Guard
from stb_emulator.players import Playing

HOPS = 3
CONNECT_S = 15.0
SDP = "application/sdp"
TRICKLE = "application/trickle-ice-sdpfrag"
WITHOUT_PATCH = (400, 405, 412, 415, 422, 428, 501)
"""How servers that take no trickled candidates say so."""
END_WITHIN_S = 1.0
UDP_BUFFER_BYTES = 4 * 1024 * 1024
_BYE = (200, 202, 204, 404, 410)


class Whep:
    """See the module."""

    async def play(self, playing: Playing) -> None:
        """See Player."""
        tally = playing.decoder.tally
        tally.asked_at = playing.clock.monotonic()
        tally.announced_s, tally.transport, tally.container = playing.offer.announced_s, "WebRTC", "webrtc"
        for press in playing.presses:
            tally.no_key(press.key, playing.clock.monotonic(), "WebRTC 没有按键 / a WebRTC viewer has no keys")
            playing.decoder.pressed()
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        viewer = _Viewer(playing, peer)
        try:
            await viewer.offer()
            await viewer.watch()
        finally:
            await viewer.leave()
            await peer.close()


class _Viewer:
    """One session."""

    def __init__(self, playing: Playing, peer: RTCPeerConnection) -> None:
        self._playing, self._peer, self._location, self._etag = playing, peer, "", ""
        video = peer.addTransceiver("video", direction="recvonly")
        able = RTCRtpReceiver.getCapabilities("video")
        assert able is not None, "aiortc has video"
        video.setCodecPreferences([c for c in able.codecs if c.mimeType in ("video/H264", "video/rtx")])
        self._receivers = [video.receiver, peer.addTransceiver("audio", direction="recvonly").receiver]

    async def offer(self) -> None:
        """POST the offer, read the answer, and say that no more candidates come.

        Raises:
            PlayError: at stage setup: refused, or no answer that can be read.
        """
        await self._peer.setLocalDescription(await self._peer.createOffer())
        self._widen()
        offer = self._peer.localDescription.sdp.encode()
        if b"a=candidate:" not in offer:
            english = "no address but loopback, which WebRTC does not use"
            raise PlayError(Stage.SETUP, "本机除回环外没有网络地址，WebRTC 用不了", english)
        url, line = self._playing.offer.url, self._playing.line
        for _ in range(HOPS + 1):
            headers = {"Content-Type": SDP, "Accept": SDP}
            reply = await line.ask("POST", url, Stage.SETUP, headers=headers, body=offer)
            if reply.status not in (307, 308) or not reply.location:
                break
            url = reply.location
        if reply.status != 201:
            words = f"HTTP {reply.status}: {reply.body[:80].decode('utf-8', 'replace')}"
            raise PlayError(Stage.SETUP, f"服务器拒绝：HTTP {reply.status}", words)
        self._location = reply.location or ""
        self._etag = reply.headers.get("ETag", "")
        if not self._location:
            self._deviate("whep-no-location")
        if reply.headers.get("Content-Type", "").partition(";")[0].strip().lower() != SDP:
            self._deviate("whep-content-type")
        answer = permitted(reply.body.decode("utf-8", "replace"), line.guard)
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        except Exception as error:  # aiortc raises whatever its parser meets
            raise PlayError(Stage.SETUP, "应答无法解析", f"unusable answer: {error}"[:200]) from error
        await self._no_more_candidates()

    def _widen(self) -> None:
        """Give the sockets room for moments in which this program is busy: the library has no setting for it."""
        for receiver in self._receivers:
            connection = getattr(receiver.transport.transport, "_connection", None)
            for protocol in getattr(connection, "_protocols", ()):
                endpoint = protocol.transport.get_extra_info("socket") if protocol.transport is not None else None
                if endpoint is not None:
                    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)

    async def _no_more_candidates(self) -> None:
        """PATCH the end of candidates (RFC 8840); who takes none says so, and need not."""
        if not self._location:
            return
        lines = self._peer.localDescription.sdp.splitlines()
        wanted = ("a=ice-ufrag:", "a=ice-pwd:", "m=", "a=mid:")
        found = [each for each in lines if each.startswith(wanted)]
        firsts = [next((each for each in found if each.startswith(kind)), "") for kind in wanted]
        body = "\r\n".join([*filter(None, firsts), "a=end-of-candidates", ""]).encode()
        headers = {"Content-Type": TRICKLE, **({"If-Match": self._etag} if self._etag else {})}
        reply = await self._playing.line.ask("PATCH", self._location, Stage.SETUP, headers=headers, body=body)
        if reply.status >= 300 and reply.status not in WITHOUT_PATCH:
            self._deviate(f"whep-patch-{reply.status}")

    async def watch(self) -> None:
        """Take pictures and sound until the end, or until the decoder has enough.

        Raises:
            PlayError: no connection, or nothing came for the line's silence.
        """
        ended = asyncio.Event()

        @self._peer.on("connectionstatechange")
        def changed() -> None:
            if self._peer.connectionState in ("failed", "closed"):
                ended.set()

        decoder = self._playing.decoder
        last = [self._playing.clock.monotonic()]

        async def take(track: MediaStreamTrack) -> None:
            with suppress(MediaStreamError):
                while True:
                    frame = await track.recv()
                    last[0] = self._playing.clock.monotonic()
                    if isinstance(frame, av.VideoFrame | av.AudioFrame):
                        await asyncio.to_thread(decoder.show, frame)
            if track.kind == "video":
                ended.set()

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(take(each.track)) for each in self._receivers if each.track is not None]
            ends = [group.create_task(decoder.enough.wait()), group.create_task(ended.wait())]
            failure = await self._until(ends, last)
            for task in (*tasks, *ends):
                task.cancel()
        await self._count()
        if failure is not None:
            raise failure

    async def _until(self, ends: list[asyncio.Task[Literal[True]]], last: list[float]) -> PlayError | None:
        """Wait for one of the ends, or for silence."""
        silence_s = self._playing.line.silence_s
        while True:
            shows = self._playing.decoder.tally.frames > 0
            wait_s = silence_s if shows else max(silence_s, CONNECT_S)
            left = last[0] + wait_s - self._playing.clock.monotonic()
            done, _ = await asyncio.wait(ends, timeout=max(0.05, left), return_when=asyncio.FIRST_COMPLETED)
            if done:
                if self._playing.decoder.tally.frames or self._playing.enough:
                    return None
                return Unreachable(Stage.SETUP, "WebRTC 没有连通", f"connection {self._peer.connectionState}")
            if self._playing.clock.monotonic() < last[0] + wait_s:
                continue
            tally = self._playing.decoder.tally
            if tally.announced_s is not None and tally.played_s >= tally.announced_s - END_WITHIN_S:
                tally.warn("服务器没有通知播放结束 / the server did not announce the end")
                return None
            return PlayError(Stage.PLAY, f"{wait_s:g} 秒没有数据", f"no data for {wait_s:g} s")

    async def _count(self) -> None:
        """Write what the RTP receivers counted. Losses that were mended are no fault; what is missing shows."""
        tally, lost = self._playing.decoder.tally, 0
        for receiver in self._peer.getReceivers():
            for report in (await receiver.getStats()).values():
                if getattr(report, "type", "") == "inbound-rtp":
                    lost += max(0, int(report.packetsLost))
                if getattr(report, "type", "") == "transport":
                    tally.bytes = max(tally.bytes, int(report.bytesReceived))
        if lost:
            tally.warn(f"丢包 {lost} 个 / {lost} packets lost on the way, and asked for again")

    async def leave(self) -> None:
        """DELETE the session."""
        if not self._location:
            return
        try:
            reply = await self._playing.line.ask("DELETE", self._location, Stage.PLAY)
        except PlayError:
            self._playing.decoder.tally.warn("无法结束会话 / the session could not be deleted")
            return
        if reply.status not in _BYE:
            self._deviate(f"whep-delete-{reply.status}")

    def _deviate(self, kind: str) -> None:
        self._playing.decoder.tally.deviate(kind)


def permitted(answer: str, guard: Guard) -> str:
    """Take out the candidates on hosts that the box may not talk to.

    Raises:
        NotAllowed: all of them are.
    """
    kept, refused = [], ""
    for line in answer.splitlines():
        words = line.split()
        if line.startswith("a=candidate:") and len(words) > 4 and not guard.permits(words[4]):
            refused = words[4]
            continue
        kept.append(line)
    if refused and not any(line.startswith("a=candidate:") for line in kept):
        raise NotAllowed(
            Stage.SETUP, f"主机 {refused} 不在允许名单中", f"host {refused!r} is not loopback; allow it by --allow"
        )
    return "\r\n".join([*kept, ""])


PLAYER = Whep()
