"""One transport stream over HTTP, without an end when it is a channel: a plain GET that is read as it comes."""

from __future__ import annotations

from stb_emulator.observe import PlayError, Stage
from stb_emulator.observe.pipe import PipeClosed
from stb_emulator.players import Playing
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
        url = playing.offer.url
        for _ in range(HOPS + 1):
            target = await self._fetch(playing, url)
            if not target:
                return
            url = target
        raise PlayError(Stage.FETCH, "重定向过多", f"more than {HOPS} redirects")

    async def _fetch(self, playing: Playing, url: str) -> str:
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
        if rest:
            raise PlayError(Stage.FETCH, "TS 长度不对", "the stream does not end on a whole 188-byte packet")
        return ""


PLAYER = HttpTs()
