"""What a box makes of playlists before it plays: which variant, and whether it can play it at all. Pure."""

from __future__ import annotations

import re

from stb_emulator.boxes import Box, Caps
from stb_emulator.observe import PlayError, Stage
from wire.m3u8 import MasterPlaylist, MediaPlaylist, Variant, nearest

EXTINF_TOLERANCE_S = 0.5
_AVC = re.compile(r"avc[13]\.[0-9A-Fa-f]{4}([0-9A-Fa-f]{2})")
_VIDEO = {"avc1": "h264", "avc3": "h264", "hvc1": "hevc", "hev1": "hevc", "av01": "av1", "vp09": "vp9"}


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


def is_live(playlist: MediaPlaylist, listed_s: float | None) -> bool:
    """Tell a list that grows from one that was cut off: a lesson whose length is listed must be there whole."""
    return not playlist.ended and not playlist.vod and listed_s is None


def check_playlist(playlist: MediaPlaylist, box: Box, *, live: bool = False) -> None:
    """Refuse what a box cannot play: on demand to the end, live on and on.

    Raises:
        PlayError: at stage fetch.
    """
    if not playlist.segments:
        raise PlayError(Stage.FETCH, "播放列表是空的", "the playlist has no segments")
    if not live and not playlist.ended:
        raise PlayError(Stage.FETCH, "播放列表被截断（没有 ENDLIST）", "truncated playlist: no #EXT-X-ENDLIST")
    if box.player == "hls_fmp4" and playlist.map_uri is None:
        raise PlayError(Stage.FETCH, "播放列表没有初始化段", "no #EXT-X-MAP for fragmented MP4")
    longest = max(s.duration_s for s in playlist.segments)
    if nearest(longest) > playlist.target_duration_s:
        raise PlayError(
            Stage.FETCH,
            "分段比声明的长",
            f"a segment of {longest:.2f} s, target duration {playlist.target_duration_s} s",
        )


def check_length(playlist: MediaPlaylist, listed_s: float | None) -> None:
    """Compare with what the catalogue says.

    Raises:
        PlayError: at stage fetch.
    """
    if listed_s is not None and abs(listed_s - playlist.duration_s) > EXTINF_TOLERANCE_S:
        raise PlayError(
            Stage.FETCH,
            f"播放列表 {playlist.duration_s:.1f} 秒，目录 {listed_s:.1f} 秒",
            f"the playlist has {playlist.duration_s:.2f} s, the catalogue says {listed_s:.2f} s",
        )
