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
    Subtitles,
    Variant,
    parse,
)
from wire.m3u8_write import write_master, write_media

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


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ('#EXT-X-KEY:METHOD=AES-128,URI="k"', "encrypted"),
        ('#EXT-X-MAP:URI="a"\n#EXT-X-MAP:URI="b"', "several-maps"),
        ('#EXTINF:2,\nz.ts\n#EXT-X-MAP:URI="a"', "late-map"),
        ('#EXT-X-MAP:URI="a", BYTERANGE="5@0"', "attribute-list"),
        ('#EXT-X-MAP:URI="a",URI="a"', "attribute-list"),
        (" #EXT-X-INDEPENDENT-SEGMENTS", "blanks"),
        ("#EXTINF:2.5,\nz.ts", "longer-than-target"),  # rounds to 3, not to the even 2
    ],
)
def test_reports(tags: str, code: str) -> None:
    found = parse(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n{tags}\n#EXTINF:2,\na.ts\n#EXT-X-ENDLIST\n").deviations
    assert [d.code for d in found] == [code]


@pytest.mark.parametrize(
    "tags", ["#EXT-X-KEY:METHOD=NONE", '#EXT-X-MAP:URI="a"\n#EXT-X-MAP:URI="a"', "#EXT-X-NEWS:1", "# words", "\r"]
)
def test_does_not_report(tags: str) -> None:
    assert not parse(f"#EXTM3U\r\n#EXT-X-TARGETDURATION:2\r\n{tags}\n#EXTINF:2,\r\na.ts\r\n").deviations


def test_a_line_ends_where_rfc_8216_says_so_and_nowhere_else() -> None:
    held = MediaPlaylist((Segment("a.ts", 2.0, title="滴灌\u2028第一课\u3000"),), 2)
    assert parse(write_media(held)) == held


def test_byte_ranges_follow_one_another_when_no_offset_is_given() -> None:
    read = parse(
        '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI="f",BYTERANGE="8"\n#EXTINF:2,\n#EXT-X-BYTERANGE:5@8\nf\n'
        "#EXTINF:2,\n#EXT-X-BYTERANGE:7\nf\n"
    )
    assert isinstance(read, MediaPlaylist)
    assert read.map_range == ByteRange(8, 0)
    assert [s.byte_range for s in read.segments] == [ByteRange(5, 8), ByteRange(7, 13)]


@pytest.mark.parametrize(
    "held",
    [
        MediaPlaylist((Segment("a\n.ts", 1.0),), 2),
        MediaPlaylist((Segment("", 1.0),), 2),
        MediaPlaylist((Segment("#a", 1.0),), 2),
        MediaPlaylist((Segment("a.ts", 1.0, title="x\r\ny"),), 2),
        MediaPlaylist((Segment("a.ts", 2.5),), 2),
        MediaPlaylist((Segment("a.ts", -1.0),), 2),
        MediaPlaylist((), 2, map_uri='a"b'),
    ],
)
def test_does_not_write_what_nobody_could_read(held: MediaPlaylist) -> None:
    with pytest.raises(PlaylistError):
        write_media(held)


@pytest.mark.parametrize("held", [Variant("a b\n", 1), Variant("", 1), Variant("a", 1, codecs='avc1"')])
def test_does_not_write_a_variant_that_nobody_could_read(held: Variant) -> None:
    with pytest.raises(PlaylistError):
        write_master(MasterPlaylist((held,)))


uris = st.text(st.characters(codec="ascii", exclude_characters='"#\\', categories=("L", "N")), min_size=1, max_size=20)
segments = st.builds(Segment, uris, st.integers(0, 10**7).map(lambda n: n / 1000))


@given(st.lists(segments, max_size=20), st.booleans(), st.none() | uris)
def test_what_is_written_reads_the_same(held: list[Segment], vod: bool, map_uri: str | None) -> None:
    playlist = MediaPlaylist(tuple(held), 10**5, vod=vod, map_uri=map_uri)
    assert parse(write_media(playlist)) == playlist


variants = st.builds(
    Variant,
    uris,
    st.integers(0, 10**9),
    st.none() | st.integers(0, 10**9),
    st.none() | st.just("avc1.4d401e,mp4a.40.2"),
    st.none() | st.tuples(st.integers(1, 9999), st.integers(1, 9999)),
    st.none() | st.integers(1, 10**5).map(lambda n: n / 1000),
)


@given(st.lists(variants, min_size=1, max_size=5), st.booleans())
def test_what_is_written_of_a_master_reads_the_same(held: list[Variant], independent: bool) -> None:
    playlist = MasterPlaylist(tuple(held), independent=independent)
    assert parse(write_master(playlist)) == playlist


@pytest.mark.parametrize("name", ["ffmpeg_ts", "ffmpeg_fmp4_single_file", "ffmpeg_master"])
def test_what_ffmpeg_wrote_and_we_write_again_says_the_same(name: str) -> None:
    read = parse((VECTORS / f"{name}.m3u8").read_text())
    assert not read.deviations
    again = write_master(read) if isinstance(read, MasterPlaylist) else write_media(read)
    assert parse(again) == read


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    for start in ("", "#EXTM3U\n"):
        with contextlib.suppress(PlaylistError):
            parse(start + text)


def test_pictures_and_subtitles_are_written_and_read_back() -> None:
    variant = Variant("R40/index.m3u8", 900_000, codecs="avc1.4D401E", resolution=(640, 360), subtitles="words")
    pictures = Variant("R40/pictures.m3u8", 300_000, codecs="avc1.4D401E", resolution=(640, 360))
    words = Subtitles("words/zh.m3u8", "words", "中文", "zh", default=True)
    nameless = Subtitles("words/und.m3u8", "words", "?")
    master = MasterPlaylist((variant,), 7, pictures=(pictures,), subtitles=(words, nameless))
    text = write_master(master)
    assert parse(text) == master
    assert '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=300000,CODECS="avc1.4D401E",RESOLUTION=640x360,URI="R40/pict' in text
    assert 'TYPE=SUBTITLES,GROUP-ID="words",NAME="中文",LANGUAGE="zh",DEFAULT=YES,AUTOSELECT=YES,URI="words/zh' in text
    media = MediaPlaylist((Segment("v/pic-00001.m4s", 2.0),), 2, 7, map_uri="v/pictures.mp4", pictures_only=True)
    assert parse(write_media(media)) == media
    with pytest.raises(PlaylistError):
        write_master(MasterPlaylist((variant,), subtitles=(Subtitles("a", "words", 'a"b'),)))


def test_a_new_initialization_section_may_come_with_a_discontinuity() -> None:
    text = '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI="a"\n#EXTINF:2,\n1.m4s\n'
    change = '#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="b",BYTERANGE="9@1"\n'
    playlist = parse(f"{text}{change}#EXTINF:2,\n2.m4s\n#EXTINF:2,\n3.m4s\n")
    assert isinstance(playlist, MediaPlaylist) and not playlist.deviations
    assert (playlist.map_uri, playlist.map_range) == ("a", None)
    assert [(s.map_uri, s.map_range) for s in playlist.segments] == [(None, None)] + [("b", ByteRange(9, 1))] * 2
    plain = parse(f'{text}#EXT-X-MAP:URI="b"\n#EXTINF:2,\n2.m4s\n')
    assert [d.code for d in plain.deviations] == ["several-maps"]
