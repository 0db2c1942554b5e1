"""What decoding met becomes a refusal or a list of warnings. Pure."""

from __future__ import annotations

from central_platform.ingest.clip import Health
from central_platform.ingest.refusal import RefusalReason, Refused
from media.probe import Probe

LOST_SHARE_MAX_FILE = 0.01
"""In a container with an index every picture was once there: what cannot be decoded is a fault of the copy, and the
original is still somewhere."""
LOST_SHARE_MAX_RECORDING = 0.10
"""Recordings of broadcasts lose packets in the air; nobody can record them again."""
RECORDINGS = ("mpegts", "mpeg", "mpegvideo", "h264", "hevc")
SOUND_LOST_SHARE_MAX = 0.2


def judged(facts: Probe, health: Health) -> list[str]:
    """Return warnings about a source that is good enough.

    Raises:
        Refused: DAMAGED or NO_DECODABLE_FRAMES.
    """
    warnings = (
        _about_picture(facts, health)
        if facts.video is not None
        else ["没有画面，显示标题卡 / no picture in the source; a card is shown"]
    )
    warnings += _about_sound(facts, health)
    if health.splices:
        warnings.append(f"接续了 {health.splices} 处时间跳变 / {health.splices} jumps in time were closed")
    if facts.missing_bytes or health.cut_short:
        warnings.append("文件末尾不完整 / the end of the file is missing")
    return warnings


def _about_picture(facts: Probe, health: Health) -> list[str]:
    codec = facts.video.codec if facts.video is not None else ""
    if not health.pictures:
        raise Refused(RefusalReason.NO_DECODABLE_FRAMES, codec)
    announced = max(1, health.pictures + health.lost)
    most = LOST_SHARE_MAX_RECORDING if facts.container in RECORDINGS else LOST_SHARE_MAX_FILE
    if health.lost > most * announced:
        raise Refused(RefusalReason.DAMAGED, f"{health.lost} of {announced} pictures cannot be decoded")
    warnings = []
    if health.lead_lost:
        words = f"开头 {health.lead_lost} 帧无法解码，已略过 / the first {health.lead_lost} pictures cannot be decoded"
        warnings.append(words)
    if health.lost:
        warnings.append(f"{health.lost} 帧无法解码，已略过 / {health.lost} undecodable pictures were skipped")
    return warnings


def _about_sound(facts: Probe, health: Health) -> list[str]:
    if facts.audio is None:
        return ["没有声音，加了静音 / no sound in the source; a silent track was added"]
    if not health.sounds or health.sound_errors > SOUND_LOST_SHARE_MAX * health.sound_packets:
        raise Refused(RefusalReason.DAMAGED, f"{health.sound_errors} of {health.sound_packets} sound packets fail")
    if health.sound_errors:
        return [f"{health.sound_errors} 段声音无法解码 / {health.sound_errors} sound packets were skipped"]
    return []
