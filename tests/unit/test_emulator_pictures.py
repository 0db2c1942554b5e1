import io

import av
import numpy as np
import pytest

from stb_emulator.observe.pictures import NumberWatch, StillWatch, luma_of, read_number
from tests.peers.scripted import draw_code, make_media


def _picture(number: int, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    luma = np.full(size, 90, np.uint8)
    draw_code(luma, number)
    return luma


@pytest.mark.parametrize("size", [(240, 320), (576, 720), (144, 256), (1080, 1920), (404, 718)])
@pytest.mark.parametrize("number", [0, 1, 0xAAAAA, 0x55555, (1 << 20) - 1])
def test_numbers_are_read_at_every_size(size: tuple[int, int], number: int) -> None:
    assert read_number(_picture(number, size)) == number


def test_plain_pictures_and_damaged_strips_carry_no_number() -> None:
    assert read_number(np.zeros((240, 320), np.uint8)) is None
    assert read_number(np.full((240, 320), 255, np.uint8)) is None
    for cell in range(32):
        luma = _picture(12345)
        luma[:30, cell * 10 : cell * 10 + 10] = 255 - luma[0, cell * 10 + 5]
        assert read_number(luma) is None, cell


@pytest.mark.parametrize("kind", ["mpegts", "mp4"])
def test_numbers_survive_x264(kind: str) -> None:
    with av.open(io.BytesIO(make_media(kind, 40)), "r") as container:
        read = [read_number(luma_of(f)) for f in container.decode(video=0)]
    assert read == list(range(40))


def test_ten_bit_pictures_are_read() -> None:
    frame = av.VideoFrame.from_ndarray(np.stack([_picture(77)] * 3, axis=2), format="rgb24")
    assert read_number(luma_of(frame.reformat(format="yuv420p10le"))) == 77


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0, 1, 2, 3, 4, 5], (0, 5, 0, 0, 0, 0)),
        ([0, 1, 2, 5, 6], (0, 6, 2, 0, 0, 0)),
        ([0, 1, 1, 2, 3], (0, 3, 0, 1, 0, 0)),
        ([0, 2, 1, 3, 4], (0, 4, 1, 0, 1, 0)),
        ([0, 1, 2, None, 3], (0, 3, 0, 0, 0, 1)),
    ],
)
def test_the_watch_counts(numbers: list[int | None], expected: tuple[int, ...]) -> None:
    watch = NumberWatch()
    for n in numbers:
        watch.picture(np.zeros((240, 320), np.uint8) if n is None else _picture(n))
    code = watch.result()
    assert code is not None
    assert (code.first, code.last, code.gaps, code.duplicates, code.reorders, code.unreadable) == expected
    assert code.perfect == (expected[2:] == (0, 0, 0, 0))


def test_a_lesson_without_numbers_is_not_judged() -> None:
    watch = NumberWatch()
    for _ in range(10):
        watch.picture(np.full((240, 320), 100, np.uint8))
    watch.picture(_picture(3))
    assert watch.result() is None


def test_black_and_frozen_time_add_up() -> None:
    watch = StillWatch()
    noise = np.random.default_rng(1).integers(60, 200, (2, 240, 320), np.uint8)
    for luma in (noise[0], noise[1], noise[1], noise[1]):
        watch.picture(luma, 0.04)
    for _ in range(3):
        watch.picture(np.full((240, 320), 16, np.uint8), 0.04)
    assert watch.black_s == pytest.approx(0.12)
    assert watch.frozen_s == pytest.approx(0.16)
