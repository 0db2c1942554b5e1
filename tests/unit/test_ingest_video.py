"""Ingest of media files made here: every frame arrives, in its place, in step with the sound."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from central_platform.ingest import MadeVideo, RefusalReason, Refused, ingest
from fixtures.frame_code import draw, read
from fixtures.lessons import make_counted_lesson

SIZE = (512, 288)


def ignore(_: float) -> None:
    """Progress that nobody looks at."""


def made(source: Path, workdir: Path) -> MadeVideo:
    workdir.mkdir(exist_ok=True)
    found = ingest(source, workdir, on_progress=ignore)
    assert isinstance(found, MadeVideo)
    return found


def numbers(file: Path) -> list[int | None]:
    with av.open(str(file)) as source:
        return [read(frame.to_ndarray(format="gray")) for frame in source.decode(video=0)]


def times(file: Path) -> list[Fraction]:
    with av.open(str(file)) as source:
        return [frame.pts * frame.time_base for frame in source.decode(video=0)]


def beeps(file: Path) -> list[float]:
    """Return when the tone sets in."""
    with av.open(str(file)) as source:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in source.decode(audio=0)])
    loud = np.abs(sound[: len(sound) // 480 * 480]).reshape(-1, 480).max(axis=1) > 0.15
    starts = np.flatnonzero(np.diff(loud.astype(int), prepend=0) == 1) * 0.01
    return [float(start) for start in starts]


def write(path: Path, *, rate: int = 25, frames: int = 50, start_s: float = 0.0, **kinds: object) -> Path:
    """Write counted frames (unless ``video`` is False) and a steady tone (when ``audio``) into any container."""
    options = {str(key): str(value) for key, value in dict(kinds.get("options") or {}).items()}  # type: ignore[call-overload]
    with av.open(str(path), str(kinds.get("mode", "w"))) as out:
        video = (
            out.add_stream(str(kinds.get("codec", "libx264")), rate=rate, options=options)
            if kinds.get("video", True)
            else None
        )
        audio = out.add_stream("aac", rate=44100, layout="mono") if kinds.get("audio") else None
        if video is not None:
            video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
            if kinds.get("rotation"):
                video.set_display_rotation(int(str(kinds["rotation"])))
        samples = 0
        for number in range(frames):
            if video is not None:
                luma = np.full((SIZE[1], SIZE[0]), 60 + number % 100, np.uint8)
                draw(luma, number)
                chroma = np.full((SIZE[1] // 2, SIZE[0]), 128, np.uint8)
                frame = av.VideoFrame.from_ndarray(np.concatenate([luma, chroma]), format="yuv420p")
                frame.pts, frame.time_base = number + round(start_s * rate), Fraction(1, rate)
                out.mux(video.encode(frame))
            while audio is not None and samples < (number + 1) * 44100 // rate:
                out.mux(audio.encode(tone(samples, round(start_s * 44100))))
                samples += 1024
        for stream in (video, audio):
            if stream is not None:
                out.mux(stream.encode(None))
    return path


def tone(first: int, offset: int) -> av.AudioFrame:
    wave: NDArray[np.float32] = np.sin(2 * np.pi * 440 * np.arange(first, first + 1024) / 44100).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(0.3 * wave[None, :], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 44100, offset + first, Fraction(1, 44100)
    return frame


def test_every_frame_of_a_lesson_is_in_both_renditions(tmp_path: Path) -> None:
    lesson = make_counted_lesson(tmp_path / "安全用电.mp4", frames=110, title="t", seed=1, size=SIZE)
    found = made(lesson.path, tmp_path / "work")
    assert [each.name for each in found.renditions] == ["R12", "R40"]
    r12, r40 = found.renditions
    assert (r12.copied, r40.copied) == (False, True)
    for each in found.renditions:
        assert numbers(each.made.file) == list(range(110)) and each.frames == 110
        assert times(each.made.file) == [Fraction(n, 25) for n in range(110)]
        assert beeps(each.made.file) == pytest.approx([0, 1, 2, 3, 4], abs=0.03)
        assert each.duration_s == pytest.approx(4.4) and each.frame_rate == 25
        assert each.audio_codec == "mp4a.40.2" and each.average_bps <= each.peak_bps
        assert each.made.length_bytes == each.made.file.stat().st_size
    assert r12.video_codec == "avc1.4D401E" and r12.peak_bps <= 1_200_000
    assert found.poster is not None and found.warnings == ()
    assert sorted(each.name for each in (tmp_path / "work").iterdir()) == ["R12.mp4", "R40.mp4", "poster.jpg"]


def test_groups_of_pictures_are_closed_and_two_seconds_long(tmp_path: Path) -> None:
    lesson = make_counted_lesson(tmp_path / "l.mp4", frames=125, title="t", seed=1, size=SIZE)
    r12 = made(lesson.path, tmp_path / "work").renditions[0]
    with av.open(str(r12.made.file)) as source:
        packets = [packet for packet in source.demux(video=0) if packet.size]
    keys = [packet for packet in packets if packet.is_keyframe]
    assert [packet.pts * packet.time_base for packet in keys] == [0, 2, 4]
    for key in keys:  # closed: what follows a keyframe in the file is not shown before it
        later = packets[packets.index(key) :]
        assert all(packet.pts >= key.pts for packet in later)


def test_the_index_comes_first(tmp_path: Path) -> None:
    lesson = make_counted_lesson(tmp_path / "l.mp4", frames=50, title="t", seed=1, size=SIZE)
    for each in made(lesson.path, tmp_path / "work").renditions:
        head = each.made.file.read_bytes()
        assert 0 < head.index(b"moov") < head.index(b"mdat")


def test_sound_and_picture_take_turns_of_half_a_second(tmp_path: Path) -> None:
    """So what is cut out of a rendition later consists of few pieces."""
    lesson = make_counted_lesson(tmp_path / "l.mp4", frames=125, title="t", seed=1, size=SIZE)
    for each in made(lesson.path, tmp_path / "work").renditions:
        with av.open(str(each.made.file)) as source:
            places = sorted((packet.pos, packet.stream.type) for packet in source.demux() if packet.size)
        turns = sum(one[1] != other[1] for one, other in pairwise(places))
        assert 2 * 5 / 0.5 - 4 <= turns <= 2 * 5 / 0.5 + 4


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "libx264"), ("a.ts", "mpeg2video"), ("a.avi", "mpeg4"), ("a.ts", "libx264")]
)
def test_other_containers_and_codecs_lose_no_frame(tmp_path: Path, name: str, codec: str) -> None:
    found = made(write(tmp_path / name, codec=codec, audio=name != "a.avi"), tmp_path / "work")
    for each in found.renditions:
        assert numbers(each.made.file) == list(range(50))


def test_a_recording_that_begins_anywhere_begins_at_zero(tmp_path: Path) -> None:
    found = made(write(tmp_path / "a.ts", start_s=3883.2, audio=True), tmp_path / "work")
    for each in found.renditions:
        assert times(each.made.file) == [Fraction(n, 25) for n in range(50)]


def test_sixty_a_second_are_halved_for_old_boxes_only(tmp_path: Path) -> None:
    found = made(write(tmp_path / "a.mp4", rate=60, frames=120), tmp_path / "work")
    r12, r40 = found.renditions
    assert numbers(r12.made.file) == list(range(0, 120, 2)) and r12.frame_rate == 30
    assert numbers(r40.made.file) == list(range(120)) and r40.frame_rate == 60


def test_a_source_without_sound_gets_a_silent_track_as_long_as_the_picture(tmp_path: Path) -> None:
    found = made(write(tmp_path / "a.mp4"), tmp_path / "work")
    for each in found.renditions:
        with av.open(str(each.made.file)) as source:
            sound = np.concatenate([frame.to_ndarray()[0] for frame in source.decode(audio=0)])
        assert np.abs(sound).max() < 0.001 and abs(len(sound) / 48000 - 2.0) < 0.05
    assert "silent" in found.warnings[0]


def test_sound_alone_gets_a_card(tmp_path: Path) -> None:
    found = made(write(tmp_path / "a.m4a", video=False, audio=True), tmp_path / "work")
    for each in found.renditions:
        assert abs(each.duration_s - 2.0) < 0.1 and each.frames in (50, 51)
        with av.open(str(each.made.file)) as source:
            packets = [(packet.stream.type, packet.pos) for packet in source.demux() if packet.size]
        kinds = [kind for kind, _ in sorted(packets, key=lambda each: each[1] or 0)]
        assert set(kinds[: len(kinds) // 3]) == {"audio", "video"}, "picture and sound are not interleaved"
    assert found.poster is not None and "card" in found.warnings[0]


def test_interlaced_pictures_become_whole_ones(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mp4", options={"x264-params": "tff=1"})
    found = made(source, tmp_path / "work")
    for each in found.renditions:
        assert not each.copied and numbers(each.made.file) == list(range(50))
        with av.open(str(each.made.file)) as opened:
            assert not any(frame.interlaced_frame for frame in opened.decode(video=0))


@pytest.mark.parametrize(("rotation", "undo"), [(90, 3), (180, 2), (-90, 1)])
def test_rotation_is_applied_to_the_pixels(tmp_path: Path, rotation: int, undo: int) -> None:
    found = made(write(tmp_path / "phone.mp4", rotation=rotation, frames=12), tmp_path / "work")
    for each in found.renditions:
        with av.open(str(each.made.file)) as source:
            frames = list(source.decode(video=0))
        assert not frames[0].rotation
        # The player turns counter-clockwise by ``rotation``; turning back shows the strip on top again.
        back = [np.rot90(frame.to_ndarray(format="gray"), undo) for frame in frames]
        assert [read(np.ascontiguousarray(luma)) for luma in back] == list(range(12))


def test_a_splice_of_two_recordings_plays_on(tmp_path: Path) -> None:
    first = write(tmp_path / "1.ts", start_s=80000.0, audio=True)
    second = write(tmp_path / "2.ts", start_s=12.0, audio=True)
    spliced = tmp_path / "spliced.ts"
    spliced.write_bytes(first.read_bytes() + second.read_bytes())
    found = made(spliced, tmp_path / "work")
    for each in found.renditions:
        seen = numbers(each.made.file)
        assert seen[:50] == list(range(50)) and seen[-49:] == list(range(1, 50))
        assert len(seen) <= 106 and not each.copied
    assert any("jumps" in each for each in found.warnings)


def test_a_late_picture_is_held_from_the_beginning_of_the_sound(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        audio = out.add_stream("aac", rate=44100, layout="mono")
        for number in range(44100 * 3 // 1024):
            out.mux(audio.encode(tone(number * 1024, 0)))
        for number in range(50):
            luma = np.full((SIZE[1], SIZE[0]), 90, np.uint8)
            draw(luma, number)
            chroma = np.full((SIZE[1] // 2, SIZE[0]), 128, np.uint8)
            frame = av.VideoFrame.from_ndarray(np.concatenate([luma, chroma]), format="yuv420p")
            frame.pts, frame.time_base = number + 25, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
    for each in made(path, tmp_path / "work").renditions:
        assert numbers(each.made.file)[:76] == [0] * 25 + list(range(50))[:51]


def test_progress_grows_to_one(tmp_path: Path) -> None:
    lesson = make_counted_lesson(tmp_path / "l.mp4", frames=50, title="t", seed=1, size=SIZE)
    seen: list[float] = []
    (tmp_path / "work").mkdir()
    ingest(lesson.path, tmp_path / "work", on_progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) > 20


class Cancelled(Exception):
    pass


@pytest.mark.parametrize("at", [1, 60])
def test_giving_up_leaves_nothing(tmp_path: Path, at: int) -> None:
    lesson = make_counted_lesson(tmp_path / "l.mp4", frames=50, title="t", seed=1, size=SIZE)
    calls = 0

    def count(_: float) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise Cancelled

    (tmp_path / "work").mkdir()
    with pytest.raises(Cancelled):
        ingest(lesson.path, tmp_path / "work", on_progress=count)
    assert list((tmp_path / "work").iterdir()) == []


def damaged(path: Path, lesson: bytes, kind: str) -> Path:
    cuts = {
        "empty": b"",
        "text": "这是文字".encode() * 100,
        "cut": lesson[: len(lesson) // 2],
        "encrypted": lesson.replace(b"avc1", b"encv"),
        "noise": np.random.default_rng(1).bytes(50_000),
        "zeroed": lesson[: len(lesson) // 4] + bytes(len(lesson) - len(lesson) // 4),
    }
    path.write_bytes(cuts[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", RefusalReason.EMPTY),
        ("text", RefusalReason.UNREADABLE),
        ("noise", RefusalReason.UNREADABLE),
        ("cut", RefusalReason.DAMAGED),
        ("zeroed", RefusalReason.DAMAGED),
        ("encrypted", RefusalReason.ENCRYPTED),
    ],
)
def test_what_cannot_be_played_is_refused_and_nothing_is_left(tmp_path: Path, kind: str, reason: RefusalReason) -> None:
    lesson = make_counted_lesson(tmp_path / "l.mp4", frames=75, title="t", seed=1, size=SIZE)
    source = damaged(tmp_path / "bad.mp4", lesson.path.read_bytes(), kind)
    (tmp_path / "work").mkdir()
    with pytest.raises(Refused) as caught:
        ingest(source, tmp_path / "work", on_progress=ignore)
    assert caught.value.reason is reason
    assert list((tmp_path / "work").iterdir()) == []


def test_a_still_picture_belongs_into_picture_text(tmp_path: Path) -> None:
    one = write(tmp_path / "one.mp4", frames=1)
    (tmp_path / "work").mkdir()
    with pytest.raises(Refused) as caught:
        ingest(one, tmp_path / "work", on_progress=ignore)
    assert caught.value.reason is RefusalReason.NOT_A_VIDEO


def peak_bps(file: Path) -> float:
    """Bits of the busiest second, whichever it is, counted packet by packet in decoding order."""
    with av.open(str(file)) as source:
        packets = sorted(
            (float(p.dts * p.time_base), 8 * p.size) for p in source.demux() if p.dts is not None and p.size
        )
    times_s, bits = np.array([t for t, _ in packets]), np.array([b for _, b in packets])
    total = np.concatenate([[0], np.cumsum(bits)])
    ends = np.searchsorted(times_s, times_s + 1.0)
    return float((total[ends] - total[:-1]).max())


def test_the_hardest_picture_keeps_the_limits(tmp_path: Path) -> None:
    """Noise cannot be compressed: only the rate limit keeps it under what old boxes and lines can take."""
    random, source = np.random.default_rng(1), tmp_path / "noise.mp4"
    with av.open(str(source), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "20"})
        video.width, video.height, video.pix_fmt = 720, 576, "yuv420p"
        for number in range(100):
            data = random.integers(16, 235, (864, 720), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(data, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    limits = {"R12": 1_200_000, "R40": 4_000_000}
    for rendition in made(source, tmp_path / "work").renditions:
        found = peak_bps(rendition.made.file)
        assert 0.5 * limits[rendition.name] < found <= limits[rendition.name], rendition.name
        assert rendition.peak_bps <= limits[rendition.name]
