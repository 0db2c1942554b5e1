"""HLS playlists: ffmpeg's read, ours pinned, bad ones refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.m3u8 import (
    ByteRange,
    MasterPlaylist,
    MediaPlaylist,
    PlaylistError,
    Segment,
    Variant,
    parse,
    write_master,
    write_media,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "m3u8"


def test_reads_what_ffmpeg_writes() -> None:
    ts = parse((VECTORS / "ffmpeg_ts.m3u8").read_text())
    assert ts == MediaPlaylist((Segment("hv_0.ts", 2.0), Segment("hv_1.ts", 2.0)), 2, version=6)
    fmp4 = parse((VECTORS / "ffmpeg_fmp4_single_file.m3u8").read_text())
    assert isinstance(fmp4, MediaPlaylist)
    assert (fmp4.map_uri, fmp4.map_range, fmp4.independent) == ("hv_f.m4s", ByteRange(827, 0), False)
    assert [s.byte_range for s in fmp4.segments] == [ByteRange(29325, 827), ByteRange(34051, 30152)]
    master = parse((VECTORS / "ffmpeg_master.m3u8").read_text())
    assert isinstance(master, MasterPlaylist)
    assert [(v.uri, v.resolution) for v in master.variants] == [("hv_g.m3u8", (160, 90))]
    assert master.variants[0].bandwidth_bps > 200_000 and (master.variants[0].codecs or "").startswith("avc1.")


def test_writes_exactly_this() -> None:
    media = MediaPlaylist((Segment("v/1.m4s", 6.04), Segment("v/2.m4s", 1.5)), 7, version=7, map_uri="v/init.mp4")
    assert write_media(media) == (
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:7\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n"
        '#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI="v/init.mp4"\n'
        "#EXTINF:6.040000,\nv/1.m4s\n#EXTINF:1.500000,\nv/2.m4s\n#EXT-X-ENDLIST\n"
    )
    master = MasterPlaylist((Variant("a.m3u8", 1_200_000, 900_000, "avc1.4D401E,mp4a.40.2", (720, 404), 25.0),))
    assert write_master(master) == (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n"
        '#EXT-X-STREAM-INF:BANDWIDTH=1200000,AVERAGE-BANDWIDTH=900000,CODECS="avc1.4D401E,mp4a.40.2",'
        "RESOLUTION=720x404,FRAME-RATE=25.000\na.m3u8\n"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not #EXTM3U"),
        ("#EXTINF:2,\na.ts\n", "not #EXTM3U"),
        ("#EXTM3U\n#EXTINF:2,\na.ts\n", "TARGETDURATION"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:2\na.ts\n", "without #EXTINF"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:two\n", "whole number"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:x,\na.ts\n", "decimal"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n#EXTINF:2,\nb\n", "not both"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n#EXT-X-BYTERANGE:5\na.ts\n", "without offset"),
    ],
)
def test_refuses(text: str, words: str) -> None:
    with pytest.raises(PlaylistError, match=words):
        parse(text)


def test_reports_deviations() -> None:
    found = parse("\ufeff#EXTM3U\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGETDURATION:2\n#EXTINF:9,\na.ts\n").deviations
    assert [d.code for d in found] == ["byte-order-mark", "longer-than-target", "vod-without-endlist"]


uris = st.text(st.characters(codec="ascii", exclude_characters='"#\\', categories=("L", "N")), min_size=1, max_size=20)
segments = st.builds(Segment, uris, st.integers(0, 10**7).map(lambda n: n / 1000))


@given(st.lists(segments, max_size=20), st.booleans(), st.none() | uris)
def test_what_is_written_reads_the_same(held: list[Segment], vod: bool, map_uri: str | None) -> None:
    playlist = MediaPlaylist(tuple(held), 10**5, vod=vod, map_uri=map_uri)
    assert parse(write_media(playlist)) == playlist


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    for start in ("", "#EXTM3U\n"):
        with contextlib.suppress(PlaylistError):
            parse(start + text)
