"""The makers of lessons say the truth: what they count can be read back."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from fixtures.frame_code import crc8, draw, read
from fixtures.lessons import make_counted_lesson, make_picture_text


def test_the_check_is_the_published_crc_8() -> None:
    # "CRC-8/SMBUS" in the catalogue of parametrised CRC algorithms: check value of "123456789".
    assert crc8(b"123456789") == 0xF4


@pytest.mark.parametrize("number", [0, 1, 0x55555, 0xAAAAA, 0xFFFFF])
@pytest.mark.parametrize("size", [(256, 144), (640, 360), (1920, 1080), (324, 576)])
def test_a_number_survives_drawing_and_reading(number: int, size: tuple[int, int]) -> None:
    luma = np.full((size[1], size[0]), 90, np.uint8)
    draw(luma, number)
    assert read(luma) == number


def test_a_flipped_cell_and_a_plain_picture_carry_no_code() -> None:
    luma = np.full((360, 640), 90, np.uint8)
    assert read(luma) is None
    draw(luma, 12345)
    luma[:45, 200:220] = 251 - luma[:45, 200:220]
    assert read(luma) is None


def test_every_frame_of_a_lesson_tells_its_number(tmp_path: Path) -> None:
    lesson = make_counted_lesson(tmp_path / "课.mp4", frames=60, title="安全用电", seed=3, size=(256, 144))
    with av.open(str(lesson.path)) as source:
        assert source.metadata["title"] == "安全用电"
        assert source.streams.video[0].start_time == 0
        numbers = [read(frame.to_ndarray(format="gray")) for frame in source.decode(video=0)]
    assert numbers == list(range(60)) and lesson.frames == 60 and lesson.duration_s == 2.4


def test_the_tone_beeps_at_every_whole_second(tmp_path: Path) -> None:
    lesson = make_counted_lesson(tmp_path / "a.mp4", frames=75, title="t", seed=1, size=(256, 144))
    with av.open(str(lesson.path)) as source:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in source.decode(audio=0)])
    loud = np.abs(sound).reshape(-1, 64).max(axis=1) > 0.2
    starts = [index * 64 / 48000 for index in np.flatnonzero(np.diff(loud.astype(int), prepend=0) == 1)]
    seconds = sorted({round(start) for start in starts})
    assert seconds == [0, 1, 2] and all(abs(start - round(start)) < 0.11 for start in starts)


def test_a_picture_text_folder_has_a_page_and_two_pictures(tmp_path: Path) -> None:
    folder = make_picture_text(tmp_path / "图文", "春耕")
    assert sorted(each.name for each in folder.iterdir()) == ["field.png", "lesson.md", "water.jpg"]
