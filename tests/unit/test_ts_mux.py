"""The muxer's output, judged by ffmpeg, ffprobe and GStreamer, and byte by byte by our reader."""

from __future__ import annotations

import math
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from media import Unmuxable
from media.ts_index import TsIndex
from media.ts_mux import AUDIO_PID, PMT_PID, VIDEO_PID, mux_ts
from wire.mpegts import ContinuityMeter, discontinuity_preamble, parse_packet, parse_pes_header

FPS, SECONDS = 25, 8


def make_lesson(path: Path, *, sound: bool = True, seconds: int = SECONDS, bit_rate: int = 300_000) -> Path:
    """An MP4 of moving noise and a tone: B-frames, closed GOPs of 2 s."""
    noise = np.random.default_rng(7)
    with av.open(str(path), "w", format="mp4") as out:
        video = out.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt, video.bit_rate = 320, 240, "yuv420p", bit_rate
        video.gop_size = 2 * FPS
        video.options = {"bf": "2", "preset": "ultrafast", "x264-params": "scenecut=0:open-gop=0:b-adapt=0:bframes=2"}
        audio = out.add_stream("aac", rate=48_000, layout="stereo") if sound else None
        for number in range(seconds * FPS):
            picture = np.full((240, 320, 3), 16 + number % 200, np.uint8)
            picture[40:120, 40:200] = noise.integers(0, 255, (80, 160, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if audio is not None:
            wave = np.sin(np.arange(seconds * 48_000) * 2 * math.pi * 440 / 48_000).astype(np.float32) * 0.3
            for start in range(0, len(wave) - 1023, 1024):
                block = av.AudioFrame.from_ndarray(np.stack([wave[start : start + 1024]] * 2), "fltp", "stereo")
                block.sample_rate, block.pts, block.time_base = 48_000, start, Fraction(1, 48_000)
                out.mux(audio.encode(block))
            out.mux(audio.encode())
    return path


@pytest.fixture(scope="module")
def lesson(tmp_path_factory) -> Path:
    return make_lesson(tmp_path_factory.mktemp("lesson") / "lesson.mp4")


@pytest.fixture(scope="module")
def muxed(lesson) -> tuple[Path, TsIndex]:
    out = lesson.with_suffix(".ts")
    return out, mux_ts(lesson, out)


def ffmpeg_plays(path: Path) -> None:
    run = subprocess.run(
        [
            "ffmpeg",
            "-nostdin",
            "-v",
            "warning",
            "-xerror",
            "-err_detect",
            "explode",
            "-i",
            str(path),
            "-f",
            "null",
            "-",
        ],
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (0, "")


def picture_hashes(path: Path) -> list[str]:
    run = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", "-f",
         "framemd5", "-"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [line.split(",")[-1].strip() for line in run.stdout.splitlines() if not line.startswith("#")]


def frame_counts(path: Path) -> dict[str, int]:
    run = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_type,nb_read_frames",
         "-of", "csv=p=0", str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = {}
    for line in run.stdout.splitlines():
        fields = line.strip(",").split(",")
        if len(fields) >= 2:
            found[fields[0]] = int(fields[1])
    return found


def first_times(path: Path, *, primed: bool = True) -> dict[str, float]:
    """When each kind begins; of sound, ``primed``, the packet before the first one shown, needed to decode that one."""
    with av.open(str(path)) as container:
        found: dict[str, float] = {}
        hidden: dict[str, float] = {}
        for packet in container.demux():
            if packet.pts is None:
                continue
            at, kind = float(packet.pts * packet.time_base), packet.stream.type
            if not packet.is_discard:
                found[kind] = min(found.get(kind, at), at)
            elif kind not in found:
                hidden[kind] = at
        if primed and "audio" in hidden:
            found["audio"] = hidden["audio"]
        return found


@pytest.mark.stranger("ffmpeg")
def test_ffmpeg_plays_it_and_sees_the_source_s_pictures(lesson, muxed):
    ffmpeg_plays(muxed[0])
    assert picture_hashes(muxed[0]) == picture_hashes(lesson)
    assert len(picture_hashes(lesson)) == SECONDS * FPS
    counted = frame_counts(lesson)
    assert frame_counts(muxed[0]) == {**counted, "audio": counted["audio"] + 1}, "the priming frame comes along"


@pytest.mark.stranger("ffmpeg")
def test_each_segment_plays_alone_and_together_they_are_the_lesson(lesson, muxed, tmp_path):
    path, index = muxed
    data = path.read_bytes()
    assert len(index.segments) == 2
    hashes, whole = [], b""
    for number, segment in enumerate(index.segments):
        part = data[segment.offset_bytes : segment.offset_bytes + segment.length_bytes]
        whole += part
        file = tmp_path / f"{number}.ts"
        file.write_bytes(part)
        ffmpeg_plays(file)
        hashes += picture_hashes(file)
        assert frame_counts(file)["video"] == round(segment.duration_s * FPS)
    assert whole == data
    assert hashes == picture_hashes(lesson)


@pytest.mark.stranger("gst-launch-1.0")
def test_gstreamer_plays_it(muxed):
    chain = f"filesrc location={muxed[0]} ! tsdemux ! h264parse ! avdec_h264 ! fakesink"
    run = subprocess.run(["gst-launch-1.0", "-q", *chain.split()], capture_output=True, text=True, timeout=18)
    assert run.returncode == 0, run.stderr


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize(
    "name",
    [
        "h264_bpyramid_800x640.mp4",
        "h264_firstpts_10s.mp4",
        "h264_editlist_positive_shift.mp4",
        "h264_2byte_nal_length.mp4",
        "mov_bt601.mov",
        "h264_with_chapters.mp4",
    ],
)
def test_files_that_nobody_here_made(shared_media, tmp_path, name):
    out = tmp_path / "out.ts"
    index = mux_ts(shared_media / name, out)
    ffmpeg_plays(out)
    assert picture_hashes(out) == picture_hashes(shared_media / name)
    judge(out, index)
    theirs, ours = first_times(shared_media / name), first_times(out)
    if "audio" in theirs:
        assert ours["audio"] - ours["video"] == pytest.approx(theirs["audio"] - theirs["video"], abs=0.001)


def test_every_rule_of_the_stream_holds(muxed):
    judge(*muxed)


def test_without_sound(tmp_path):
    source = make_lesson(tmp_path / "silent.mp4", sound=False, seconds=3)
    index = mux_ts(source, tmp_path / "silent.ts")
    judge(tmp_path / "silent.ts", index)
    assert AUDIO_PID not in {parse_packet(p).pid for p in rows(tmp_path / "silent.ts")}


def rows(path: Path) -> list[bytes]:
    data = path.read_bytes()
    assert len(data) % 188 == 0 and data
    return [data[i : i + 188] for i in range(0, len(data), 188)]


def judge(path: Path, index: TsIndex) -> None:
    """Timing and structure of the whole file, read packet by packet."""
    meter = ContinuityMeter()
    meter.feed(path.read_bytes())
    assert (meter.continuity_errors, meter.sync_errors, meter.transport_errors, meter.duplicates) == (0, 0, 0, 0)
    packets = [parse_packet(row) for row in rows(path)]
    assert not [p.deviations for p in packets if p.deviations]
    pcr_at = [i for i, p in enumerate(packets) if p.pcr is not None]
    pcr = np.array([packets[i].pcr for i in pcr_at]) / 27e6
    assert all(packets[i].pid == VIDEO_PID for i in pcr_at)
    assert np.all(np.diff(pcr) > 0) and np.max(np.diff(pcr)) <= 0.0351
    time = np.interp(np.arange(len(packets)), pcr_at, pcr)
    assert np.max(np.diff(time[[i for i, p in enumerate(packets) if p.pid == 0]])) <= 0.1
    assert np.max(np.diff(time[[i for i, p in enumerate(packets) if p.pid == PMT_PID]])) <= 0.1

    last_of_unit: dict[int, tuple[float, bool]] = {}
    for i, packet in enumerate(packets):
        if packet.pid not in (VIDEO_PID, AUDIO_PID) or not packet.has_payload:
            continue
        if packet.unit_start:
            pes = parse_pes_header(packet.payload)
            due = pes.dts if pes.dts is not None else pes.pts
            last_of_unit[packet.pid] = due / 90e3, packet.random_access
            assert packet.pid == VIDEO_PID or due / 90e3 - time[i] < 0.2, "sound must not wait long in the decoder"
            if packet.pid == VIDEO_PID:
                es = packet.payload[pes.header_bytes :]
                assert es.startswith(b"\0\0\0\1\x09")
                assert packet.random_access == (b"\0\0\0\1\x67" in es or b"\0\0\0\1\x27" in es)
                if packet.random_access:
                    assert [p.pid for p in packets[i - 2 : i]] == [0, PMT_PID]
        assert time[i] <= last_of_unit[packet.pid][0]

    starts = {row.offset_bytes // 188 for row in index.keyframes[1:]}
    assert starts <= {i - 2 for i, p in enumerate(packets) if p.random_access}
    assert index.keyframes[0].offset_bytes == 0 and index.keyframes[0].time_s == 0.0


def test_sound_is_never_cut_by_a_segment(muxed):
    path, index = muxed
    packets = [parse_packet(row) for row in rows(path)]
    for segment in index.segments:
        first = next(p for p in packets[segment.offset_bytes // 188 :] if p.pid == AUDIO_PID)
        assert first.unit_start


def test_keyframes_give_counters_for_a_legal_jump(muxed):
    path, index = muxed
    data = path.read_bytes()
    for target in index.keyframes:
        meter = ContinuityMeter()
        meter.feed(data[: 188 * 40])
        meter.feed(discontinuity_preamble(target.next_cc, pcr_pid=index.pcr_pid, pcr=target.pcr_27mhz))
        meter.feed(data[target.offset_bytes :])
        assert meter.continuity_errors == 0
        assert parse_packet(data[target.offset_bytes :][:188]).pid == 0


def test_a_line_of_2_mbit_carries_it_in_real_time(tmp_path):
    source = make_lesson(tmp_path / "rich.mp4", seconds=6, bit_rate=1_000_000)
    index = mux_ts(source, tmp_path / "rich.ts")
    offsets, times = index.pacing.offset_bytes, index.pacing.time_s
    peak = max(
        (index.offset_at(t + 0.5) - index.offset_at(t)) * 8 / 0.5 for t in np.arange(0.0, float(times[-1]) - 0.5, 0.1)
    )
    mean = float(offsets[-1]) * 8 / index.duration_s
    assert mean > 700_000, "the test's own source is too thin to prove anything"
    assert peak < 2_000_000
    assert index.presentation_delay_s < 1.3


def test_the_lesson_begins_at_the_same_time_whatever_must_leave_before(tmp_path):
    """RFC 8216 §6.2.4: the same picture has the same time in every rendition."""
    began, first_pcr = [], []
    for name, rate in (("thin", 100_000), ("rich", 3_000_000)):
        index = mux_ts(make_lesson(tmp_path / f"{name}.mp4", seconds=4, bit_rate=rate), tmp_path / f"{name}.ts")
        began.append([each.pts_90khz for each in index.keyframes])
        first_pcr.append(index.keyframes[0].pcr_27mhz)
        assert first_times(tmp_path / f"{name}.ts")["video"] == pytest.approx(3.0, abs=0.001)
    assert began == [[270_000, 450_000]] * 2
    assert first_pcr[0] - first_pcr[1] > 0.1 * 27e6, "the test's own sources need the same start"


def test_the_clock_begins_at_a_second_even_when_seconds_are_hidden(tmp_path):
    source, cut = make_lesson(tmp_path / "whole.mp4", seconds=10), tmp_path / "cut.mp4"
    gop = ["-c:v", "libx264", "-g", "250", "-bf", "0", "-preset", "ultrafast", "-an"]
    for given, out, how in ((source, tmp_path / "long.mp4", gop), (tmp_path / "long.mp4", cut, ["-c", "copy"])):
        seek = ["-ss", "6"] if out == cut else []
        subprocess.run(["ffmpeg", "-v", "error", "-y", *seek, "-i", given, *how, out], check=True, timeout=20)
    index = mux_ts(cut, tmp_path / "cut.ts")
    assert index.keyframes[0].pcr_27mhz >= 27_000_000 and index.presentation_delay_s > 5
    judge(tmp_path / "cut.ts", index)


@pytest.mark.parametrize(
    "name",
    ["bad_cut_at_60kB.mp4", "bad_zero_length.mp4", "bad_missing_stsd.mp4", "bad_smallest.mp4", "h264_twos_pcm.mp4",
     "vp9_in_mp4.mp4", "h264_fake_aux_tracks_interleaved.mp4", "av1_363s_180p.mp4"],
)  # fmt: skip
def test_what_cannot_be_copied_is_refused_with_a_reason(shared_media, tmp_path, name):
    with pytest.raises(Unmuxable, match=r"transcode it|remux it"):
        mux_ts(shared_media / name, tmp_path / "out.ts")
