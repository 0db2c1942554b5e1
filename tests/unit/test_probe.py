"""What a look at a file says, on files made here; real ones: tests/scenario/test_ingest_real_media.py."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fixtures.lessons import make_counted_lesson
from media.probe import Unreadable, missing_bytes, nearest_rate, probe


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probe") / "lesson.mp4"
    return make_counted_lesson(path, frames=100, title="t", seed=1, size=(256, 144)).path


def test_a_plain_lesson(lesson: Path) -> None:
    found = probe(lesson)
    video, audio = found.video, found.audio
    assert video is not None and audio is not None
    assert (video.codec, video.width, video.height, video.pixel_format) == ("h264", 256, 144, "yuv420p")
    assert (video.rate, video.constant, video.packets) == (25, True, 100)
    assert (video.start_s, video.end_s, video.rotation, video.interlaced) == (0, 4.0, 0, False)
    assert video.starts_with_keyframe and video.dts_in_order and not video.trimmed and video.decodable
    assert video.keyframe_gap_s <= 2.0 and video.nal_length_bytes == 4 and video.level > 0
    assert (audio.codec, audio.profile, audio.sample_rate, audio.channels) == ("aac", "LC", 48000, 2)
    assert (found.encrypted, found.unknown_tracks, found.missing_bytes) == (False, 0, 0)


def _encoded(path: Path, codec: str, *, options: dict[str, str], rotation: int = 0) -> Path:
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt, video.options = 256, 144, "yuv420p", options
        if rotation:
            video.set_display_rotation(rotation)
        for number in range(12):
            picture = np.full((216, 256), 40 + 10 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_phone_s_rotation(tmp_path: Path, rotation: int) -> None:
    path = _encoded(tmp_path / "phone.mp4", "libx264", options={}, rotation=rotation)
    video = probe(path).video
    assert video is not None and video.rotation % 360 == rotation % 360


def test_interlaced_pictures(tmp_path: Path) -> None:
    path = _encoded(tmp_path / "i.mp4", "libx264", options={"x264-params": "tff=1"})
    video = probe(path).video
    assert video is not None and video.interlaced


@pytest.mark.parametrize(
    "text",
    [
        b"export const answer: number = 42;\n" * 40,
        b"#EXTM3U\n#EXTINF:4,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 5004 RTP/AVP 96\n",
        b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
        b"",
    ],
    ids=["typescript", "play list", "concat", "sdp", "dash", "empty"],
)
def test_text_is_no_media_and_opens_no_other_file(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "file.ts"
    path.write_bytes(text)
    with pytest.raises(Unreadable):
        probe(path)


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_broken_off_copy_says_how_much_is_missing(tmp_path: Path, lesson: Path, kept: float) -> None:
    whole = lesson.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert missing_bytes(path) == len(whole) - int(len(whole) * kept)
    assert missing_bytes(lesson) == 0


def test_encrypted_tracks_are_seen_without_decoding(tmp_path: Path, lesson: Path) -> None:
    path = tmp_path / "encrypted.mp4"
    path.write_bytes(lesson.read_bytes().replace(b"avc1", b"encv"))
    assert probe(path).encrypted


@pytest.mark.parametrize(
    ("measured", "rate"),
    [
        (25.0001, Fraction(25)),
        (29.9702, Fraction(30000, 1001)),
        (30.003, Fraction(30)),
        (23.9761, Fraction(24000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (14.9, Fraction(149, 10)),
    ],
)
def test_measured_rates_are_brought_to_customary_ones(measured: float, rate: Fraction) -> None:
    assert nearest_rate(measured) == rate
