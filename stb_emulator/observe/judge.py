"""From what was counted to a verdict. Pure: the same tally gives the same row."""

from __future__ import annotations

from dataclasses import dataclass

from stb_emulator.boxes import Box
from stb_emulator.observe import Observation, Offer, PlayError, Reason, Stage, Unreachable
from stb_emulator.observe import pressing as keys
from stb_emulator.observe.keys import Press
from stb_emulator.observe.leg import Leg
from stb_emulator.observe.pressing import Finding
from stb_emulator.observe.tally import Tally

DURATION_TOLERANCE_S = 0.5
WANTED_TOLERANCE_S = 0.5
FROZEN_WARNING_S = 5.0
BLACK_WARNING_S = 2.0


@dataclass(frozen=True, slots=True)
class Run:
    """The circumstances of one playing."""

    box: Box
    offer: Offer
    started_at: float
    want_s: float | None
    """None: the whole lesson."""
    max_stall_ms: int | None = None
    """More stalling than this fails; None: stalls are only reported."""
    presses: tuple[Press, ...] = ()
    to_the_end: bool = False
    """Whether the server must announce the end."""


def judge(run: Run, tally: Tally, failure: PlayError | None) -> Observation:
    """Make the row of the report. ``failure``: what stopped the player, if anything did."""
    found = _first_fault(run, tally, failure)
    code, seen, straight = tally.frame_code, tally.seen, _straight(tally)
    warnings = [*tally.warnings, *_warnings(tally)]
    stage, reason = found if found else (Stage.DONE, None)
    return Observation(
        box=run.box.name,
        lesson=run.offer.item_id,
        title=run.offer.title,
        ok=found is None,
        stage=stage,
        reason=str(reason) if reason else "",
        unreachable=isinstance(failure, Unreachable),
        startup_ms=_ms(tally.first_picture_at, run.started_at),
        first_picture_ms=_ms(tally.first_picture_at, tally.asked_at),
        stalls=sum(each.stalls for each in tally.buffers),
        stall_ms=round(_stall_s(tally) * 1000),
        frames=tally.frames + tally.pictures,
        audio_frames=tally.audio_frames,
        lost=tally.lost,
        reordered=tally.reordered,
        duplicates=tally.duplicates,
        continuity_errors=tally.continuity_errors,
        decode_errors=tally.decode_errors,
        gaps=sum(len(each.video_times.gaps) for each in straight if each.video_times),
        backwards=sum(each.video_times.backwards for each in straight if each.video_times),
        black_ms=round(_black_s(tally) * 1000),
        frozen_ms=round(_frozen_s(tally) * 1000),
        played_s=round(tally.played_s, 3),
        announced_s=tally.announced_s,
        bytes=tally.bytes,
        transport=tally.transport,
        video=f"{seen.video} {seen.width}x{seen.height}" if seen.video else "",
        audio=seen.audio,
        frame_code=code,
        pressed=keys.report(tally),
        ended=tally.ended,
        redirects=tally.redirects,
        beats=tally.beats,
        beats_answered=tally.beats_answered,
        warnings=tuple(warnings),
        deviations=tuple(tally.deviations),
    )


def absent(box: Box, lesson: str, title: str, failure: PlayError) -> Observation:
    """Make the row of a lesson that never began to play."""
    return Observation(
        box=box.name,
        lesson=lesson,
        title=title,
        ok=False,
        stage=failure.stage,
        reason=str(failure.reason),
        unreachable=isinstance(failure, Unreachable),
    )


def _first_fault(run: Run, tally: Tally, failure: PlayError | None) -> Finding | None:
    """Return the fault nearest to its cause: what came over the wire before what became of it."""
    if failure is not None:
        return failure.stage, failure.reason
    untolerated = [d for d in tally.deviations if d not in run.box.tolerates]
    if untolerated:
        return _fault(
            Stage.PLAY, f"协议偏差：{untolerated[0]}", f"deviation the box does not tolerate: {untolerated[0]}"
        )
    if run.offer.family == "picture_text":
        return None
    return (
        _wire_fault(tally)
        or keys.answer_fault(tally)
        or _decode_fault(run, tally)
        or next(filter(None, (_leg_fault(leg) for leg in _straight(tally))), None)
        or _timing_fault(run, tally)
        or _content_fault(run, tally)
        or keys.fault(tally, run.presses)
        or (keys.end_fault(tally) if run.to_the_end else None)
    )


def _straight(tally: Tally) -> list[Leg]:
    """All legs but the wound ones."""
    return [leg for leg in tally.legs if not leg.is_wound]


def _wire_fault(tally: Tally) -> Finding | None:
    if tally.overruns:
        return _fault(Stage.PLAY, "模拟器本身太慢", f"this emulator was too slow ({tally.overruns} packets dropped)")
    if tally.lost:
        return _fault(Stage.PLAY, f"丢包 {tally.lost} 个", f"{tally.lost} packets lost")
    if tally.duplicates:
        return _fault(Stage.PLAY, f"重复包 {tally.duplicates} 个", f"{tally.duplicates} packets twice")
    if tally.continuity_errors:
        n = tally.continuity_errors
        return _fault(Stage.PLAY, f"TS 连续计数错误 {n} 处", f"{n} transport stream continuity errors")
    if tally.expired:
        n = tally.expired
        return _fault(Stage.PLAY, f"{n} 个分段已过期", f"{n} segments had left the list before they were fetched")
    if any(leg.starved for leg in tally.legs):
        return _fault(Stage.PLAY, "数据中断", "the data stopped coming")
    return None


def _decode_fault(run: Run, tally: Tally) -> Finding | None:
    caps, seen = run.box.caps, tally.seen
    broken = next((leg.broken for leg in tally.legs if leg.broken), "")
    if broken:
        return _fault(Stage.DECODE, "无法解码", f"cannot be decoded: {broken}")
    if not tally.frames and not tally.audio_frames:
        return _fault(Stage.DECODE, "没有解出任何画面或声音", "nothing was decoded")
    if tally.decode_errors:
        return _fault(Stage.DECODE, f"解码错误 {tally.decode_errors} 处", f"{tally.decode_errors} decoding errors")
    if seen.video and not tally.frames:
        return _fault(Stage.DECODE, "没有画面", "no picture was decoded")
    if seen.audio and not tally.audio_frames:
        return _fault(Stage.DECODE, "没有声音", "no sound was decoded")
    if tally.container not in caps.containers:
        return _fault(Stage.DECODE, f"盒子不认识 {tally.container}", f"this box does not unpack {tally.container}")
    if seen.video and seen.video not in caps.video:
        return _fault(Stage.DECODE, f"盒子不支持 {seen.video}", f"this box has no {seen.video} decoder")
    if seen.audio and seen.audio not in caps.audio:
        return _fault(Stage.DECODE, f"盒子不支持 {seen.audio}", f"this box has no {seen.audio} decoder")
    if seen.width > caps.max_width or seen.height > caps.max_height:
        size = f"{seen.width}x{seen.height}"
        return _fault(Stage.DECODE, f"画面 {size} 超出盒子能力", f"{size} is larger than the box can decode")
    if seen.video == "h264" and seen.level > caps.max_level:
        return _fault(Stage.DECODE, f"H.264 级别 {seen.level} 超出盒子能力", f"level {seen.level} is beyond the box")
    played = tally.played_s
    if played > 1 and len(tally.legs) == 1 and tally.bytes * 8 / played > caps.max_bit_rate_bps:
        rate = round(tally.bytes * 8 / played / 1000)
        return _fault(Stage.DECODE, f"码率 {rate} kb/s 超出盒子能力", f"{rate} kb/s is more than the box takes")
    return None


def _leg_fault(leg: Leg) -> Finding | None:
    video, audio = leg.video_times, leg.audio_times
    if video is not None and video.backwards:
        return _fault(Stage.TIMING, "画面时间倒退", f"picture times run backwards {video.backwards} times")
    if audio is not None and audio.backwards:
        return _fault(Stage.TIMING, "声音时间倒退", f"sound times run backwards {audio.backwards} times")
    gaps = _shared_gaps(leg)
    if gaps:
        at, until = gaps[0]
        return _fault(Stage.TIMING, f"{at:.2f} 秒处时间断开", f"timestamps jump from {at:.2f} s to {until:.2f} s")
    return None


def _timing_fault(run: Run, tally: Tally) -> Finding | None:
    if tally.pressings:
        pass  # what follows a key is judged by where it leads
    elif run.want_s is not None and (tally.announced_s is None or run.want_s < tally.announced_s):
        if tally.played_s < run.want_s - WANTED_TOLERANCE_S:
            return _fault(
                Stage.TIMING,
                f"只播放了 {tally.played_s:.1f} 秒",
                f"played {tally.played_s:.1f} s of {run.want_s:g} s wanted",
            )
    elif tally.announced_s is not None and abs(tally.played_s - tally.announced_s) > DURATION_TOLERANCE_S:
        return _fault(
            Stage.TIMING,
            f"时长不符：应为 {tally.announced_s:.1f} 秒，实为 {tally.played_s:.1f} 秒",
            f"announced {tally.announced_s:.2f} s but played {tally.played_s:.2f} s",
        )
    if run.max_stall_ms is not None and _stall_s(tally) * 1000 > run.max_stall_ms:
        stalls = sum(each.stalls for each in tally.buffers)
        return _fault(
            Stage.TIMING,
            f"卡顿 {_stall_s(tally):.1f} 秒",
            f"stalled {stalls} times, {_stall_s(tally):.1f} s",
        )
    return None


def _shared_gaps(leg: Leg) -> list[tuple[float, float]]:
    """Find jumps in picture times that the sound does not bridge, and jumps in the sound."""
    video = leg.video_times.gaps if leg.video_times else []
    audio = leg.audio_times
    if audio is None:
        return video
    bridged = [g for g in video if audio.first_s is None or audio.end_s < g[1] or audio.first_s > g[0]]
    return bridged + audio.gaps


def _content_fault(run: Run, tally: Tally) -> Finding | None:
    for leg in _straight(tally):
        code = leg.numbers.result()
        # A WebRTC sender may leave out pictures that no other needs: a browser could not put them in order.
        may_lack = tally.container == "webrtc"
        # In a channel the numbers begin anew with every lesson; that pictures are in order the time line says.
        may_turn = run.offer.live
        if code is not None and (
            code.duplicates or code.unreadable or (code.gaps and not may_lack) or (code.reorders and not may_turn)
        ):
            return _fault(
                Stage.CONTENT,
                f"画面编号不连续（缺 {code.gaps}，重 {code.duplicates}，乱 {code.reorders}，不可读 {code.unreadable}）",
                f"frame numbers: {code.gaps} missing, {code.duplicates} twice, {code.reorders} out of order, "
                f"{code.unreadable} unreadable",
            )
    code = tally.frame_code
    if code is not None and code.first != 0 and not run.offer.live:
        return _fault(Stage.CONTENT, f"从第 {code.first} 帧开始", f"the first picture is number {code.first}, not 0")
    return None


def _stall_s(tally: Tally) -> float:
    return sum(each.stall_s for each in tally.buffers)


def _black_s(tally: Tally) -> float:
    return sum(leg.still.black_s for leg in tally.legs)


def _frozen_s(tally: Tally) -> float:
    return sum(leg.still.frozen_s for leg in tally.legs)


def _warnings(tally: Tally) -> list[str]:
    words = []
    if _black_s(tally) > BLACK_WARNING_S:
        words.append(f"黑屏 {_black_s(tally):.1f} 秒 / black picture for {_black_s(tally):.1f} s")
    if _frozen_s(tally) > FROZEN_WARNING_S:
        words.append(f"静止 {_frozen_s(tally):.1f} 秒 / picture stood still for {_frozen_s(tally):.1f} s")
    return words


def _fault(stage: Stage, zh: str, en: str) -> Finding:
    return stage, Reason(zh, en)


def _ms(at: float | None, since: float | None) -> int | None:
    return None if at is None or since is None else round((at - since) * 1000)
