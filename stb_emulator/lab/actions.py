"""What a matrix asks of every box, and what came of it (REQ-STB-03): an action's keys, a row's verdict."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

import msgspec

from stb_emulator.boxes import Box
from stb_emulator.observe import Observation, Offer, PlayError, Reason, Stage
from stb_emulator.observe.keys import Key, Press, Pressed

AFTER_S = 1.0
"""What is played before the first key."""
BETWEEN_S = 0.5
REST_S = 2.0
"""What is played after the last key."""
PAUSE_S = 3.0
WIND_S = 3.0
WIND_LEAST_S = 8.0
"""A shorter lesson is over before winding shows anything."""
END_S = 3.0
SEEK_PART = 0.6
SCALE_USUAL_MAX = 8


class Action(StrEnum):
    """In the order of a report."""

    LOGIN = "login"
    LIST = "list"
    PLAY = "play"
    PAUSE = "pause"
    SEEK = "seek"
    TRICK = "trick"
    END = "end"
    HEARTBEAT = "heartbeat"
    RELOGIN = "relogin"
    REDIRECT = "redirect"


DEFAULT = (Action.LOGIN, Action.LIST, Action.PLAY)
"""What costs nothing beside playing."""
WITH_KEYS = {Action.PAUSE: Key.PAUSE, Action.SEEK: Key.SEEK, Action.TRICK: Key.TRICK, Action.END: Key.SEEK}
"""Actions on a lesson besides playing it, and their key."""


class Verdict(StrEnum):
    """What came of an action."""

    OK = "ok"
    FAILED = "failed"
    NO_KEY = "no_key"
    """The box has no such key: no fault of anybody."""
    NOT_ASKED = "not_asked"
    """It could not come to it, e.g. a server that sends nobody elsewhere."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One box, one action, and one lesson unless the action concerns the whole box."""

    box: str
    action: Action
    verdict: Verdict
    lesson: str = ""
    title: str = ""
    stage: str = ""
    reason: str = ""
    pressed: tuple[Pressed, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict is not Verdict.FAILED


def parse(text: str) -> tuple[Action, ...]:
    """Read ``login,list,…`` or ``all``.

    Raises:
        ValueError: an action that there is not.
    """
    if text.strip() == "all":
        return tuple(Action)
    asked = {Action(word.strip()) for word in text.split(",") if word.strip()}
    return tuple(each for each in Action if each in asked)


def presses(action: Action, box: Box, duration_s: float | None) -> tuple[Press, ...] | Reason:
    """The keys of an action on a lesson of this length; or why they cannot be pressed."""
    match action:
        case Action.PAUSE:
            return (Press(Key.PAUSE, AFTER_S, hold_s=PAUSE_S),)
        case Action.SEEK:
            return (Press(Key.SEEK, AFTER_S, to_s=-6.0 if duration_s is None else duration_s * SEEK_PART),)
        case Action.END:
            return (Press(Key.SEEK, AFTER_S, to_s=-END_S),)
        case Action.TRICK:
            if duration_s is not None and duration_s < WIND_LEAST_S:
                return Reason("课件太短", f"a lesson of {duration_s:.1f} s is too short to wind")
            speeds = (2, -2) if box.rtsp is None else _speeds(box.rtsp.scales, duration_s)
            begins = (AFTER_S, *[BETWEEN_S] * len(speeds))
            return tuple(
                Press(Key.TRICK, begin, hold_s=WIND_S, scale=scale)
                for begin, scale in zip(begins, speeds, strict=False)
            )
    return ()


def _speeds(scales: Sequence[int], duration_s: float | None) -> tuple[int, ...]:
    """One speed forwards and one back, so that winding stays inside the lesson."""
    most = SCALE_USUAL_MAX if duration_s is None else min(SCALE_USUAL_MAX, duration_s * SEEK_PART / WIND_S)
    found = []
    for way in ([s for s in scales if s > 0], [s for s in scales if s < 0]):
        fitting = [s for s in way if abs(s) <= most]
        if way:
            found.append(max(fitting, key=abs) if fitting else min(way, key=abs))
    return tuple(found)


def outcome_of(action: Action, row: Observation) -> Outcome:
    """Judge an action on a lesson by its row."""
    verdict, reason = Verdict.OK if row.ok else Verdict.FAILED, row.reason
    mine = [each for each in row.pressed if each.key is WITH_KEYS.get(action)]
    if row.ok and mine and not any(each.has_key for each in mine):
        verdict, reason = Verdict.NO_KEY, mine[0].answered
    elif row.ok and action in WITH_KEYS and not row.pressed:
        verdict, reason = Verdict.NOT_ASKED, str(Reason("不是视频", "a page, with nothing to press"))
    return Outcome(
        box=row.box,
        action=action,
        verdict=verdict,
        lesson=row.lesson,
        title=row.title,
        stage=str(row.stage),
        reason=reason,
        pressed=row.pressed,
    )


def listing_outcomes(listings: Mapping[str, Sequence[Offer] | PlayError], actions: Collection[Action]) -> list[Outcome]:
    """Whether each box logged in, and whether it got its list."""
    found = []
    for box, listing in listings.items():
        failure = listing if isinstance(listing, PlayError) else None
        is_in = failure is None or failure.stage is not Stage.LOGIN
        if Action.LOGIN in actions:
            found.append(_of(box, Action.LOGIN, None if is_in else failure))
        if Action.LIST in actions and is_in:
            found.append(_of(box, Action.LIST, failure))
        elif Action.LIST in actions:
            found.append(not_asked(box, Action.LIST, Reason("没有登录", "not logged in")))
    return found


def redirect_outcome(box: str, rows: Sequence[Observation]) -> Outcome:
    """Whether the box followed where it was sent, in all that it played."""
    sent = [row for row in rows if row.redirects]
    failed = next((row for row in sent if not row.ok), None)
    if failed is not None:
        return Outcome(
            box=box, action=Action.REDIRECT, verdict=Verdict.FAILED, stage=str(failed.stage), reason=failed.reason
        )
    if not sent:
        return not_asked(box, Action.REDIRECT, Reason("服务器没有重定向", "the server sent nobody elsewhere"))
    words = str(Reason(f"跟随了 {sent[0].redirects} 次", f"followed {sent[0].redirects} a lesson"))
    return Outcome(box=box, action=Action.REDIRECT, verdict=Verdict.OK, reason=words)


def not_asked(box: str, action: Action, why: Reason, *, lesson: str = "", title: str = "") -> Outcome:
    """An action that it could not come to."""
    return Outcome(box=box, action=action, verdict=Verdict.NOT_ASKED, lesson=lesson, title=title, reason=str(why))


def no_key(box: str, action: Action, why: Reason, *, lesson: str = "", title: str = "") -> Outcome:
    """An action for which the box has no key."""
    return Outcome(box=box, action=action, verdict=Verdict.NO_KEY, lesson=lesson, title=title, reason=str(why))


def _of(box: str, action: Action, failure: PlayError | None) -> Outcome:
    if failure is None:
        return Outcome(box=box, action=action, verdict=Verdict.OK)
    reason = str(failure.reason)
    return Outcome(box=box, action=action, verdict=Verdict.FAILED, stage=str(failure.stage), reason=reason)
