"""The player: segments one after another into the decoder, from a list that is whole or one that moves."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from stb_emulator.observe import PlayError, Stage
from stb_emulator.observe.pipe import PipeClosed
from stb_emulator.players import Playing
from stb_emulator.players.hls.choosing import check_length, check_playlist, is_live
from stb_emulator.players.hls.fetching import Fetching, Gone
from stb_emulator.players.hls.following import DEAD_TARGETS, UNMOVED_TARGETS, Due, Following, whole
from wire.m3u8 import ByteRange, MediaPlaylist
from wire.mpegts import PACKET_BYTES, ContinuityMeter


class Hls:
    """See Player."""

    async def play(self, playing: Playing) -> None:
        """See Player."""
        playing.decoder.tally.asked_at = playing.clock.monotonic()
        watching = _Watching(playing)
        with suppress(PipeClosed):
            await watching.run()


class _Watching:
    """One playing."""

    def __init__(self, playing: Playing) -> None:
        self._playing, self._tally, self._clock = playing, playing.decoder.tally, playing.clock
        self._fetching = Fetching(playing)
        self._meter = ContinuityMeter()
        self._head: tuple[str, ByteRange | None] | None = None
        self._is_ts = True
        self._begun = self._missed = False

    async def run(self) -> None:
        playlist = await self._fetching.media()
        live = is_live(playlist, self._playing.offer.announced_s)
        check_playlist(playlist, self._playing.box, live=live)
        self._is_ts = self._playing.box.player == "hls_ts" or playlist.map_uri is None
        self._fetching.telling.live = live
        if live:
            self._tally.transport += " live"
            await self._follow(playlist)
            return
        self._tally.announced_s = round(playlist.duration_s, 6)
        check_length(playlist, self._playing.offer.announced_s)
        await self._feed_all(whole(playlist))

    async def _follow(self, playlist: MediaPlaylist) -> None:
        """Play a list that moves, until it ends or the decoder has enough."""
        following = Following()
        while True:
            asked = self._clock.monotonic()
            dues = following.take(playlist, asked)
            await self._feed_all(dues, live=True)
            if following.went_back:
                self._tally.deviate("m3u8-sequence-backwards")
            if playlist.ended or self._playing.enough:
                break
            if following.unmoved(asked) >= DEAD_TARGETS:
                words = f"the playlist has not moved for {following.unmoved(asked):.1f} target durations"
                raise PlayError(Stage.FETCH, "直播列表停止更新", words)
            if following.unmoved(asked) >= UNMOVED_TARGETS:
                self._tally.warn("直播列表更新迟缓 / the live playlist was late")
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, following.reload_at - self._clock.monotonic())):
                    await self._playing.decoder.enough.wait()
            if self._playing.enough:
                break
            playlist = await self._fetching.again()
        self._tally.expired += following.expired

    async def _feed_all(self, dues: tuple[Due, ...], *, live: bool = False) -> None:
        for due, following in zip(dues, (*dues[1:], None), strict=False):
            try:
                await self._feed(due, following)
            except Gone:
                if not live:
                    raise
                self._tally.expired += 1
                self._missed = True
            if self._playing.enough:
                return

    async def _feed(self, due: Due, following: Due | None) -> None:
        """Fetch one segment, with the head that it needs, and hand it to the decoder."""
        decoder = self._playing.decoder
        breaks = due.breaks or self._missed
        head = None if due.map_uri is None or self._is_ts else (due.map_uri, due.map_range)
        first = await self._fetching.head(due) if head is not None and (breaks or head != self._head) else b""
        data = await self._fetching.segment(due, following)
        if not self._begun:
            decoder.start("mpegts" if self._is_ts else "mp4")
        elif breaks or head != self._head:
            await decoder.turn()
            self._meter = self._renewed()
        self._begun, self._missed, self._head = True, False, head
        if self._is_ts:
            self._count(data)
        if first:
            await decoder.feed(first)
        await decoder.feed(data)

    def _renewed(self) -> ContinuityMeter:
        """Counters begin anew with a time line; errors stay."""
        meter = ContinuityMeter()
        meter.continuity_errors, meter.sync_errors = self._meter.continuity_errors, self._meter.sync_errors
        return meter

    def _count(self, data: bytes) -> None:
        if len(data) % PACKET_BYTES:
            words = f"a segment of {len(data)} bytes is not whole 188-byte packets"
            raise PlayError(Stage.FETCH, "TS 分段长度不对", words)
        self._meter.feed(data)
        self._tally.continuity_errors = self._meter.continuity_errors + self._meter.sync_errors
