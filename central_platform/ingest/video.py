"""A media file becomes two renditions and a poster, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import av.error
from PIL import Image

from central_platform.ingest.card import card_frames
from central_platform.ingest.clip import Health, play_through
from central_platform.ingest.lanes import Encoder, SoundLane
from central_platform.ingest.measure import measure
from central_platform.ingest.poster import Poster
from central_platform.ingest.refusal import RefusalReason, Refused
from central_platform.ingest.remux import remux
from central_platform.ingest.results import MadeFile, MadeRendition, MadeVideo, finished
from central_platform.ingest.targets import R12, R40, Profile, display_size, shape_for, why_not_copy
from media.probe import Probe, Unreadable, VideoFacts, probe

DURATION_MAX_S = 12 * 3600.0
BAD_SHARE_MAX = {"capture": 0.2, "file": 0.01}
"""Undecodable pictures. Captures begin and break anywhere; in a finished file a bad picture means damage."""
CAPTURES = ("mpegts", "mpeg", "mpegvideo", "avi", "dv", "h264", "hevc", "vob")
MISSING_SHARE_MAX = 0.5
STILL_BRANDS = ("heic", "heix", "mif1", "msf1", "avif", "avis")
CARD_RATE = Fraction(25)


def ingest_video(source: Path, workdir: Path, on_progress: Callable[[float], None]) -> MadeVideo:
    """Make R12 and R40 in ``workdir``.

    Raises:
        Refused: with the reason; ``workdir`` is the caller's to remove.
    """
    facts = _examined(source)
    video = facts.video or card_facts(facts)
    copy_obstacle = why_not_copy(video, facts.container) if facts.video else "no picture"
    made = {"R12": workdir / "R12.mp4", "R40": workdir / "R40.mp4"}
    first = [R12] if not copy_obstacle else [R12, R40]
    share = 1.0 if copy_obstacle else 0.9
    poster = Poster(video)
    health, warnings = _encode(source, facts, video, [(p, made[p.name]) for p in first], poster, on_progress, share)
    copied = False
    if not copy_obstacle:
        copied = not health.picture_errors and not health.splices and _copied(source, facts, made["R40"])
        if not copied:
            _encode(source, facts, video, [(R40, made["R40"])], None, lambda part: on_progress(0.9 + part / 10), 1.0)
    on_progress(1.0)
    renditions = (
        _rendition("R12", made["R12"], copied=False),
        _rendition("R40", made["R40"], copied=copied),
    )
    return MadeVideo(renditions, renditions[0].duration_s, poster.save(workdir / "poster.jpg"), tuple(warnings))


def _examined(source: Path) -> Probe:
    if source.stat().st_size == 0:
        raise Refused(RefusalReason.EMPTY)
    try:
        facts = probe(source)
    except Unreadable as error:
        if _is_image(source):
            raise Refused(RefusalReason.NOT_A_VIDEO) from error
        raise Refused(RefusalReason.UNREADABLE) from error
    if facts.encrypted:
        raise Refused(RefusalReason.ENCRYPTED)
    if facts.brand in STILL_BRANDS:
        raise Refused(RefusalReason.NOT_A_VIDEO)
    if facts.unknown_tracks:
        raise Refused(RefusalReason.DAMAGED, "a track without a description of its coding")
    if facts.video is None and facts.audio is None:
        raise Refused(RefusalReason.NO_PLAYABLE_MEDIA)
    if facts.video is not None and not facts.video.decodable:
        raise Refused(RefusalReason.NO_DECODABLE_FRAMES, facts.video.codec)
    lengths = [track.end_s - track.start_s for track in (facts.video, facts.audio) if track is not None]
    if max(lengths) > DURATION_MAX_S:
        raise Refused(RefusalReason.TOO_LONG, f"{max(lengths) / 3600:.1f} h, at most {DURATION_MAX_S / 3600:.0f} h")
    return facts


def _encode(
    source: Path,
    facts: Probe,
    video: VideoFacts,
    targets: list[tuple[Profile, Path]],
    poster: Poster | None,
    on_progress: Callable[[float], None],
    share: float,
) -> tuple[Health, list[str]]:
    width, height = display_size(video)
    encoders = [Encoder(file, p, video, shape_for(p, width, height, video.rate)) for p, file in targets]

    def heard(block: av.AudioFrame) -> None:
        for each in encoders:
            each.sound(block)

    sound = SoundLane(heard)
    try:

        def picture(frame: av.VideoFrame, time_s: float) -> None:
            if poster is not None:
                poster.offer(frame, time_s)
            for each in encoders:
                each.pictures.take(frame, time_s)

        health = play_through(
            source,
            facts,
            on_picture=picture,
            on_sound=sound.take,
            on_progress=lambda part: on_progress(part * share * 0.98),
        )
        if facts.video is None:
            for time_s, frame in card_frames(sound.samples, CARD_RATE):
                picture(frame, time_s)
        warnings = _judged(facts, health)
        for each in encoders:
            sound_end_s = sound.samples / 48000
            shown_s = (each.pictures.count + 1) / each.pictures.shape.rate
            each.pictures.finish(sound_end_s if sound_end_s > shown_s + 0.5 else 0.0)
        sound.finish(max(float(each.pictures.count / each.pictures.shape.rate) for each in encoders))
        for each in encoders:
            each.close()
    except BaseException:
        for each in encoders:
            each.abort()
        raise
    return health, warnings


def _judged(facts: Probe, health: Health) -> list[str]:
    """Refuse what is too damaged; say what else was met.

    Raises:
        Refused: DAMAGED or NO_DECODABLE_FRAMES.
    """
    warnings = []
    if facts.video is not None:
        packets = max(1, health.picture_packets)
        if not health.pictures:
            raise Refused(RefusalReason.NO_DECODABLE_FRAMES, facts.video.codec)
        most = BAD_SHARE_MAX["capture" if facts.container in CAPTURES else "file"] * packets
        if health.picture_errors > most or health.pictures < MISSING_SHARE_MAX * packets:
            detail = f"{health.picture_errors} of {packets} pictures cannot be decoded"
            raise Refused(RefusalReason.DAMAGED, detail)
        if health.picture_errors:
            warnings.append(f"{health.picture_errors} undecodable pictures were skipped")
    elif not health.sounds or health.sound_errors > health.sounds:
        raise Refused(RefusalReason.DAMAGED, "the sound cannot be decoded")
    if facts.audio is None or not health.sounds:
        warnings.append("no sound in the source; a silent track was added")
    elif health.sound_errors:
        warnings.append(f"{health.sound_errors} undecodable sound packets were skipped")
    if facts.video is None:
        warnings.append("no picture in the source; a title card is shown")
    if health.splices:
        warnings.append(f"{health.splices} jumps in time were closed")
    return warnings


def _copied(source: Path, facts: Probe, out: Path) -> bool:
    try:
        remux(source, facts, out)
        measure(out)
    except (av.error.FFmpegError, RuntimeError, ValueError):
        out.unlink(missing_ok=True)
        return False
    return True


def _rendition(name: str, file: Path, *, copied: bool) -> MadeRendition:
    found = measure(file)
    made: MadeFile = finished(file, "video/mp4")
    return MadeRendition(
        name=name,
        made=made,
        duration_s=found.duration_s,
        width=found.width,
        height=found.height,
        display_width=found.width,
        frame_rate=found.frame_rate,
        frames=found.frames,
        video_codec=found.video_codec,
        audio_codec=found.audio_codec,
        peak_bps=found.peak_bps,
        average_bps=found.average_bps,
        copied=copied,
    )


def card_facts(facts: Probe) -> VideoFacts:
    """Describe the title card that is shown for a source without a picture."""
    end_s = facts.audio.end_s - facts.audio.start_s if facts.audio else 0.0
    return VideoFacts(
        index=-1,
        codec="card",
        profile="",
        level=0,
        pixel_format="yuv420p",
        width=640,
        height=360,
        sample_aspect=Fraction(1),
        rotation=0,
        interlaced=False,
        rate=CARD_RATE,
        constant=True,
        packets=0,
        start_s=0.0,
        end_s=end_s,
        keyframe_gap_s=0.0,
        starts_with_keyframe=True,
        dts_in_order=True,
        peak_bps=0,
        decodable=True,
    )


def _is_image(source: Path) -> bool:
    try:
        with Image.open(source) as picture:
            picture.verify()
    except Exception:  # Pillow raises whatever its plug-ins raise; any failure means: no picture
        return False
    return True
