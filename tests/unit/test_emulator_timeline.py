import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stb_emulator.observe.pipe import BytePipe, PipeClosed
from stb_emulator.observe.timeline import AudioTimes, BufferModel, VideoTimes


def test_steady_pictures_have_no_gap() -> None:
    times = VideoTimes(0.04)
    for i in range(100):
        times.picture(i * 0.04)
    assert (times.gaps, times.backwards) == ([], 0)
    assert times.end_s == pytest.approx(4.0)


def test_gaps_and_steps_back_are_found() -> None:
    times = VideoTimes(0.04)
    for at in [0.0, 0.04, 0.08, 2.0, 2.04, 1.0, 2.08]:
        times.picture(at)
    assert times.gaps == [(0.08, 2.0)]
    assert times.backwards == 1


def test_slide_shows_are_not_gaps() -> None:
    times = VideoTimes(1.0)
    for i in range(10):
        times.picture(i * 1.0)
    assert times.gaps == []


def test_sound_must_follow_on() -> None:
    times = AudioTimes()
    for at in (0.0, 0.1, 0.2, 0.6, 0.2):
        times.block(at, 0.1)
    assert len(times.gaps) == 1
    assert times.backwards == 1


def test_data_in_time_never_stalls() -> None:
    model = BufferModel(1.0, 1.0)
    for i in range(500):
        model.arrive(i * 0.04, 10 + i * 0.04)
    model.finish()
    assert (model.stalls, model.stall_s) == (0, 0.0)


def test_a_pause_longer_than_the_buffer_is_one_stall_of_its_length() -> None:
    model = BufferModel(1.0, 1.0)
    for i in range(250):  # 5 s of media, then 3 s of nothing, then the rest at once
        model.arrive(i * 0.04, i * 0.04)
    for i in range(250, 500):
        model.arrive(i * 0.04, 13.0)
    model.finish()
    # playing began when 1 s was there, so picture 250 was due at 10 + 1 s
    assert model.stalls == 1
    assert model.stall_s == pytest.approx(13.0 - 11.0)


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=60))
def test_never_more_stalling_than_lateness(waits: list[float]) -> None:
    model, now = BufferModel(0.2, 0.2), 0.0
    for i, wait in enumerate(waits):
        now += wait
        model.arrive(i * 0.04, now)
    model.finish()
    assert 0 <= model.stall_s <= now + 1e-9


async def test_the_pipe_is_bounded_and_keeps_the_order() -> None:
    pipe = BytePipe(max_bytes=1000, silence_s=5)
    got = bytearray()

    def read() -> None:
        while data := pipe.read(300):
            got.extend(data)

    thread = threading.Thread(target=read)
    data = bytes(range(256)) * 40
    thread.start()
    for at in range(0, len(data), 256):
        await pipe.write(data[at : at + 256], at)
    pipe.end()
    await asyncio.to_thread(thread.join)
    assert bytes(got) == data
    assert pipe.arrival_of(256) == 0
    assert pipe.arrival_of(257) == 256


async def test_a_full_pipe_refuses_what_cannot_wait_and_an_abandoned_one_everything() -> None:
    pipe = BytePipe(max_bytes=100, silence_s=5)
    assert pipe.put(b"x" * 100, 0)
    assert not pipe.put(b"y", 0)
    assert pipe.overruns == 1
    waiting = asyncio.ensure_future(pipe.write(b"z", 0))
    await asyncio.sleep(0)
    pipe.abandon()
    with pytest.raises(PipeClosed):
        await waiting
    with pytest.raises(PipeClosed):
        pipe.put(b"z", 0)


def test_a_silent_writer_ends_the_reading() -> None:
    pipe = BytePipe(silence_s=0.05)
    assert pipe.read(10) == b""
    assert pipe.starved
