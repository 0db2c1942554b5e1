"""HLS on demand (RFC 8216): master, the best variant the box can decode, then every segment in order as one stream."""

from __future__ import annotations

import re
from urllib.parse import urljoin

from stb_emulator.boxes import Box, Caps
from stb_emulator.observe import PlayError, Stage
from stb_emulator.observe.pipe import PipeClosed
from stb_emulator.players import Playing
from wire.m3u8 import ByteRange, MasterPlaylist, MediaPlaylist, PlaylistError, Variant, parse
from wire.mpegts import PACKET_BYTES, ContinuityMeter

TRIES = 3
RETRY_AFTER_S = 0.5
SEGMENT_MAX_BYTES = 64 * 1024 * 1024
EXTINF_TOLERANCE_S = 0.5
_AVC = re.compile(r"avc[13]\.[0-9A-Fa-f]{4}([0-9A-Fa-f]{2})")
_VIDEO = {"avc1": "h264", "avc3": "h264", "hvc1": "hevc", "hev1": "hevc", "av01": "av1", "vp09": "vp9"}


class Hls:
    """See the module."""

    async def play(self, playing: Playing) -> None:
        """See Player."""
        tally = playing.decoder.tally
        tally.asked_at = playing.clock.monotonic()
        url, playlist = await self._media(playing)
        tally.announced_s = round(playlist.duration_s, 6)
        check_playlist(playlist, playing.box)
        listed = playing.offer.announced_s
        if listed is not None and abs(listed - playlist.duration_s) > EXTINF_TOLERANCE_S:
            raise PlayError(
                Stage.FETCH,
                f"播放列表 {playlist.duration_s:.1f} 秒，目录 {listed:.1f} 秒",
                f"the playlist has {playlist.duration_s:.2f} s, the catalogue says {listed:.2f} s",
            )
        meter = ContinuityMeter()
        is_ts = playing.box.player == "hls_ts" or playlist.map_uri is None
        playing.decoder.start("mpegts" if is_ts else "mp4")
        try:
            if playlist.map_uri is not None:
                await playing.decoder.feed(await _get(playing, urljoin(url, playlist.map_uri), playlist.map_range))
            for segment in playlist.segments:
                data = await _get(playing, urljoin(url, segment.uri), segment.byte_range)
                if is_ts:
                    _count(meter, data, playing)
                await playing.decoder.feed(data)
                if playing.enough:
                    return
        except PipeClosed:
            return

    async def _media(self, playing: Playing) -> tuple[str, MediaPlaylist]:
        """Fetch the playlist; of a master, the variant for this box."""
        url, playlist = await _playlist(playing, playing.offer.url)
        if isinstance(playlist, MasterPlaylist):
            variant = choose_variant(playlist, playing.box.caps)
            playing.decoder.tally.transport = f"HLS {variant.bandwidth_bps // 1000} kb/s"
            url, playlist = await _playlist(playing, urljoin(url, variant.uri))
        else:
            playing.decoder.tally.transport = "HLS"
        if isinstance(playlist, MasterPlaylist):
            raise PlayError(Stage.FETCH, "播放列表套了两层", "a master playlist inside a master playlist")
        return url, playlist


def choose_variant(master: MasterPlaylist, caps: Caps) -> Variant:
    """Pick the variant of the highest bit rate that the box can decode.

    Raises:
        PlayError: at stage fetch, when there is none.
    """
    fitting = [v for v in master.variants if _fits(v, caps)]
    if not fitting:
        raise PlayError(Stage.FETCH, "没有盒子能解码的码流", "no variant that this box can decode")
    return max(fitting, key=lambda v: v.bandwidth_bps)


def _fits(variant: Variant, caps: Caps) -> bool:
    if variant.bandwidth_bps > caps.max_bit_rate_bps:
        return False
    if variant.resolution and (variant.resolution[0] > caps.max_width or variant.resolution[1] > caps.max_height):
        return False
    for codec in (c.strip() for c in (variant.codecs or "").split(",")):
        family = _VIDEO.get(codec.partition(".")[0])
        if family is not None and family not in caps.video:
            return False
        match = _AVC.fullmatch(codec)
        if match is not None and int(match[1], 16) > caps.max_level:
            return False
    return True


def check_playlist(playlist: MediaPlaylist, box: Box) -> None:
    """Refuse what an on-demand box cannot play to the end.

    Raises:
        PlayError: at stage fetch.
    """
    if not playlist.segments:
        raise PlayError(Stage.FETCH, "播放列表是空的", "the playlist has no segments")
    if not playlist.ended:
        raise PlayError(Stage.FETCH, "播放列表被截断（没有 ENDLIST）", "truncated playlist: no #EXT-X-ENDLIST")
    if box.player == "hls_fmp4" and playlist.map_uri is None:
        raise PlayError(Stage.FETCH, "播放列表没有初始化段", "no #EXT-X-MAP for fragmented MP4")
    longest = max(s.duration_s for s in playlist.segments)
    if round(longest) > playlist.target_duration_s:
        raise PlayError(
            Stage.FETCH,
            "分段比声明的长",
            f"a segment of {longest:.2f} s, target duration {playlist.target_duration_s} s",
        )


async def _playlist(playing: Playing, url: str) -> tuple[str, MasterPlaylist | MediaPlaylist]:
    reply = await playing.line.ask("GET", url, Stage.FETCH, hops=3)
    if reply.status != 200:
        raise PlayError(Stage.FETCH, f"播放列表 HTTP {reply.status}", f"HTTP {reply.status} for the playlist {url}")
    try:
        playlist = parse(reply.body.decode("utf-8"))
    except (PlaylistError, UnicodeDecodeError) as error:
        raise PlayError(Stage.FETCH, "播放列表无法解析", f"unreadable playlist: {error}"[:200]) from error
    for deviation in playlist.deviations:
        playing.decoder.tally.deviate(f"m3u8-{deviation.code}")
    return reply.url, playlist


async def _get(playing: Playing, url: str, part: ByteRange | None) -> bytes:
    """Fetch one segment whole; a broken connection or a 5xx is tried again, a 404 is final."""
    headers = {"Accept-Encoding": "identity"}
    if part is not None:
        headers["Range"] = f"bytes={part.offset_bytes}-{part.offset_bytes + part.length_bytes - 1}"
    for attempt in range(TRIES):
        error: PlayError
        try:
            async with playing.line.stream("GET", url, Stage.FETCH, headers=headers) as body:
                if body.status == (206 if part is not None else 200):
                    data = bytearray()
                    async for piece in body.pieces:
                        data += piece
                        if len(data) > SEGMENT_MAX_BYTES:
                            raise PlayError(Stage.FETCH, "分段过大", f"segment larger than {SEGMENT_MAX_BYTES} bytes")
                    if not data:
                        raise PlayError(Stage.FETCH, "分段是空的", f"empty segment {url}")
                    playing.decoder.tally.bytes += len(data)
                    return bytes(data)
                error = PlayError(Stage.FETCH, f"分段 HTTP {body.status}", f"HTTP {body.status} for segment {url}")
                if body.status < 500:
                    raise error
        except PlayError as broken:
            if attempt == TRIES - 1 or broken.reason.en.startswith("HTTP 4"):
                raise
            error = broken
        playing.decoder.tally.warn(f"重取分段 / fetched a segment again: {error.reason.en}"[:160])
        await playing.clock.sleep_until(playing.clock.monotonic() + RETRY_AFTER_S)
    raise error


def _count(meter: ContinuityMeter, data: bytes, playing: Playing) -> None:
    if len(data) % PACKET_BYTES:
        raise PlayError(Stage.FETCH, "TS 分段长度不对", f"a segment of {len(data)} bytes is not whole 188-byte packets")
    meter.feed(data)
    playing.decoder.tally.continuity_errors = meter.continuity_errors + meter.sync_errors


PLAYER = Hls()
