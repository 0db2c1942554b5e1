"""AAC becomes Opus chunk by chunk, and a decoder that plays through hears no seam."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_server.egress.whep.frames import Source
from edge_server.egress.whep.lesson import Lesson, open_lesson
from edge_server.egress.whep.sound import CHUNK_FRAMES, FRAME_S, OPUS_HZ, Sound
from fixtures.lessons import make_counted_lesson
from media import Unmuxable

FRAMES = 300
"""12 s: two chunks of sound."""
PRE_SKIP = 312


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "lesson.mp4"
    return make_counted_lesson(path, frames=FRAMES, title="x", seed=3, size=(160, 96), x264="bframes=0").path


@pytest.fixture(scope="module")
def lesson(file: Path) -> Lesson:
    return open_lesson(file, "sha")


def sound_of(lesson: Lesson) -> Sound:
    assert lesson.sound is not None
    return lesson.sound


def played(sound: Sound, chunks: range) -> NDArray[np.float64]:
    """Decode as a browser does: one decoder, packet after packet; return one channel."""
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = OPUS_HZ, "stereo"
    found = [
        each.to_ndarray().reshape(-1, 2)[:, 0]
        for number in chunks
        for frame in sound.read_chunk(number).frames
        for each in decoder.decode(av.Packet(frame.payloads[0]))
    ]
    return np.concatenate(found) / 32768


def test_chunks_have_frames_on_one_grid(lesson: Lesson) -> None:
    sound = sound_of(lesson)
    times = [frame.time_s for number in range(sound.chunks) for frame in sound.read_chunk(number).frames]
    assert len(times) == pytest.approx(FRAMES / 25 / FRAME_S, abs=1)
    assert np.diff(times) == pytest.approx(FRAME_S)
    assert times[0] == sound.begins_s(0) == pytest.approx(-PRE_SKIP / OPUS_HZ)
    assert sound.chunk_at(9.99) == 0 and sound.chunk_at(10.0) == 1 and sound.chunk_at(99) == 1


def test_tones_begin_at_their_seconds_on_both_sides_of_a_seam(lesson: Lesson) -> None:
    heard = played(sound_of(lesson), range(2))[PRE_SKIP:]
    at = np.arange(OPUS_HZ // 10)
    tone = 0.4 * np.sin(2 * np.pi * 1000 * at / OPUS_HZ)
    for second in (1, 8, 9, 10, 11):
        begin = second * OPUS_HZ
        part = heard[begin + 480 : begin + 4320]
        error = part - tone[480:4320]
        assert np.sqrt((error**2).mean()) < 0.2 * np.sqrt((tone**2).mean()), second
        assert np.abs(heard[begin - OPUS_HZ // 2 : begin - 480]).max() < 0.02, "silence between"
    seam = CHUNK_FRAMES * round(FRAME_S * OPUS_HZ)
    assert np.abs(np.diff(heard[seam - 480 : seam])).max() < 0.02


def test_what_cannot_be_decoded_is_silence_of_the_same_length(tmp_path: Path, file: Path, lesson: Lesson) -> None:
    whole = sound_of(lesson)
    data = bytearray(file.read_bytes())
    second = (whole.time_s >= 3.5) & (whole.time_s < 4.5)
    for offset, size in zip(whole.offsets[second], whole.sizes[second], strict=True):
        data[offset : offset + size] = b"\xff" * size
    spoiled = tmp_path / "spoiled.mp4"
    spoiled.write_bytes(data)
    heard = played(dataclasses.replace(whole, source=Source(spoiled)), range(1))[PRE_SKIP:]
    assert np.abs(heard[int(3.6 * OPUS_HZ) : int(4.4 * OPUS_HZ)]).max() < 0.02
    assert np.abs(heard[5 * OPUS_HZ + 480 : 5 * OPUS_HZ + 4320]).max() > 0.3, "the fifth tone is in its place"
    assert np.abs(heard[5 * OPUS_HZ - 9600 : 5 * OPUS_HZ - 480]).max() < 0.02


def test_a_lesson_that_was_cut_ends_with_words(tmp_path: Path, file: Path, lesson: Lesson) -> None:
    short = tmp_path / "short.mp4"
    short.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    cut = dataclasses.replace(lesson, source=Source(short))
    with pytest.raises(Unmuxable, match="behind the end"):
        for number in range(cut.chunks):
            cut.read_chunk(number)


def test_a_file_is_open_as_long_as_somebody_needs_it(tmp_path: Path, file: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(file.read_bytes())
    lesson = open_lesson(copy, "sha")
    descriptor = lesson.source.descriptor
    copy.unlink()
    assert len(lesson.read_chunk(0).frames) == 50
    del lesson
    with pytest.raises(OSError):
        os.fstat(descriptor)
