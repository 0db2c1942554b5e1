"""Which size, rate and bit rate each rendition gets. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from media.probe import AudioFacts, VideoFacts

AUDIO_HZ = 48000
AUDIO_BPS = 96_000
GOP_S = 2
SMALLEST_PIXELS = 64
RATE_BELIEVED_MAX = 250
ASPECT_BELIEVED_MAX = 4
MP4_OPTIONS = {"movflags": "+faststart", "chunk_duration": "500000"}
"""How renditions are written: half a second of sound and of picture in turn, so that what is cut out of them later
consists of few pieces."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Limits of one rendition (H.264 table A-1; requirements §3.2)."""

    name: str
    width_max: int
    height_max: int
    macroblocks_max: int
    macroblocks_per_s_max: int
    rate_max: int
    h264_profile: str
    h264_level: str
    video_max_bps: int
    buffer_bits: int
    """x264 may exceed ``video_max_bps`` by this much in any window: the two and the sound stay under the total."""
    b_frames: int
    """Most pictures in a row that are shown before one that they were coded after; no other picture refers to them."""


R12 = Profile("R12", 720, 576, 1620, 40_500, 30, "main", "3.0", 780_000, 280_000, b_frames=2)
"""Old boxes: 1.2 Mb/s in any second, sound included; level 3."""
R40 = Profile("R40", 1920, 1080, 8192, 245_760, 60, "high", "4.1", 2_900_000, 900_000, b_frames=0)
"""New boxes: 4 Mb/s in any second. Browsers cannot show B-frames by WebRTC; without them files are up to 6 % larger."""
COPY_PEAK_MAX_BPS = 8_000_000
COPY_KEYFRAME_GAP_MAX_S = 10.0
SOUND_LEAD_S = 0.5
"""When sound begins this much before the picture, the first picture is held; a smaller lead is cut."""
SOUND_TAIL_S = 0.5
"""When sound ends this much after the picture, the last picture is held; a smaller tail is cut."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Size and rate of one encoding; square pixels."""

    width: int
    height: int
    rate: Fraction


def shape_for(profile: Profile, width: int, height: int, rate: Fraction) -> Shape:
    """Fit a picture of ``width`` × ``height`` square pixels into the profile; never larger than it is.

    Very small pictures are enlarged to what decoders accept.
    """
    rate = _rate_for(profile, rate)
    scale = min(1.0, profile.width_max / width, profile.height_max / height)
    scale = max(scale, SMALLEST_PIXELS / min(width, height)) if min(width, height) < SMALLEST_PIXELS else scale
    while True:
        found = Shape(_even(width * scale, profile.width_max), _even(height * scale, profile.height_max), rate)
        blocks = math.ceil(found.width / 16) * math.ceil(found.height / 16)
        if blocks <= profile.macroblocks_max and blocks * found.rate <= profile.macroblocks_per_s_max:
            return found
        if found.rate > 30:
            rate = found.rate / 2
            continue
        scale *= 0.97


def _rate_for(profile: Profile, rate: Fraction) -> Fraction:
    if rate > RATE_BELIEVED_MAX:  # broken times, not a camera
        rate = Fraction(25)
    while rate > profile.rate_max:
        rate /= 2
    while rate < 10:  # pictures are shown several times: boxes expect a picture at least that often
        rate *= 2
    return rate


def _even(pixels: float, most: int) -> int:
    return min(most, max(SMALLEST_PIXELS // 4, 2 * round(pixels / 2)))


def display_size(video: VideoFacts) -> tuple[int, int]:
    """Return the picture's size in square pixels, turned as it is shown."""
    aspect = video.sample_aspect
    if not Fraction(1, ASPECT_BELIEVED_MAX) <= aspect <= ASPECT_BELIEVED_MAX:
        aspect = Fraction(1)
    width, height = round(video.width * aspect), video.height
    return (height, width) if video.rotation % 180 else (width, height)


def why_not_copy(video: VideoFacts, audio: AudioFacts | None, container: str) -> str:
    """Return why the picture stream of this source cannot be copied for new boxes; empty when it can."""
    checks = {
        "container": any(name in container for name in ("mp4", "matroska", "mpegts", "flv")),
        "codec": video.codec == "h264" and video.pixel_format == "yuv420p",
        "profile": video.profile in ("Constrained Baseline", "Baseline", "Main", "High", "Constrained High"),
        "level": 0 < video.level <= 42,
        "NAL lengths": video.nal_length_bytes in (0, 4),
        "size": video.width <= R40.width_max and video.height <= R40.height_max and not video.width % 2,
        "interlaced": not video.interlaced,
        "rotation": not video.rotation,
        "pixel shape": video.sample_aspect in (0, 1),
        "variable rate": video.constant,
        "edit list": not video.trimmed,
        "keyframes": video.starts_with_keyframe and video.keyframe_gap_s <= COPY_KEYFRAME_GAP_MAX_S,
        "order": video.dts_in_order,
        "bit rate": video.peak_bps <= COPY_PEAK_MAX_BPS,
        # The first or the last picture would have to be held while there is sound only.
        "sound before": audio is None or audio.start_s >= video.start_s - SOUND_LEAD_S,
        "sound after": audio is None or audio.end_s <= video.end_s + SOUND_TAIL_S,
    }
    return ", ".join(name for name, fine in checks.items() if not fine)
