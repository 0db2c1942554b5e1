"""A WHEP server of one film by aiortc: the peer encodes and sends, the HTTP is RFC 9725's. Imports nothing of ours.

    whep_server.py FILE.mp4

Prints the port. ``/whep`` takes offers; each of its answers stands on a line of its own on standard output.
"""

from __future__ import annotations

import asyncio
import sys

import aioice.ice
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer

aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
PEERS: dict[str, RTCPeerConnection] = {}


def note(words: str) -> None:
    print(words, flush=True)


async def offered(request: web.Request) -> web.Response:
    assert request.content_type == "application/sdp"
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    player = MediaPlayer(sys.argv[1])
    await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
    for track in (player.video, player.audio):
        peer.addTrack(track)
    await peer.setLocalDescription(await peer.createAnswer())
    name = str(len(PEERS))
    PEERS[name] = peer
    note("POST 201")
    headers = {"Location": f"/whep/{name}", "ETag": '"ice-1"'}
    return web.Response(status=201, text=peer.localDescription.sdp, content_type="application/sdp", headers=headers)


async def patched(request: web.Request) -> web.Response:
    body = await request.text()
    good = request.content_type == "application/trickle-ice-sdpfrag" and request.headers.get("If-Match") == '"ice-1"'
    good = good and "a=ice-ufrag:" in body and "a=end-of-candidates" in body
    note(f"PATCH {204 if good else 400}")
    return web.Response(status=204 if good else 400)


async def deleted(request: web.Request) -> web.Response:
    await PEERS[request.match_info["name"]].close()
    note("DELETE 200")
    return web.Response()


async def main() -> None:
    app = web.Application()
    app.router.add_post("/whep", offered)
    app.router.add_patch("/whep/{name}", patched)
    app.router.add_delete("/whep/{name}", deleted)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    note(str(runner.addresses[0][1]))
    await asyncio.Event().wait()


asyncio.run(main())
