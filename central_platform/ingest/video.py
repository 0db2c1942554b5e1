"""A media file becomes two renditions and a poster, or is refused."""

from __future__ import annotations

import warnings as python_warnings
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import av.error
from PIL import Image

from central_platform.ingest.card import Card
from central_platform.ingest.clip import Health, play_through
from central_platform.ingest.judge import judged
from central_platform.ingest.lanes import Encoder, SoundLane
from central_platform.ingest.measure import measure
from central_platform.ingest.poster import Poster
from central_platform.ingest.refusal import RefusalReason, Refused
from central_platform.ingest.remux import remux
from central_platform.ingest.results import MadeFile, MadeRendition, MadeVideo, finished
from central_platform.ingest.subtitles import make_subtitles
from central_platform.ingest.targets import (
    AUDIO_HZ,
    R12,
    R40,
    SOUND_TAIL_S,
    Profile,
    display_size,
    shape_for,
    why_not_copy,
)
from media.probe import Probe, Unreadable, VideoFacts, missing_bytes, probe

DURATION_MAX_S = 12 * 3600.0
MISSING_SHARE_MAX = 0.05
"""A copy that was broken off earlier than this is no lesson any more."""
STILL_BRANDS = ("heic", "heix", "mif1", "msf1", "avif", "avis")
CARD_RATE = Fraction(25)


def ingest_video(source: Path, workdir: Path, on_progress: Callable[[float], None]) -> MadeVideo:
    """Make R12 and R40 in ``workdir``.

    Raises:
        Refused: with the reason.
    """
    facts = _examined(source)
    video = facts.video or card_facts(facts)
    copy_obstacle = why_not_copy(video, facts.audio, facts.container) if facts.video else "no picture"
    made = {"R12": workdir / "R12.mp4", "R40": workdir / "R40.mp4"}
    first = [R12] if not copy_obstacle else [R12, R40]
    share = 1.0 if copy_obstacle else 0.9
    poster = Poster(video)
    health = _encode(source, facts, [(p, made[p.name]) for p in first], poster, lambda part: on_progress(part * share))
    copied = False
    if not copy_obstacle:
        copied = _copied(source, facts, health, made["R40"])
        if not copied:
            _encode(source, facts, [(R40, made["R40"])], None, lambda part: on_progress(share + part * (1 - share)))
    renditions = (
        _rendition("R12", made["R12"], copied=False),
        _rendition("R40", made["R40"], copied=copied),
    )
    on_progress(1.0)
    poster_file = poster.save(workdir / "poster.jpg")
    subtitles = make_subtitles(source, health.zero_s, renditions[0].duration_s, workdir)
    return MadeVideo(renditions, renditions[0].duration_s, poster_file, subtitles, tuple(judged(facts, health)))


def _examined(source: Path) -> Probe:
    if source.stat().st_size == 0:
        raise Refused(RefusalReason.EMPTY)
    try:
        facts = probe(source)
    except Unreadable as error:
        if lost := missing_bytes(source):
            raise Refused(RefusalReason.DAMAGED, f"the copy was broken off: {lost} bytes are missing") from error
        raise Refused(RefusalReason.NOT_A_VIDEO if _is_image(source) else RefusalReason.UNREADABLE) from error
    if facts.encrypted:
        raise Refused(RefusalReason.ENCRYPTED)
    if facts.brand in STILL_BRANDS:
        raise Refused(RefusalReason.NOT_A_VIDEO)
    if facts.unknown_tracks:
        raise Refused(RefusalReason.DAMAGED, "a track holds data but no description of its coding")
    if facts.missing_bytes > MISSING_SHARE_MAX * (facts.size_bytes + facts.missing_bytes):
        raise Refused(RefusalReason.DAMAGED, f"the copy was broken off: {facts.missing_bytes} bytes are missing")
    video, audio = facts.video, facts.audio
    if video is None and audio is None:
        raise Refused(RefusalReason.NO_PLAYABLE_MEDIA)
    if video is not None and not video.decodable:
        raise Refused(RefusalReason.NO_DECODABLE_FRAMES, video.codec)
    if video is not None and audio is None and video.packets == 1:
        raise Refused(RefusalReason.NOT_A_VIDEO, "a single picture without sound")
    if video is not None and audio is None and video.end_s - video.start_s < 1.5 / video.rate:
        raise Refused(RefusalReason.DAMAGED, f"{video.packets} pictures, all of the same time")
    lengths = [track.length_s for track in (video, audio) if track is not None]
    if max(lengths) > DURATION_MAX_S:
        raise Refused(RefusalReason.TOO_LONG, f"{max(lengths) / 3600:.1f} h, at most {DURATION_MAX_S / 3600:.0f} h")
    return facts


def _encode(
    source: Path,
    facts: Probe,
    targets: list[tuple[Profile, Path]],
    poster: Poster | None,
    on_progress: Callable[[float], None],
) -> Health:
    """Decode the source once and write all targets.

    Raises:
        Refused: the source turned out to be too damaged.
    """
    video = facts.video or card_facts(facts)
    width, height = display_size(video)
    with ExitStack() as stack:
        encoders = [Encoder(file, p, video, shape_for(p, width, height, video.rate)) for p, file in targets]
        for each in encoders:
            stack.callback(each.abort)
        sound = SoundLane(lambda block: _all(encoders, block))
        card = Card(CARD_RATE) if facts.video is None else None

        def picture(frame: av.VideoFrame, time_s: float) -> None:
            if poster is not None:
                poster.offer(frame, time_s)
            for each in encoders:
                each.pictures.take(frame, time_s)
            if facts.audio is None:
                sound.keep_up(time_s)

        def heard(frame: av.AudioFrame, time_s: float) -> None:
            sound.take(frame, time_s)
            if card is not None:
                card.show(sound.samples / AUDIO_HZ, picture)

        health = play_through(source, facts, on_picture=picture, on_sound=heard, on_progress=on_progress)
        judged(facts, health)
        sound_end_s = sound.samples / AUDIO_HZ
        for each in encoders:
            shown_s = float((each.pictures.count + 1) / each.pictures.shape.rate)
            each.pictures.finish(sound_end_s if sound_end_s > shown_s + SOUND_TAIL_S else 0.0)
        sound.finish(max(float(each.pictures.count / each.pictures.shape.rate) for each in encoders))
        for each in encoders:
            each.close()
        stack.pop_all()
    return health


def _all(encoders: list[Encoder], block: av.AudioFrame) -> None:
    for each in encoders:
        each.sound(block)


def _copied(source: Path, facts: Probe, health: Health, out: Path) -> bool:
    """Copy the picture stream when decoding met nothing that copying would pass on."""
    faults = health.lost + health.lead_lost + health.patched + health.splices + health.cut_short
    if faults or len(health.forms) > 1:
        return False
    try:
        remux(source, facts, out)
        return measure(out).frames == health.pictures
    except (av.error.FFmpegError, RuntimeError, ValueError):
        return False


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
        length_s=end_s,
        keyframe_gap_s=0.0,
        starts_with_keyframe=True,
        dts_in_order=True,
        trimmed=False,
        nal_length_bytes=0,
        peak_bps=0,
        decodable=True,
    )


def _is_image(source: Path) -> bool:
    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")  # only the header is read, however large the picture is
            with Image.open(source):
                return True
    except Exception:  # Pillow raises whatever its plug-ins raise; any failure means: no picture
        return False
