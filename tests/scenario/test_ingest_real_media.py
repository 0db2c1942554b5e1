"""Real files that nobody here made: each becomes two renditions that keep every limit, or is refused with a reason.

The judges are strangers: ffprobe says what is in a rendition, ffmpeg decodes it to the end.
"""

from __future__ import annotations

import json
import os
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from central_platform.ingest import MadeRendition, MadeVideo, RefusalReason, Refused, ingest

R = RefusalReason
REFUSED = {
    "bad_cut_at_60kB.mp4": R.DAMAGED,
    "bad_invalid_nalu.mp4": R.DAMAGED,
    "bad_missing_stsd.mp4": R.DAMAGED,
    "bad_smallest.mp4": R.NO_PLAYABLE_MEDIA,
    "bad_typescript_named.ts": R.UNREADABLE,
    "bad_zero_length.mp4": R.EMPTY,
    "fmp4_cenc_clearkey.mp4": R.ENCRYPTED,
    "h264_fake_aux_tracks_interleaved.mp4": R.DAMAGED,  # five pictures, all of the same time
    "ts_encrypted_aes.ts": R.UNREADABLE,  # whole-file ciphertext looks like noise
    "ts_junk_prefix.ts": R.DAMAGED,  # half of its six pictures are beyond repair
    "ts_zero_length.ts": R.NO_PLAYABLE_MEDIA,
}
TEXT_TRACKS = {"mkv_ass.mkv", "mkv_srt.mkv"}
MINUTES = {"av1_363s_180p.mp4", "h264_1080p_363s_lowrate.mp4", "h264_1080p_363s_videoonly.mp4"}
"""Long lessons: only with --all-media."""
COPIED = {
    "fmp4_multi_sidx.mp4",
    "fmp4_plain.mp4",
    "h264_1080p_363s_lowrate.mp4",
    "h264_1080p_363s_videoonly.mp4",
    "h264_counter_timestamps_360p.mp4",
    "h264_twos_pcm.mp4",
    "mov_bt601.mov",
    "ts_bframes_6s.ts",
    "ts_captions_608.ts",
    "ts_h264_1080p_10s.ts",
    "ts_h264_no_aud.ts",
    "ts_h264_pts_3883s_12s.ts",
    "ts_max_offset_wrap.ts",
}
FRAMES = {
    "avi_mpeg4_mp3.avi": 98,
    "h264_bpyramid_800x640.mp4": 120,
    "h264_counter_timestamps_360p.mp4": 512,
    "phone_pixel7_rot180_vfr.mp4": 36,
    "ts_bframes_6s.ts": 144,
    "ts_hevc_aac_portrait_10s.ts": 300,
    "ts_hevc_main10_12s.ts": 360,
    "vvc.mp4": 120,
    "webm_vp9_642x642.webm": 90,
}
"""Pictures of R12 where the source has a constant rate: none lost, none doubled (INDEX.tsv, packets).

The AVI says itself that its second and third picture repeat the first.
"""
UPRIGHT = {
    "phone_hevc_editlist_rot_meta.mp4": (324, 576),
    "phone_pixel7_rot180_vfr.mp4": (720, 404),
    "phone_portrait_4k60_rot90.mp4": (324, 576),
    "ts_dvb_576i50_mpeg2.ts": (720, 404),
    "ts_hevc_aac_portrait_10s.ts": (324, 576),
}


def _folder() -> Path | None:
    given = os.environ.get("SHARED_MEDIA")
    folder = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "media"
    return folder if folder.is_dir() else None


def _files() -> list[Any]:
    folder = _folder()
    if folder is None:
        reason = "no folder of real media (set SHARED_MEDIA)"
        return [pytest.param(Path("none"), marks=pytest.mark.skip(reason=reason))]
    files = sorted(each for each in folder.iterdir() if each.suffix != ".tsv")
    return [pytest.param(each, id=each.name, marks=pytest.mark.timeout(300)) for each in files]


def _expected_refusal(name: str) -> RefusalReason | None:
    if name.startswith("img_"):
        return R.NOT_A_VIDEO
    return R.UNREADABLE if name.startswith("sub_") else REFUSED.get(name)


@pytest.mark.stranger("ffprobe", "ffmpeg")
@pytest.mark.parametrize("source", _files())
def test_a_real_file_becomes_playable_or_is_refused(source: Path, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    if source.name in MINUTES and not pytestconfig.getoption("--all-media", default=False):
        pytest.skip("takes minutes: --all-media")
    progress: list[float] = []
    expected = _expected_refusal(source.name)
    if expected is not None:
        with pytest.raises(Refused) as caught:
            ingest(source, tmp_path, on_progress=progress.append)
        assert caught.value.reason is expected
        assert list(tmp_path.iterdir()) == []
        return
    found = ingest(source, tmp_path, on_progress=progress.append)
    assert isinstance(found, MadeVideo)
    assert progress == sorted(progress) and progress[-1] == 1.0
    r12, r40 = found.renditions
    assert found.poster is not None and r40.copied == (source.name in COPIED)
    assert r12.frames == FRAMES.get(source.name, r12.frames)
    assert (r12.width, r12.height) == UPRIGHT.get(source.name, (r12.width, r12.height))
    _check_old_box(r12)
    _check_new_box(r40)
    assert abs(r12.duration_s - r40.duration_s) < 0.2
    names = {each.name for each in tmp_path.iterdir()}
    assert names == {"R12.mp4", "R40.mp4", "poster.jpg", *(f"subtitle.{each.language}.vtt" for each in found.subtitles)}
    assert bool(found.subtitles) == (source.name in TEXT_TRACKS)


def _check_old_box(made: MadeRendition) -> None:
    video = _check(made)
    assert video["profile"] in ("Main", "Constrained Baseline") and video["level"] <= 30
    assert made.width <= 720 and made.height <= 576
    blocks = -(-made.width // 16) * -(-made.height // 16)
    assert blocks <= 1620 and blocks * Fraction(video["r_frame_rate"]) <= 40_500
    assert made.peak_bps <= 1_200_000
    _check_constant(made, video)


def _check_new_box(made: MadeRendition) -> None:
    video = _check(made)
    assert made.width <= 1920 and made.height <= 1080
    if made.copied:
        assert video["level"] <= 42 and made.peak_bps <= 8_200_000
    else:
        assert video["profile"] in ("High", "Main", "Constrained Baseline") and video["level"] <= 41
        assert made.peak_bps <= 4_000_000
        _check_constant(made, video)


def _check(made: MadeRendition) -> dict[str, Any]:
    """Check what holds for every rendition; return ffprobe's view of the picture."""
    streams = _streams(made.made.file)
    video = next(each for each in streams if each["codec_type"] == "video")
    audio = next(each for each in streams if each["codec_type"] == "audio")
    assert len(streams) == 2
    assert video["codec_name"] == "h264" and video["pix_fmt"] == "yuv420p"
    assert video.get("sample_aspect_ratio", "1:1") in ("1:1", "0:1") and not video.get("side_data_list")
    assert (audio["codec_name"], audio["profile"], audio["sample_rate"], audio["channels"]) == ("aac", "LC", "48000", 2)
    assert float(video["start_time"]) == 0.0 and float(audio["start_time"]) == 0.0
    assert abs(float(video["duration"]) - float(audio["duration"])) < 0.2
    assert (video["width"], video["height"], int(video["nb_frames"])) == (made.width, made.height, made.frames)
    times = [float(each["dts_time"]) for each in video["packets"]]
    assert times == sorted(set(times))
    decoded = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", str(made.made.file), "-f", "null", "-"],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (decoded.returncode, decoded.stderr) == (0, "")
    head = made.made.file.read_bytes()
    assert 0 < head.index(b"moov") < head.index(b"mdat")
    return video


def _check_constant(made: MadeRendition, video: dict[str, Any]) -> None:
    """Check the constant rate and the closed groups of two seconds."""
    rate = Fraction(video["r_frame_rate"])
    pictures = video["packets"]
    shown = sorted(float(each["pts_time"]) for each in pictures)
    assert all(abs(time - number / rate) < 0.002 for number, time in enumerate(shown))
    keys = sorted(float(each["pts_time"]) for each in pictures if each["flags"].startswith("K"))
    group = round(2 * rate) / rate
    assert all(abs(time - number * group) < 0.002 for number, time in enumerate(keys))
    assert len(keys) == -(-made.frames // round(2 * rate))


def _streams(file: Path) -> list[dict[str, Any]]:
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_packets", "-of", "json", str(file)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    streams: list[dict[str, Any]] = found["streams"]
    for each in streams:
        each["packets"] = [packet for packet in found["packets"] if packet["stream_index"] == each["index"]]
    return streams
