"""One transport stream over HTTP, without an end when it is a channel: a plain GET that is read as it comes.

The only key is pause: the box stops reading, and the server has to bear it.
"""

from __future__ import annotations

import asyncio

from stb_emulator.observe import PlayError, Stage
from stb_emulator.observe.pipe import PipeClosed
from stb_emulator.players import Key, Playing
from wire.mpegts import PACKET_BYTES, ContinuityMeter

HOPS = 3


class HttpTs:
    """See the module."""

    async def play(self, playing: Playing) -> None:
        """See Player."""
        tally = playing.decoder.tally
        tally.asked_at = playing.clock.monotonic()
        tally.announced_s = playing.offer.announced_s
        tally.transport = "HTTP TS"
        playing.decoder.start("mpegts")
        reads = asyncio.Event()
        reads.set()
        failure: PlayError | None = None
        async with asyncio.TaskGroup() as group:
            keys = group.create_task(self._press(playing, reads))
            try:
                await self._follow(playing, reads)
            except PlayError as error:
                failure = error
                keys.cancel()
            else:
                playing.decoder.all_fed()
        if failure is not None:
            raise failure

    async def _press(self, playing: Playing, reads: asyncio.Event) -> None:
        tally = playing.decoder.tally
        while (press := await playing.next_press()) is not None:
            if press.key is not Key.PAUSE:
                words = f"这种播放方式没有{press.key}键 / no key for {press.key} in this way of playing"
                tally.no_key(press.key, playing.clock.monotonic(), words, scale=press.scale)
                continue
            reads.clear()
            await playing.hold(press)
            playing.decoder.go_on(tally.press(Key.PAUSE, playing.clock.monotonic(), "停止读取 / reading stopped"))
            reads.set()

    async def _follow(self, playing: Playing, reads: asyncio.Event) -> None:
        url = playing.offer.url
        for _ in range(HOPS + 1):
            target = await self._fetch(playing, url, reads)
            if not target:
                return
            url = target
        raise PlayError(Stage.FETCH, "重定向过多", f"more than {HOPS} redirects")

    async def _fetch(self, playing: Playing, url: str, reads: asyncio.Event) -> str:
        """Read the stream; or return where it is instead."""
        meter, rest = ContinuityMeter(), b""
        head = {"Accept-Encoding": "identity"}
        async with playing.line.stream("GET", url, Stage.FETCH, headers=head) as body:
            if body.location:
                return body.location
            if body.status != 200:
                raise PlayError(Stage.FETCH, f"取流失败：HTTP {body.status}", f"HTTP {body.status} for {url}")
            try:
                async for piece in body.pieces:
                    await reads.wait()
                    playing.decoder.tally.bytes += len(piece)
                    data = rest + piece
                    whole = len(data) - len(data) % PACKET_BYTES
                    meter.feed(data[:whole])
                    rest = data[whole:]
                    playing.decoder.tally.continuity_errors = meter.continuity_errors + meter.sync_errors
                    await playing.decoder.feed(piece)
                    if playing.enough:
                        return ""
            except PipeClosed:
                return ""
            playing.decoder.tally.ended = "EOF"
        if rest:
            raise PlayError(Stage.FETCH, "TS 长度不对", "the stream does not end on a whole 188-byte packet")
        return ""


PLAYER = HttpTs()
