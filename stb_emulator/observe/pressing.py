"""What came of the keys: where each led, by the pictures where they are numbered, and whether that is right. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from stb_emulator.observe import Reason, Stage
from stb_emulator.observe.keys import Key, Press, Pressed, Pressing, Proof
from stb_emulator.observe.leg import Leg
from stb_emulator.observe.tally import Tally

SEEK_WITHIN_S = 3.0
"""How far from the place asked for the first picture may be: key pictures are 2 s apart at most, and a little."""
TRICK_LEAST_PICTURES = 2
"""Winding that shows fewer goes nowhere."""
END_WITHIN_S = 0.5

Finding = tuple[Stage, Reason]
NAMES_ZH = {
    Key.PAUSE: "暂停",
    Key.SEEK: "拖动",
    Key.TRICK: "快进快退",
    Key.SHIFT: "回看",
    Key.PLAY: "播放",
}


def place_of(tally: Tally, number: int) -> float:
    """Seconds from the beginning at which the picture of that number is shown."""
    times = tally.legs[0].video_times
    return number * (times.interval_s if times is not None else 0.04)


def begin_of(tally: Tally, leg: Leg) -> tuple[float | None, Proof]:
    """Where a leg begins in the lesson, and by what that is known; of a channel, which moment (Unix seconds)."""
    code = leg.numbers.result()
    is_moment = leg.begun_by is not None and leg.begun_by.key is Key.SHIFT
    if code is not None and not is_moment:
        return place_of(tally, code.first), "frame_code"
    said_s = leg.begun_by.said_s if leg.begun_by is not None else 0.0
    return said_s, "wire" if said_s is not None else ""


def wanted_of(tally: Tally, leg: Leg) -> float | None:
    """Where a leg should begin: at the place asked for, or at the picture on which winding was ended."""
    pressing = leg.begun_by
    if pressing is None or pressing.wanted_s is not None or pressing.key is not Key.PLAY:
        return None if pressing is None else pressing.wanted_s
    before = tally.legs[tally.legs.index(leg) - 1]
    return None if before.numbers.newest is None else place_of(tally, before.numbers.newest)


def report(tally: Tally) -> tuple[Pressed, ...]:
    """All keys in the order in which they were pressed."""
    return tuple(_report(tally, each) for each in tally.pressings)


def _report(tally: Tally, pressing: Pressing) -> Pressed:
    leg = next((leg for leg in tally.legs if pressing is leg.begun_by), None)
    wanted_s = pressing.wanted_s if leg is None else wanted_of(tally, leg)
    at_s, proof = (None, "") if leg is None or not leg.frames else begin_of(tally, leg)
    first = pressing.first_picture_at
    return Pressed(
        key=pressing.key,
        has_key=pressing.has_key,
        asked=pressing.asked,
        answered=pressing.answered,
        wanted_s=_round(wanted_s),
        at_s=_round(at_s),
        proof=proof,
        # A decoder holds back the few pictures of winding: when they are shown says nothing about the server.
        first_picture_ms=None if first is None or pressing.key is Key.TRICK else round((first - pressing.at) * 1000),
        scale=pressing.scale,
        frames=leg.frames if leg is not None else 0,
    )


def answer_fault(tally: Tally) -> Finding | None:
    """Return where a server's own answer says that it does something else than it was asked to."""
    for pressing in tally.pressings:
        scale, said_s, wanted_s = pressing.said_scale, pressing.said_s, pressing.wanted_s
        if pressing.key is Key.TRICK and scale is not None and (scale == 1 or (scale < 0) is not (pressing.scale < 0)):
            return _fault("服务器不能快进快退", f"asked for {pressing.scale}x, answered {scale:g}x")
        if said_s is not None and wanted_s is not None and abs(said_s - wanted_s) > _within(pressing):
            words = f"{pressing.key} to {wanted_s:.1f} s was answered with {said_s:.1f} s"
            return _fault(f"要去 {wanted_s:.1f} 秒处，服务器答 {said_s:.1f} 秒处", words)
    return None


def _within(pressing: Pressing) -> float:
    return max(SEEK_WITHIN_S, pressing.grain_s)


def fault(tally: Tally, presses: Sequence[Press]) -> Finding | None:
    """Return what is wrong with the first key that did not do what it should."""
    done = [each for each in tally.pressings if each.key is not Key.PLAY]
    for number, press in enumerate(presses):
        if number >= len(done):
            name = NAMES_ZH[press.key]
            return _fault(
                f"没有按到{name}键", f"{press.key} was not pressed: the lesson ended, or this player has no keys"
            )
    for leg in tally.legs:
        found = _leg_fault(tally, leg)
        if found is not None:
            return found
    return None


def _leg_fault(tally: Tally, leg: Leg) -> Finding | None:
    for pressing in (leg.begun_by, leg.resumed_by):
        if pressing is not None and pressing.first_picture_at is None:
            name = NAMES_ZH[pressing.key]
            return _fault(f"{name}后没有画面", f"no picture after {pressing.key} ({pressing.asked})")
    pressing = leg.begun_by
    if pressing is None:
        return None
    if pressing.key is Key.TRICK:
        return _trick_fault(tally, leg, pressing)
    wanted_s = wanted_of(tally, leg)
    if wanted_s is None:
        return None
    at_s, _ = begin_of(tally, leg)
    if at_s is None:
        return _fault("看不出放到了哪里", f"nothing says where {pressing.key} led to")
    if abs(at_s - wanted_s) > _within(pressing):
        words = f"{pressing.key} to {wanted_s:.1f} s came out at {at_s:.1f} s"
        return _fault(f"要去 {wanted_s:.1f} 秒处，到了 {at_s:.1f} 秒处", words, Stage.CONTENT)
    return None


def _trick_fault(tally: Tally, leg: Leg, pressing: Pressing) -> Finding | None:
    if leg.frames < TRICK_LEAST_PICTURES:
        return _fault("快进快退时画面不动", f"{leg.frames} pictures at {pressing.scale}x")
    if tally.legs[0].numbers.result() is None:
        return None
    forwards, backwards = leg.numbers.steps
    wrong = forwards if pressing.scale < 0 else backwards
    if leg.numbers.result() is None or wrong or not forwards + backwards:
        words = f"at {pressing.scale}x {forwards} pictures went forwards and {backwards} backwards"
        return _fault("快进快退的画面方向不对", words, Stage.CONTENT)
    return None


def end_fault(tally: Tally) -> Finding | None:
    """Return what is wrong with the end of a lesson that was left to end by itself.

    A box that cannot go near the end has nothing to be judged by.
    """
    if not any(each.has_key for each in tally.pressings):
        return None
    if not tally.ended:
        return _fault("服务器没有通知播放结束", "the server did not announce the end")
    code, times = tally.leg.numbers.result(), tally.leg.video_times
    if code is None or tally.announced_s is None or times is None:
        return None
    end_s = place_of(tally, code.last + 1)
    if abs(end_s - tally.announced_s) > END_WITHIN_S:
        words = f"ended at {end_s:.2f} s of {tally.announced_s:.2f} s"
        return _fault(f"在 {end_s:.1f} 秒处结束，应为 {tally.announced_s:.1f} 秒", words, Stage.TIMING)
    return None


def _fault(zh: str, en: str, stage: Stage = Stage.PLAY) -> Finding:
    return stage, Reason(zh, en)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
