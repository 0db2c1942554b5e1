"""The pure parts of ingest: time, sizes, rates, peaks, judgement."""

from __future__ import annotations

from array import array
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_platform.ingest import RefusalReason, Refused
from central_platform.ingest.clip import Health, lost_pictures
from central_platform.ingest.judge import judged
from central_platform.ingest.measure import peak_bps
from central_platform.ingest.targets import R12, R40, Profile, display_size, shape_for, why_not_copy
from central_platform.ingest.timeline import Timeline
from central_platform.ingest.video import card_facts
from media.probe import AudioFacts, Probe, VideoFacts

STEP = 0.04
BLOCK = 1024 / 48000


def facts(**changes: object) -> VideoFacts:
    plain = card_facts(Probe("mov,mp4", "isom", None, None, 0, False, 1))
    good = replace(
        plain, codec="h264", profile="High", level=31, width=1280, height=720, nal_length_bytes=4, end_s=10.0
    )
    return replace(good, **changes)  # type: ignore[arg-type]


SOUND = AudioFacts(1, "aac", "LC", 48000, 2, 0.0, 10.0, 10.0)


# -- time


def timeline(zero: float = 100.0) -> Timeline:
    made = Timeline()
    made.begin(zero)
    return made


def test_time_begins_at_zero_and_sound_before_it_is_negative() -> None:
    time = timeline()
    assert time.at("picture", 100.0, STEP) == 0
    assert time.at("sound", 99.5, BLOCK) == pytest.approx(-0.5)
    assert time.at("sound", 99.5 + BLOCK, BLOCK) == pytest.approx(-0.5 + BLOCK)
    assert time.splices == 0


def test_a_frame_without_a_time_follows_the_one_before() -> None:
    time = timeline()
    time.at("picture", 100.0, STEP)
    assert time.at("picture", None, STEP) == pytest.approx(STEP)


@pytest.mark.parametrize("jump", [-95443.7, -50.0, 40.0, 3600.0])
def test_both_tracks_cross_a_splice_with_the_same_correction(jump: float) -> None:
    time, lead = timeline(0.0), 0.2  # sound lies 0.2 s behind the picture in the file
    for number in range(100):
        time.at("picture", number * STEP, STEP)
        time.at("sound", number * STEP - lead, STEP)
    for number in range(100, 120):
        shown = time.at("picture", jump + number * STEP, STEP)
        heard = time.at("sound", jump + number * STEP - lead, STEP)
        assert shown == pytest.approx(number * STEP)
        assert heard == pytest.approx(number * STEP - lead)
    assert time.splices == 1


def test_a_pause_of_one_track_is_no_splice() -> None:
    time = timeline(0.0)
    time.at("sound", 0.0, BLOCK)
    for number in range(2500):
        time.at("picture", number * STEP, STEP)
    assert time.at("sound", 99.0, BLOCK) == pytest.approx(99.0)
    assert time.splices == 0


def test_short_gaps_stay_gaps() -> None:
    time = timeline(0.0)
    time.at("picture", 0.0, STEP)
    assert time.at("picture", 7.0, STEP) == pytest.approx(7.0)
    assert time.splices == 0


# -- lost pictures


def test_pictures_that_nobody_shows_are_counted_before_and_after_the_first() -> None:
    announced = array("d", [n * STEP for n in range(100)])
    shown = array("d", [n * STEP for n in range(100) if n >= 14 and n not in (40, 41, 77)])
    assert lost_pictures(announced, shown) == (14, 3)


def test_second_fields_are_not_lost_pictures() -> None:
    announced = array("d", [n * STEP / 2 for n in range(100)])
    shown = array("d", [n * STEP for n in range(50)])
    assert lost_pictures(announced, shown) == (0, 0)


def test_nothing_shown_means_everything_lost_and_a_single_picture_is_found() -> None:
    assert lost_pictures(array("d", [0.0, 1.0]), array("d")) == (2, 0)
    assert lost_pictures(array("d", [0.0]), array("d", [0.0])) == (0, 0)


# -- sizes and rates


@given(
    width=st.integers(1, 8192),
    height=st.integers(1, 8192),
    rate=st.fractions(Fraction(1, 100), Fraction(1000), max_denominator=1001),
    profile=st.sampled_from([R12, R40]),
)
def test_every_shape_keeps_the_limits_of_its_level(width: int, height: int, rate: Fraction, profile: Profile) -> None:
    shape = shape_for(profile, width, height, rate)
    assert shape.width % 2 == 0 and shape.height % 2 == 0 and min(shape.width, shape.height) >= 16
    assert shape.width <= profile.width_max and shape.height <= profile.height_max
    blocks = -(-shape.width // 16) * -(-shape.height // 16)
    assert blocks <= profile.macroblocks_max and blocks * shape.rate <= profile.macroblocks_per_s_max
    assert 10 <= shape.rate <= profile.rate_max


@pytest.mark.parametrize(
    ("width", "height", "rate", "expected"),
    [
        (1920, 1080, 25, (720, 404, 25)),
        (1024, 576, 25, (720, 404, 25)),
        (768, 576, 25, (720, 540, 25)),
        (720, 576, 25, (720, 576, 25)),
        (640, 360, 30, (640, 360, 30)),
        (640, 360, 50, (640, 360, 25)),
        (640, 360, 60, (640, 360, 30)),
        (720, 1280, 30, (324, 576, 30)),
        (640, 360, 5, (640, 360, 10)),
        (640, 360, 600, (640, 360, 25)),
    ],
)
def test_sizes_for_old_boxes(width: int, height: int, rate: int, expected: tuple[int, int, int]) -> None:
    shape = shape_for(R12, width, height, Fraction(rate))
    assert (shape.width, shape.height, shape.rate) == expected


def test_display_size_knows_pixel_shape_and_rotation() -> None:
    assert display_size(facts(width=720, height=576, sample_aspect=Fraction(64, 45))) == (1024, 576)
    assert display_size(facts(width=1920, height=1080, rotation=-90)) == (1080, 1920)
    assert display_size(facts(width=720, height=576, sample_aspect=Fraction(900))) == (720, 576)


# -- copying


def test_a_fitting_stream_is_copied() -> None:
    assert why_not_copy(facts(), SOUND, "mov,mp4,m4a,3gp,3g2,mj2") == ""
    assert why_not_copy(facts(), None, "mov,mp4,m4a,3gp,3g2,mj2") == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"codec": "hevc"}, "codec"),
        ({"pixel_format": "yuv420p10le"}, "codec"),
        ({"pixel_format": "yuvj420p"}, "codec"),
        ({"profile": "High 4:4:4 Predictive"}, "profile"),
        ({"level": 51}, "level"),
        ({"nal_length_bytes": 2}, "NAL lengths"),
        ({"width": 3840, "height": 2160}, "size"),
        ({"interlaced": True}, "interlaced"),
        ({"rotation": 180}, "rotation"),
        ({"sample_aspect": Fraction(64, 45)}, "pixel shape"),
        ({"constant": False}, "variable rate"),
        ({"trimmed": True}, "edit list"),
        ({"keyframe_gap_s": 12.0}, "keyframes"),
        ({"starts_with_keyframe": False}, "keyframes"),
        ({"dts_in_order": False}, "order"),
        ({"peak_bps": 9_000_000}, "bit rate"),
        ({"start_s": 1.0}, "sound before"),
        ({"end_s": 8.0}, "sound after"),
    ],
)
def test_a_stream_that_does_not_fit_says_why(changes: dict[str, object], reason: str) -> None:
    assert why_not_copy(facts(**changes), SOUND, "mov,mp4") == reason


# -- peaks


def test_the_peak_is_that_of_any_second() -> None:
    assert peak_bps([(0.0, 100), (0.9, 500), (1.1, 500), (2.2, 100)]) == 1000
    assert peak_bps([(0.0, 7), (1.0, 7)]) == 7


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 1000)), min_size=1, max_size=40))
def test_the_peak_agrees_with_trying_every_window(sizes: list[tuple[float, int]]) -> None:
    every = max(sum(bits for time, bits in sizes if end - 1.0 < time <= end) for end, _ in sizes)
    assert peak_bps(sizes) == every


# -- judgement


def judge(container: str, **health: int) -> list[str]:
    held = Probe(container, "", facts(), SOUND, 0, False, 1)
    return judged(held, Health(**{"pictures": 970, "sounds": 100, "sound_packets": 100} | health))


def test_a_file_with_an_index_may_lose_one_picture_in_a_hundred_a_recording_ten() -> None:
    assert judge("mov,mp4", pictures=995, lost=5)
    with pytest.raises(Refused) as caught:
        judge("mov,mp4", lost=30)
    assert caught.value.reason is RefusalReason.DAMAGED
    assert judge("mpegts", lost=30)
    with pytest.raises(Refused):
        judge("mpegts", pictures=800, lost=200)


def test_a_clean_file_has_no_warnings_and_a_silent_or_dark_one_has() -> None:
    assert judge("mov,mp4") == []
    assert "silent" in judged(Probe("mov", "", facts(), None, 0, False, 1), Health(pictures=9))[0]
    assert "card" in judged(Probe("mp3", "", None, SOUND, 0, False, 1), Health(sounds=9, sound_packets=9))[0]


def test_sound_that_cannot_be_decoded_is_not_published_as_silence() -> None:
    with pytest.raises(Refused):
        judge("mov,mp4", sound_errors=100, sounds=0)
    with pytest.raises(Refused):
        judge("mov,mp4", sound_errors=30)
    assert judge("mov,mp4", sound_errors=1)


@pytest.mark.parametrize("reason", list(RefusalReason))
def test_every_refusal_speaks_chinese_first_then_english(reason: RefusalReason) -> None:
    chinese, english = str(Refused(reason, "x")).split(" / ", 1)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese)
    assert english.isascii() and english.endswith("(x)")
