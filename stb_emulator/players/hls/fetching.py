"""Fetching playlists and segments: each whole, tried again when the line breaks, the server told about us."""

from __future__ import annotations

from urllib.parse import urljoin

from stb_emulator.observe import PlayError, Stage
from stb_emulator.players import Playing
from stb_emulator.players.hls.choosing import choose_variant
from stb_emulator.players.hls.following import Due
from stb_emulator.players.hls.telling import Telling
from wire.cmcd import Kind
from wire.m3u8 import ByteRange, MasterPlaylist, MediaPlaylist, PlaylistError, parse

TRIES = 3
RETRY_AFTER_S = 0.5
SEGMENT_MAX_BYTES = 64 * 1024 * 1024


class Gone(PlayError):
    """The server has the object no more (404, 410)."""


class Fetching:
    """The requests of one playing."""

    def __init__(self, playing: Playing) -> None:
        """Nothing is asked yet."""
        self.url = ""
        """Of the media playlist, after redirects."""
        self.telling = Telling(playing.box.cmcd, playing.offer.item_id)
        self._playing = playing

    async def media(self) -> MediaPlaylist:
        """Fetch the playlist for the first time; of a master, the variant for this box.

        Raises:
            PlayError: at stage fetch.
        """
        tally = self._playing.decoder.tally
        self.url, playlist = await self._playlist(self._playing.offer.url)
        tally.transport = "HLS"
        if isinstance(playlist, MasterPlaylist):
            variant = choose_variant(playlist, self._playing.box.caps)
            tally.transport = f"HLS {variant.bandwidth_bps // 1000} kb/s"
            self.telling.rate_bps = variant.average_bandwidth_bps or variant.bandwidth_bps
            self.telling.top_bps = max(v.bandwidth_bps for v in playlist.variants)
            self.url, playlist = await self._playlist(urljoin(self.url, variant.uri))
        if isinstance(playlist, MasterPlaylist):
            raise PlayError(Stage.FETCH, "播放列表套了两层", "a master playlist inside a master playlist")
        return playlist

    async def again(self) -> MediaPlaylist:
        """Fetch the media playlist as it is now.

        Raises:
            PlayError: at stage fetch.
        """
        for attempt in range(TRIES):
            try:
                _, playlist = await self._playlist(self.url)
            except PlayError as error:
                if attempt == TRIES - 1:
                    raise
                self._playing.decoder.tally.warn(f"重取播放列表 / fetched the playlist again: {error.reason.en}"[:160])
                await self._wait()
                continue
            if isinstance(playlist, MasterPlaylist):
                raise PlayError(Stage.FETCH, "播放列表变成了主列表", "the media playlist became a master playlist")
            return playlist
        raise AssertionError("unreachable")

    async def head(self, due: Due) -> bytes:
        """Fetch the initialization section that a segment needs."""
        assert due.map_uri is not None
        return await self._get(urljoin(self.url, due.map_uri), due.map_range, Kind.INIT)

    async def segment(self, due: Due, following: Due | None) -> bytes:
        """Fetch one segment."""
        url = urljoin(self.url, due.segment.uri)
        after = ("", "")
        if following is not None:
            part = following.segment.byte_range
            after = (urljoin(self.url, following.segment.uri), _range(part) if part is not None else "")
        data = await self._get(url, due.segment.byte_range, Kind.MUXED, due.segment.duration_s, after)
        self.telling.fed_s += due.segment.duration_s
        return data

    async def _playlist(self, url: str) -> tuple[str, MasterPlaylist | MediaPlaylist]:
        asked, headers = self.telling.said(url, Kind.MANIFEST, self._playing.clock.monotonic())
        reply = await self._playing.line.ask("GET", asked, Stage.FETCH, headers=headers, hops=3)
        if reply.status != 200:
            raise PlayError(Stage.FETCH, f"播放列表 HTTP {reply.status}", f"HTTP {reply.status} for the playlist {url}")
        try:
            playlist = parse(reply.body.decode("utf-8"))
        except (PlaylistError, UnicodeDecodeError) as error:
            raise PlayError(Stage.FETCH, "播放列表无法解析", f"unreadable playlist: {error}"[:200]) from error
        for deviation in playlist.deviations:
            self._playing.decoder.tally.deviate(f"m3u8-{deviation.code}")
        return url if reply.url == asked else reply.url, playlist

    async def _get(
        self,
        url: str,
        part: ByteRange | None,
        kind: Kind,
        lasts_s: float | None = None,
        following: tuple[str, str] = ("", ""),
    ) -> bytes:
        """Fetch one object whole; a broken connection or a 5xx is tried again, a 404 is final."""
        clock, tally, telling = self._playing.clock, self._playing.decoder.tally, self.telling
        telling.shows_since = tally.first_picture_at
        telling.stalls = sum(each.stalls for each in tally.buffers)
        asked, said = telling.said(url, kind, clock.monotonic(), lasts_s=lasts_s, following=following)
        headers = {"Accept-Encoding": "identity", **said}
        if part is not None:
            headers["Range"] = f"bytes={_range(part)}"
        for attempt in range(TRIES):
            error: PlayError
            began = clock.monotonic()
            try:
                async with self._playing.line.stream("GET", asked, Stage.FETCH, headers=headers) as body:
                    if body.status == (206 if part is not None else 200):
                        data = bytearray()
                        async for piece in body.pieces:
                            data += piece
                            if len(data) > SEGMENT_MAX_BYTES:
                                words = f"segment larger than {SEGMENT_MAX_BYTES} bytes"
                                raise PlayError(Stage.FETCH, "分段过大", words)
                        if not data:
                            raise PlayError(Stage.FETCH, "分段是空的", f"empty segment {url}")
                        tally.bytes += len(data)
                        telling.measured(len(data), clock.monotonic() - began)
                        return bytes(data)
                    fault = Gone if body.status in (404, 410) else PlayError
                    error = fault(Stage.FETCH, f"分段 HTTP {body.status}", f"HTTP {body.status} for segment {url}")
                    if body.status < 500:
                        raise error
            except PlayError as broken:
                if attempt == TRIES - 1 or broken.reason.en.startswith("HTTP 4"):
                    raise
                error = broken
            tally.warn(f"重取分段 / fetched a segment again: {error.reason.en}"[:160])
            await self._wait()
        raise error

    async def _wait(self) -> None:
        await self._playing.clock.sleep_until(self._playing.clock.monotonic() + RETRY_AFTER_S)


def _range(part: ByteRange) -> str:
    return f"{part.offset_bytes}-{part.offset_bytes + part.length_bytes - 1}"
