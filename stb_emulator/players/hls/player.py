"""The player: segments one after another into the decoder, from a list that is whole or one that moves; its keys."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime

from stb_emulator.observe import PlayError, Stage
from stb_emulator.observe.pipe import PipeClosed
from stb_emulator.players import Key, Playing, Press
from stb_emulator.players.hls.choosing import check_length, check_playlist, is_live
from stb_emulator.players.hls.fetching import Fetching, Gone
from stb_emulator.players.hls.following import (
    DEAD_TARGETS,
    UNMOVED_TARGETS,
    Due,
    Following,
    moment_in,
    place_of,
    whole,
)
from wire.m3u8 import ByteRange, MediaPlaylist
from wire.mpegts import PACKET_BYTES, ContinuityMeter


class Hls:
    """See Player."""

    async def play(self, playing: Playing) -> None:
        """See Player."""
        playing.decoder.tally.asked_at = playing.clock.monotonic()
        watching = _Watching(playing)
        try:
            with suppress(PipeClosed):
                await watching.run()
        finally:
            watching.count()


class _Watching:
    """One playing."""

    def __init__(self, playing: Playing) -> None:
        self._playing, self._tally, self._clock = playing, playing.decoder.tally, playing.clock
        self._fetching = Fetching(playing)
        self._meter = ContinuityMeter()
        self._head: tuple[str, ByteRange | None] | None = None
        self._is_ts = True
        self._begun = self._missed = False
        self._turned: int | None = None
        """The segment for which the newest time line was begun."""
        self._dues: tuple[Due, ...] = ()
        """On demand: all segments; live: those of the newest list that are to be fetched."""
        self._place = 0
        self._playlist: MediaPlaylist | None = None
        self._following: Following | None = None
        self._expired = 0

    async def run(self) -> None:
        playlist = self._playlist = await self._fetching.media()
        live = is_live(playlist, self._playing.offer.announced_s)
        check_playlist(playlist, self._playing.box, live=live)
        self._is_ts = self._playing.box.player == "hls_ts" or playlist.map_uri is None
        self._fetching.telling.live = live
        if live:
            self._tally.transport += " live"
            self._following = Following()
            self._dues = self._following.take(playlist, self._clock.monotonic())
        else:
            self._tally.announced_s = round(playlist.duration_s, 6)
            check_length(playlist, self._playing.offer.announced_s)
            self._dues = whole(playlist)
        while (press := await self._playing.until_press(self._go_on())) is not None:
            await self._press(press)

    def count(self) -> None:
        """Write what is known in the end only."""
        self._tally.expired = self._expired + (self._following.expired if self._following is not None else 0)

    async def _go_on(self) -> None:
        """Fetch and feed from where we are."""
        await self._feed_all()
        following = self._following
        while following is not None and not self._playing.enough:
            assert self._playlist is not None
            if self._playlist.ended:
                break
            if following.unmoved >= DEAD_TARGETS:
                words = f"the playlist has not moved for {following.unmoved:.1f} target durations"
                raise PlayError(Stage.FETCH, "直播列表停止更新", words)
            if following.unmoved >= UNMOVED_TARGETS:
                self._tally.warn("直播列表更新迟缓 / the live playlist was late")
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, following.reload_at - self._clock.monotonic())):
                    await self._playing.decoder.enough.wait()
            if not self._playing.enough:
                await self._look_again(following)
        if not self._playing.enough:
            self._tally.ended = "ENDLIST"

    async def _look_again(self, following: Following) -> None:
        asked = self._clock.monotonic()
        self._playlist = await self._fetching.again()
        self._dues, self._place = following.take(self._playlist, asked), 0
        if following.went_back:
            self._tally.deviate("m3u8-sequence-backwards")
        await self._feed_all()

    async def _feed_all(self) -> None:
        while self._place < len(self._dues) and not self._playing.enough:
            due = self._dues[self._place]
            after = self._dues[self._place + 1] if self._place + 1 < len(self._dues) else None
            try:
                await self._feed(due, after)
            except Gone:
                if self._following is None:
                    raise
                self._expired += 1
                self._missed = True
            self._place += 1

    async def _feed(self, due: Due, after: Due | None) -> None:
        """Fetch one segment, with the head that it needs, and hand it to the decoder; a key may break in anywhere."""
        decoder = self._playing.decoder
        head = None if due.map_uri is None or self._is_ts else (due.map_uri, due.map_range)
        anew = due.breaks or self._missed or head != self._head
        first = await self._fetching.head(due) if head is not None and anew else b""
        data = await self._fetching.segment(due, after)
        if self._is_ts and len(data) % PACKET_BYTES:
            words = f"a segment of {len(data)} bytes is not whole 188-byte packets"
            raise PlayError(Stage.FETCH, "TS 分段长度不对", words)
        if not self._begun:
            decoder.start("mpegts" if self._is_ts else "mp4")
            self._begun = True
        elif anew and self._turned != due.sequence:
            await decoder.turn()
            self._renew_meter()
        self._turned = due.sequence if anew else self._turned
        await decoder.feed(first + data)
        self._missed, self._head = False, head
        if self._is_ts:
            self._meter.feed(data)
            self._tally.continuity_errors = self._meter.continuity_errors + self._meter.sync_errors

    def _renew_meter(self) -> None:
        """Counters begin anew with a time line; errors stay."""
        before, self._meter = self._meter, ContinuityMeter()
        self._meter.continuity_errors, self._meter.sync_errors = before.continuity_errors, before.sync_errors

    async def _press(self, press: Press) -> None:
        now = self._clock.monotonic()
        if press.key is Key.PAUSE:
            await self._playing.hold(press)
            asked = f"从第 {self._next()} 段继续 / on from segment {self._next()}"
            self._playing.decoder.go_on(self._tally.press(Key.PAUSE, self._clock.monotonic(), asked))
        elif press.key is Key.SEEK and self._following is None:
            self._seek(press, now)
        elif press.key is Key.SHIFT and self._following is not None and press.moment is not None:
            self._shift(press.moment, self._following, now)
        else:
            where = "直播" if self._following is not None else "点播"
            words = f"{where}没有{press.key}键 / no key for {press.key} here"
            self._tally.no_key(press.key, now, words, scale=press.scale)

    def _next(self) -> int:
        """Number of the segment that is to be fetched next."""
        if self._place < len(self._dues):
            return self._dues[self._place].sequence
        return self._dues[-1].sequence + 1 if self._dues else 0

    def _seek(self, press: Press, now: float) -> None:
        """Go on with the segment in which the place lies."""
        wanted_s = press.place(self._tally.announced_s)
        self._place, begins_s = place_of(self._dues, wanted_s)
        self._leave(self._dues[self._place], Key.SEEK, now, wanted_s, begins_s)

    def _shift(self, moment: datetime, following: Following, now: float) -> None:
        """Go on with the segment of that moment, if the list still has it and tells when its segments begin."""
        assert self._playlist is not None
        found = moment_in(self._playlist, moment)
        if found is None:
            self._tally.no_key(Key.SHIFT, now, "列表中没有这个时刻 / the list does not reach that moment")
            return
        self._expired += following.expired
        self._following = Following(found.sequence)
        self._dues, self._place = self._following.take(self._playlist, now), 0
        began = found.segment.starts_at
        self._leave(found, Key.SHIFT, now, moment.timestamp(), began.timestamp() if began is not None else 0.0)

    def _leave(self, due: Due, key: Key, now: float, wanted_s: float, begins_s: float) -> None:
        """Begin a new leg with this segment."""
        asked = f"第 {due.sequence} 段 / segment {due.sequence}"
        pressing = self._tally.press(key, now, asked, wanted_s=wanted_s, grain_s=due.segment.duration_s)
        pressing.said_s, pressing.answered = begins_s, due.segment.uri[-40:]
        self._playing.decoder.cut(pressing)
        self._head, self._missed, self._turned = None, False, due.sequence
        self._renew_meter()
