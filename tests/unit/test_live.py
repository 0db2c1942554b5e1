"""A lesson given live, without a source: time line, stream, segments, and what a channel makes of it all."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise

import pytest

from edge_server.bootstrap.live import listed, lives_of
from edge_server.catalog import EMPTY, CatalogView
from edge_server.egress.on_air import _Waiting, playlist_of
from edge_server.live import OFF_AIR_S, SAMPLE_MAX_BYTES, Kind, Sample
from edge_server.live.channel import LiveChannel
from edge_server.live.mux import QUEUE_MAX_PACKETS, Slice, TsMux
from edge_server.live.plan import LivePlan, parse_lives
from edge_server.live.records import HEAD, NotARecord, read_head, write_record
from edge_server.live.segments import KEPT_MAX_S, LISTED_MIN_S
from edge_server.live.sound import adts_head, read_config
from edge_server.live.timeline import Timeline
from edge_server.live.track import TRACK_MAX_S, LiveTrack
from edge_server.live.units import ParameterSets, is_idr, join, split
from edge_server.metrics.disk import Disk
from edge_server.metrics.families import write
from edge_server.metrics.sources import Noted, Sources
from edge_server.pacing.pacer import Pacer
from edge_server.uplink.standing import Standing
from runtime.clock import FakeClock
from runtime.settings import ConfigError
from tests.peers import tr101290
from wire.m3u8 import MediaPlaylist, parse
from wire.m3u8_write import write_media

SPS, PPS = bytes.fromhex("6764000dacd941"), bytes.fromhex("68ebe3cb")
KEY = join((SPS, PPS, b"\x65\x88" + bytes(range(1, 200)) * 60))
PICTURE = join((b"\x41" + bytes(range(1, 200)) * 8,))
BEGIN = datetime(2026, 11, 24, tzinfo=UTC)
FRAME = 3600


def feed(
    channel: LiveChannel,
    seconds: float,
    *,
    now_s: float = 0.0,
    zero: int = 1_000_000,
    gop: int = 50,
    speed: float = 1.0,
) -> float:
    """Give pictures and sound in real time, and return when it is then; ``zero`` is where the source counts from."""
    sound = 0
    for n in range(round(seconds * 25)):
        at_s, dts = now_s + n / 25, zero + n * FRAME
        key = n % gop == 0
        moment = BEGIN + timedelta(seconds=at_s)
        sample = Sample(Kind.KEY_PICTURE if key else Kind.PICTURE, dts, dts, KEY if key else PICTURE)
        channel.take(sample, at_s, moment)
        while sound * 1920 <= n * FRAME:
            channel.take(Sample(Kind.AAC, zero + sound * 1920, 0, adts_head((2, 3, 2), 180) + bytes(180)), at_s, moment)
            sound += 1
        channel.tick(at_s)
    return now_s + seconds


def channel(source: str = "whip") -> tuple[LiveChannel, list[Slice | None]]:
    made, heard = LiveChannel(LivePlan("910001", "早会", source)), list[Slice | None]()
    made.standing.append(heard.append)
    return made, heard


def stream(heard: list[Slice | None]) -> bytes:
    return b"".join(each.data for each in heard if each is not None)


# -- the setting


def test_the_setting_names_channels_sources_and_groups() -> None:
    found = parse_lives(
        "开学典礼=whip; 910077 讲座=rtsp://u:p@10.0.0.9/main@@rtp:239.1.1.9:5000; 早会=srt://0.0.0.0:9000?mode=listener"
    )
    assert [each.channel_id for each in found] == ["910001", "910077", "910003"]
    assert found[1].source == "rtsp://u:p@10.0.0.9/main"
    assert (found[1].multicast, found[1].rtp) == ("239.1.1.9:5000", True)
    assert found[2].source == "srt://0.0.0.0:9000?mode=listener"


@pytest.mark.parametrize(
    "text",
    [
        "whip",
        "a=http://x/y",
        "a=file:relative",
        "a=srt://host",
        "a=rtsp://h/x?mode=listener",
        "a=srt://h:1?mode=rendezvous",
        "a=whip@@10.0.0.1:5000",
        "a=whip@@rtp:239.1.1.1:5001",
        "a=whip;a=whip",
        "1 a=whip;1 b=whip",
        "a=whip@@239.1.1.1:5000;b=whip@@239.1.1.1:5000",
        ";".join(f"{n}=whip" for n in range(9)),
        "a=rtmp://h:99999/x",
    ],
)
def test_what_makes_no_sense_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_lives(text)


def test_whip_needs_a_token_and_ids_are_taken_once() -> None:
    with pytest.raises(ConfigError, match="口令"):
        lives_of("a=whip", "short", ())
    lives = lives_of("a=whip", "x" * 16, ())
    (shown,) = listed(lives, 3)
    assert (shown.channel_id, shown.number, shown.time_shift_s) == ("910001", 4, 0.0)
    programme, _ = shown.at(BEGIN)
    assert programme.title.startswith("a 直播")


# -- time


def test_a_source_whose_clock_is_slow_or_fast_is_followed() -> None:
    for speed in (0.9997, 1.0003):
        line, far = Timeline(), 0.0
        for n in range(25 * 3600):
            offset, jumped = line.picture(round(n * FRAME * speed), n * FRAME)
            assert jumped == (n == 0)
            far = max(far, abs(round(n * FRAME * speed) + offset - n * FRAME))
        assert far < 0.2 * 90_000, "an hour of 300 ppm is a second"


def test_times_grow_whatever_a_source_says() -> None:
    line, last = Timeline(), -1
    for n, dts in enumerate([0, 3600, 3600, 9_000_000, 9_003_600, 5, 3605, 2**40, -(2**40), 0]):
        offset, _ = line.picture(dts, n * FRAME)
        assert dts + offset > last
        last = dts + offset
        assert abs(last - n * FRAME) < 90_000
    assert line.jumps >= 3


# -- the stream


def test_the_stream_is_clean_and_whole() -> None:
    made, heard = channel()
    made.begin(sound=True, now_s=0.0)
    feed(made, 8.0)
    report = tr101290.check(stream(heard))
    assert report.wrong == []
    assert report.pids == {0x100: 0x1B, 0x101: 0x0F}
    assert report.pcr_gap_max_s <= 0.0301
    assert report.time_bases == 1
    assert report.units[0x100] > 25 * 6 and report.units[0x101] > 46 * 6


def test_a_source_that_comes_back_goes_on_in_the_same_stream() -> None:
    made, heard = channel()
    made.begin(sound=True, now_s=0.0)
    now_s = feed(made, 5.0)
    made.leave(now_s)
    for n in range(100):
        made.tick(now_s + n * 0.04)
    made.begin(sound=False, now_s=now_s + 4.0)
    feed(made, 5.0, now_s=now_s + 4.0, zero=77)
    report = tr101290.check(stream(heard), pts_s=6.0)
    assert report.wrong == []
    assert made.counters["broadcasts"] == 1
    assert made.broadcast is not None
    text = write_media(playlist_of(made.broadcast) or pytest.fail("no list"))
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    lengths = [each.duration_s for each in made.broadcast.segments.kept]
    assert lengths == pytest.approx([2, 2, 1, 2, 2], abs=0.01), "the gap belongs to no segment"
    data = stream(heard)
    tables = (data[at : at + 188] for at in range(0, len(data), 188) if data[at + 1 : at + 3] == b"\x50\x00")
    assert [version for version, _ in groupby(table[10] >> 1 & 31 for table in tables)] == [1, 2], "sound is gone"
    assert "ENDLIST" not in text


def test_a_source_that_stays_away_ends_the_broadcast_and_a_later_one_begins_another() -> None:
    made, heard = channel()
    made.begin(sound=True, now_s=0.0)
    now_s = feed(made, 5.0)
    made.leave(now_s)
    made.tick(now_s + OFF_AIR_S - 0.1)
    assert made.on_air is not None and heard[-1] is not None
    made.tick(now_s + OFF_AIR_S + 0.1)
    first = made.broadcast
    assert made.on_air is None and heard[-1] is None and first is not None and first.ended
    playlist = playlist_of(first)
    assert playlist is not None and playlist.ended
    read = parse(write_media(playlist))
    assert isinstance(read, MediaPlaylist) and read.ended
    assert abs(sum(each.duration_s for each in first.segments.kept) - 5.0) < 0.1, "to the last picture"
    made.begin(sound=True, now_s=100.0)
    feed(made, 5.0, now_s=100.0)
    assert made.on_air is not None and made.on_air is not first
    assert made.on_air.segments.kept[0].number > first.segments.kept[-1].number


def test_nothing_begins_in_the_middle_or_without_parameter_sets() -> None:
    made, heard = channel()
    made.begin(sound=False, now_s=0.0)
    made.take(Sample(Kind.PICTURE, 0, 0, PICTURE), 0.0, BEGIN)
    made.take(Sample(Kind.KEY_PICTURE, 0, 0, join((b"\x65\x88bc",))), 0.0, BEGIN)
    made.take(Sample(Kind.PICTURE, 0, 0, b"garbage"), 0.0, BEGIN)
    assert made.broadcast is None and heard == []
    made.take(Sample(Kind.KEY_PICTURE, 0, 0, join((SPS, PPS, b"\x65\x01bc"))), 0.0, BEGIN)
    assert made.broadcast is None, "only its last slices came"
    made.take(Sample(Kind.PARAMETERS, 0, 0, join((SPS, PPS))), 0.0, BEGIN)
    made.take(Sample(Kind.KEY_PICTURE, 0, 0, join((b"\x65\x88bc",))), 0.0, BEGIN)
    assert made.broadcast is not None
    (unit,) = made.broadcast.pictures.units
    assert unit.parts == (SPS, PPS, b"\x65\x88bc")


def test_segments_begin_with_tables_and_a_key_picture_and_are_bounded() -> None:
    made, _ = channel()
    made.begin(sound=True, now_s=0.0)
    feed(made, 60.0)
    assert made.broadcast is not None
    kept = made.broadcast.segments.kept
    assert LISTED_MIN_S < sum(each.duration_s for each in kept) <= KEPT_MAX_S
    playlist = playlist_of(made.broadcast)
    assert playlist is not None and playlist.segments[-1].uri == f"{kept[-1].number}.ts"
    assert LISTED_MIN_S <= playlist.duration_s < LISTED_MIN_S + 2.1, "RFC 8216 §6.2.2: three target durations"
    assert [each.number for each in kept] == list(range(kept[0].number, kept[0].number + len(kept)))
    for each in kept:
        assert each.duration_s == pytest.approx(2.0, abs=0.001)
        pids = [(each.data[at + 1] & 31) << 8 | each.data[at + 2] for at in range(0, 3 * 188, 188)]
        assert pids == [0, 0x1000, 0x100]
        assert each.data[2 * 188 + 5] & 0x50 == 0x50, "random access, and a clock"
        assert tr101290.check(each.data).checks <= {"1.3", "1.5"}
    report = tr101290.check(b"".join(each.data for each in kept))
    assert report.wrong == []


def test_a_source_with_rare_key_pictures_is_cut_without() -> None:
    made, _ = channel()
    made.begin(sound=False, now_s=0.0)
    feed(made, 30.0, gop=10_000)
    assert made.broadcast is not None
    playlist = playlist_of(made.broadcast)
    assert playlist is not None and len(playlist.segments) >= 3
    write_media(playlist)


def test_a_flood_is_bounded() -> None:
    made, _ = channel()
    made.begin(sound=False, now_s=0.0)
    big = join((SPS, PPS, b"\x65\x88" + b"\x11" * 500_000))
    for n in range(100):
        made.take(Sample(Kind.KEY_PICTURE, n * FRAME, n * FRAME, big), 0.001 * n, BEGIN)
    on_air = made.on_air
    assert on_air is not None
    assert on_air.mux.waiting <= QUEUE_MAX_PACKETS + 3000
    assert on_air.pictures.bytes <= 24 << 20
    assert made.counters["pictures left out"] > 0


def test_no_silence_of_sound_stops_the_pictures() -> None:
    mux = TsMux()
    mux.streams(sound=True)
    mux.picture(KEY, 0, 0, key=True, cut=0)
    data = b"".join(mux.slice(n * 2700).data for n in range(40))
    assert mux.waiting == 0
    assert len(data) > len(KEY)


# -- pieces


def test_a_track_forgets_and_calls_who_waits() -> None:
    track, called = LiveTrack(), list[int]()
    track.wait(5, lambda: called.append(5))
    track.wait(2000, lambda: called.append(2000))
    for n in range(1000):
        track.add(n / 25, n % 50 == 0, (b"x",))
    assert called == [5]
    assert track.units[-1].time_s - track.units[0].time_s <= TRACK_MAX_S
    assert track.is_gone(0) and not track.is_gone(1000)
    last, after = track.last_key(), track.key_after(30.0)
    assert last is not None and last.number == 950
    assert after is not None and after.number == 800
    assert track.unit(1000) is None and track.count > 10**9
    track.end()
    assert track.count == 1000
    assert called == [5, 2000]


def test_access_units_are_read() -> None:
    units = split(b"\0\0\0\1\x09\xf0" + KEY + b"\0\0")
    assert units[:2] == (SPS, PPS) and is_idr(units)
    sets = ParameterSets()
    sets.learn(units)
    assert sets.profile_level_id == "64000d"
    assert sets.complete((b"\x65a",)) == (SPS, PPS, b"\x65a")


def test_records_are_bounded() -> None:
    sample = Sample(Kind.OPUS, 5, -7, b"abc")
    raw = io.BytesIO(write_record(sample))
    assert read_head(raw.read(HEAD.size)) == (Kind.OPUS, 5, -7, 3)
    for kind, length in ((99, 1), (1, SAMPLE_MAX_BYTES + 1)):
        with pytest.raises(NotARecord):
            read_head(HEAD.pack(kind, 0, 0, length))


def test_adts_says_what_the_config_says() -> None:
    assert read_config(bytes.fromhex("1190")) == (2, 3, 2)
    assert adts_head((2, 3, 2), 100) == bytes.fromhex("fff14c800d7ffc")
    assert read_config(b"") is None and read_config(bytes.fromhex("2b92")) is None


async def test_a_viewer_that_reads_too_slowly_is_left() -> None:
    waiting = _Waiting(b"first")
    assert await waiting.next() == b"first"
    for _ in range(100):
        waiting.take(Slice(bytes(188 * 1000), 0, ()))
    with pytest.raises(ConnectionError):
        await waiting.next()


def test_a_channel_tells_its_numbers() -> None:
    made, _ = channel()
    made.begin(sound=True, now_s=0.0)
    feed(made, 5.0)
    sources = Sources(
        rows=[],
        ways={},
        logins={},
        boxes=int,
        pacer=Pacer(FakeClock(BEGIN)),
        view=lambda: CatalogView(EMPTY),
        to_package=int,
        utc_s=lambda: 0.0,
        monotonic_s=lambda: 0.0,
        lives={"910001": made},
    )
    text = write(sources, Noted(Standing(), Disk({}, 0))).decode()
    assert 'edge_live_on_air{channel="910001"} 1.0' in text
    assert 'edge_live_events_total{channel="910001",event="pictures"} 125.0' in text
    assert made.held_bytes > 100_000
    assert f'edge_live_held_bytes{{channel="910001"}} {float(made.held_bytes)}' in text


def test_browsers_get_pictures_in_order_and_boxes_all_of_them() -> None:
    """A source with B-frames: those that nobody refers to are left out for browsers; else they are told."""
    for referred, left in ((False, [0, 3, 6]), (True, [0, 3, 6])):
        made, _ = channel()
        made.begin(sound=False, now_s=0.0)
        late = b"\x41\x9a11" if referred else b"\x01\x9a11"
        shown = [0, 3, 1, 2, 6, 4, 5]
        for n, place in enumerate(shown):
            data = KEY if n == 0 else join((late if place in (1, 2, 4, 5) else b"\x41\x9a22",))
            kind = Kind.KEY_PICTURE if n == 0 else Kind.PICTURE
            made.take(Sample(kind, (place + 2) * FRAME, n * FRAME, data), n / 25, BEGIN)
        assert made.broadcast is not None
        times = [round(each.time_s * 25) - 2 for each in made.broadcast.pictures.units]
        assert times == left
        assert made.broadcast.reordered == referred
        assert made.counters["pictures"] == 7


def test_a_picture_that_says_it_is_shown_next_year_holds_up_nobody() -> None:
    made, _ = channel()
    made.begin(sound=True, now_s=0.0)
    made.take(Sample(Kind.KEY_PICTURE, 2**45, 0, KEY), 0.0, BEGIN)
    made.take(Sample(Kind.OPUS, 0, 0, bytes(60_000)), 0.0, BEGIN)
    for n in range(1, 100):
        made.take(Sample(Kind.PICTURE, n * FRAME, n * FRAME, PICTURE), n / 25, BEGIN)
    assert made.broadcast is not None
    assert len(made.broadcast.pictures.units) > 40
    assert len(made.broadcast.sound.units) == 0


def test_an_ended_list_is_forgotten_after_a_while() -> None:
    made, _ = channel()
    made.begin(sound=True, now_s=0.0)
    now_s = feed(made, 5.0)
    made.leave(now_s)
    made.tick(now_s + OFF_AIR_S + 1)
    assert made.broadcast is not None and made.broadcast.ended_s == now_s + OFF_AIR_S + 1


def test_moments_of_segments_add_up_however_late_pictures_come() -> None:
    """A player finds the next segment of a new list by them (hls.js left one out when they did not)."""
    made, _ = channel()
    made.begin(sound=False, now_s=0.0)
    for n in range(500):
        late_s = 0.3 * (n % 50 == 0 and n % 100 == 0)
        key = n % 50 == 0
        sample = Sample(Kind.KEY_PICTURE if key else Kind.PICTURE, n * FRAME, n * FRAME, KEY if key else PICTURE)
        made.take(sample, n / 25 + late_s, BEGIN + timedelta(seconds=n / 25 + late_s))
        made.tick(n / 25 + late_s)
    assert made.broadcast is not None
    for one, after in pairwise(made.broadcast.segments.kept):
        assert (after.starts_at - one.starts_at).total_seconds() == pytest.approx(one.duration_s, abs=1e-4)
