"""What a transport stream holds besides H.264 and ADTS, judged by ffmpeg and by the standards' checker."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from media import Unmuxable
from media.ts_check import check
from media.ts_mux import AUDIO_PID, PMT_PID, VIDEO_PID, mux_ts
from tests.unit.test_ts_mux import ffmpeg_plays, judge, make_lesson, picture_hashes
from wire.mpegts import parse_packet, parse_pmt, parse_section


@pytest.fixture(scope="module")
def lesson(tmp_path_factory) -> Path:
    return make_lesson(tmp_path_factory.mktemp("tracks") / "lesson.mp4", seconds=5)


def ffmpeg(*words: str) -> str:
    run = ["ffmpeg", "-nostdin", "-v", "error", "-noautorotate", *words]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout


def sound_hashes(path: Path) -> list[str]:
    lines = ffmpeg("-i", str(path), "-map", "0:a:0", "-f", "framemd5", "-").splitlines()
    return [line.split(",")[-1].strip() for line in lines if not line.startswith("#")]


def packet_hashes(path: Path, kind: str, bitstream_filter: str) -> list[str]:
    lines = ffmpeg(
        *("-i", str(path), "-map", f"0:{kind}:0", "-c", "copy", f"-bsf:{kind}", bitstream_filter, "-f", "framemd5", "-")
    ).splitlines()
    return [line.split(",")[5].strip() for line in lines if not line.startswith("#")]


def streams(path: Path) -> dict[int, int]:
    data = path.read_bytes()
    packets = (parse_packet(data[at : at + 188]) for at in range(0, 188 * 50, 188))
    pmt = parse_pmt(parse_section(next(each for each in packets if each.pid == PMT_PID).payload))
    return {pid: kind for kind, pid in pmt.streams}


def clean(path: Path) -> None:
    report = check(path)
    assert (report.priority1, report.priority2) == ((), ())


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize("name", ["hevc_hlg10.mp4", "hevc_8k_300ms.mp4"])
def test_h265(shared_media, tmp_path, name):
    out = tmp_path / "out.ts"
    index = mux_ts(shared_media / name, out)
    assert streams(out)[VIDEO_PID] == 0x24
    clean(out)
    sets = "filter_units=remove_types=32-35"
    theirs = packet_hashes(shared_media / name, "v", f"hevc_mp4toannexb,{sets}")
    assert packet_hashes(out, "v", sets) == theirs and theirs
    first = index.keyframes[0]
    assert out.read_bytes()[first.offset_bytes :][: first.length_bytes].count(b"\0\0\0\1\x46\x01\x50") >= 1


@pytest.mark.stranger("ffmpeg")
def test_h265_of_a_telephone_with_an_edit_list(shared_media, tmp_path):
    """What the edit list hides is only there when something shown needs it."""
    source, out = shared_media / "phone_hevc_editlist_rot_meta.mp4", tmp_path / "out.ts"
    mux_ts(source, out)
    clean(out)
    theirs, ours = picture_hashes_unturned(source), picture_hashes_unturned(out)
    begin = ours.index(theirs[0])
    assert ours[begin : begin + len(theirs)] == theirs
    assert len(ours) - len(theirs) < 10


def picture_hashes_unturned(path: Path) -> list[str]:
    lines = ffmpeg("-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-").splitlines()
    return [line.split(",")[-1].strip() for line in lines if not line.startswith("#")]


@pytest.mark.stranger("ffmpeg")
def test_latm_sounds_like_adts(lesson, tmp_path):
    adts, latm = tmp_path / "adts.ts", tmp_path / "latm.ts"
    mux_ts(lesson, adts)
    index = mux_ts(lesson, latm, audio="latm")
    assert (streams(adts)[AUDIO_PID], streams(latm)[AUDIO_PID]) == (0x0F, 0x11)
    judge(latm, index)
    clean(latm)
    ffmpeg_plays(latm)
    assert sound_hashes(latm) == sound_hashes(adts)
    assert len(sound_hashes(adts)) > 200


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize(("codec", "rate", "kind"), [("mp2", 48_000, 3), ("libmp3lame", 44_100, 3), ("mp2", 24_000, 4)])
def test_mpeg_audio(lesson, tmp_path, codec, rate, kind):
    source, out = tmp_path / "in.mp4", tmp_path / "out.ts"
    ffmpeg("-i", str(lesson), "-c:v", "copy", "-c:a", codec, "-ar", str(rate), "-b:a", "96k", str(source))
    index = mux_ts(source, out)
    assert streams(out)[AUDIO_PID] == kind
    judge(out, index)
    clean(out)
    ffmpeg_plays(out)
    theirs, ours = (packet_hashes(each, "a", "null") for each in (source, out))
    assert ours and ours == theirs[-len(ours) :]  # a first frame that the edit list hides whole is left out
    assert picture_hashes(out) == picture_hashes(source)


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize(
    ("codec", "words"), [("ac3", "the sound is ac3"), ("libopus", "the sound is opus"), ("flac", "the sound is f")]
)
def test_sound_that_it_cannot_hold_is_named(lesson, tmp_path, codec, words):
    source = tmp_path / "in.mp4"
    ffmpeg("-i", str(lesson), "-c:v", "copy", "-c:a", codec, "-strict", "-2", str(source))
    with pytest.raises(Unmuxable, match=rf"in.mp4: {words}.*must be AAC, MP2 or MP3; transcode it"):
        mux_ts(source, tmp_path / "out.ts")


@pytest.mark.stranger("ffmpeg")
def test_delimiters_and_parameter_sets_in_the_samples_come_once(lesson, tmp_path):
    """Samples with their own delimiters and sets (avc3) give the same access units as samples without."""
    own, out = tmp_path / "own.mp4", tmp_path / "own.ts"
    ffmpeg(
        *("-i", str(lesson), "-c", "copy", "-bsf:v", "h264_metadata=aud=insert,dump_extra", "-tag:v", "avc3", str(own))
    )
    index = mux_ts(own, out)
    judge(out, index)
    clean(out)
    data = (
        b"".join(
            packet.payload
            for at in range(0, out.stat().st_size, 188)
            if (packet := parse_packet(out.read_bytes()[at : at + 188])).pid == VIDEO_PID
        )
        if out.stat().st_size < 2_000_000
        else b""
    )
    assert data.count(b"\0\0\0\1\x09\xf0") == 125
    assert data.count(b"\0\0\0\1\x67") == 3
    assert picture_hashes(out) == picture_hashes(lesson)


@pytest.mark.stranger("ffmpeg")
def test_the_byte_range_of_a_key_picture_is_that_picture(lesson, tmp_path):
    out = tmp_path / "out.ts"
    index = mux_ts(lesson, out)
    data, whole = out.read_bytes(), picture_hashes(out)
    assert [each.time_s for each in index.keyframes] == [0.0, 2.0, 4.0]
    for key in index.keyframes:
        alone = tmp_path / "one.ts"
        alone.write_bytes(data[key.offset_bytes : key.offset_bytes + key.length_bytes])
        assert picture_hashes(alone) == [whole[round(key.time_s * 25)]]
        probe = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts", "-of", "csv=p=0"]
        run = subprocess.run([*probe, str(alone)], capture_output=True, text=True, check=True)
        assert int(run.stdout.split()[0].strip(",")) == key.pts_90khz


@pytest.mark.parametrize("packets", [1, 300])
def test_windows_of_any_size_give_a_clean_stream(lesson, tmp_path, monkeypatch, packets):
    whole = tmp_path / "whole.ts"
    want = mux_ts(lesson, whole)
    monkeypatch.setattr("media.ts_fill.WINDOW_PACKETS", packets)
    out = tmp_path / "out.ts"
    index = mux_ts(lesson, out)
    judge(out, index)
    clean(out)
    assert index.length_bytes == want.length_bytes
    assert [each.offset_bytes for each in index.segments] == [each.offset_bytes for each in want.segments]


@pytest.mark.stranger("ffmpeg")
def test_sound_keeps_its_times_where_frames_overlap(lesson, tmp_path):
    """Lessons joined without coding: the last frame of each part is cut short by the first of the next."""
    listing, source, out = tmp_path / "list.txt", tmp_path / "joined.mp4", tmp_path / "out.ts"
    listing.write_text(f"file {lesson}\n" * 3)
    ffmpeg("-f", "concat", "-safe", "0", "-i", str(listing), "-c", "copy", str(source))
    mux_ts(source, out)
    clean(out)
    theirs, ours = (sound_times(each) for each in (source, out))
    late = [a - b for a, b in zip(ours, theirs, strict=True)]
    assert max(late) - min(late) < 0.006


def sound_times(path: Path) -> list[float]:
    probe = ["ffprobe", "-v", "error", "-select_streams", "a", "-show_entries", "packet=pts_time", "-of", "csv=p=0"]
    run = subprocess.run([*probe, str(path)], capture_output=True, text=True, check=True)
    return [float(line.strip(",")) for line in run.stdout.split()]
