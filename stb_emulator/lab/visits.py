"""Visits to a portal without a lesson: is its keep-alive answered, and does a box come back that was thrown out?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from runtime.clock import Clock
from stb_emulator.boxes import Box
from stb_emulator.lab.actions import Action, Outcome, Verdict, no_key
from stb_emulator.observe import Observation, Offer, PlayError, Reason, Stage
from stb_emulator.portals import Guide, Guided, Window
from stb_emulator.seat import Seat, portal_of

BEATS = 3
"""A box gives up after so many signs of life without an answer; fewer would prove nothing."""
FAST_BEAT_S = 0.8
"""Between the signs of life in an RTSP session that is watched for them."""
FAST_PLAY_S = 3.0
PATIENCE_S = 30.0


@dataclass(slots=True)
class HurriedClock:
    """A clock that lets its owner wake up at once, ``BEATS`` times; then it has slept in."""

    clock: Clock
    slept: int = 0
    is_over: asyncio.Event = field(default_factory=asyncio.Event)

    def monotonic(self) -> float:
        """See Clock."""
        return self.clock.monotonic()

    def utc(self) -> datetime:
        """See Clock."""
        return self.clock.utc()

    async def sleep_until(self, deadline: float) -> None:
        """See Clock."""
        self.slept += 1
        if self.slept > BEATS:
            self.is_over.set()
            await asyncio.Event().wait()

    def call_at(self, deadline: float, callback: Callable[[], None]) -> Callable[[], None]:
        """See Clock."""
        return self.clock.call_at(deadline, callback)


async def guides(seat: Seat, boxes: Sequence[Box], window: Window) -> dict[str, Guide | PlayError]:
    """Let every box whose portal has a guide read it."""
    found: dict[str, Guide | PlayError] = {}

    async def one(box: Box) -> None:
        try:
            async with seat.line(box) as line:
                portal = portal_of(box, seat.portal_url, line, seat.clock)
                if isinstance(portal, Guided):
                    await portal.login()
                    found[box.name] = await portal.guide(window)
                    await portal.logout()
        except PlayError as failure:
            found[box.name] = failure

    async with asyncio.TaskGroup() as group:
        for box in boxes:
            group.create_task(one(box))
    return {box.name: found[box.name] for box in boxes if box.name in found}


async def heartbeat(seat: Seat, box: Box, lesson: Offer | None) -> Outcome:
    """Send the portal's signs of life without waiting, and those of an RTSP session in quick succession."""
    try:
        beats = await _portal_beats(seat, box)
    except PlayError as failure:
        return _failed(box, Action.HEARTBEAT, failure)
    words_zh, words_en = ([f"平台 {beats} 次"], [f"portal {beats}"]) if beats else ([], [])
    if box.rtsp is not None and lesson is not None:
        quick = msgspec.structs.replace(box, rtsp=msgspec.structs.replace(box.rtsp, keep_alive_s=FAST_BEAT_S))
        row = await replace(seat, seconds=FAST_PLAY_S).watch(quick, lesson.item_id)
        if (fault := _beat_fault(row)) is not None:
            return Outcome(
                box=box.name, action=Action.HEARTBEAT, verdict=Verdict.FAILED, stage=str(row.stage), reason=fault
            )
        words_zh.append(f"RTSP {row.beats_answered} 次")
        words_en.append(f"RTSP {row.beats_answered}")
    if not words_zh:
        return no_key(box.name, Action.HEARTBEAT, Reason("这种盒子没有心跳", "this kind of box has no heartbeat"))
    words = str(Reason("，".join(words_zh) + "都有应答", ", ".join(words_en) + " answered"))
    return Outcome(box=box.name, action=Action.HEARTBEAT, verdict=Verdict.OK, reason=words)


async def relogin(seat: Seat, box: Box) -> Outcome:
    """Log in twice as the same device, then go on with the first login: whatever the portal says, the list is the same.

    A portal that knows one login a device ends the first one; the box has to notice, and log in again.
    """
    try:
        async with seat.line(box) as line, seat.line(box) as other:
            first, second = (portal_of(box, seat.portal_url, each, seat.clock) for each in (line, other))
            await first.login()
            before = await first.browse()
            await second.login()
            again = await second.browse()
            refused = ""
            try:
                after = await first.browse()
            except PlayError as failure:
                refused = str(failure.reason)
                await first.login()
                after = await first.browse()
            await first.logout()
    except PlayError as failure:
        return _failed(box, Action.RELOGIN, failure)
    if not same(before, again) or not same(before, after):
        reason = Reason("再次登录后目录不同", "the list is another one after logging in again")
        return Outcome(box=box.name, action=Action.RELOGIN, verdict=Verdict.FAILED, stage="browse", reason=str(reason))
    words = Reason("重新登录后目录相同", "the same list after logging in again")
    said = f" ({refused})" if refused else ""
    return Outcome(box=box.name, action=Action.RELOGIN, verdict=Verdict.OK, reason=f"{words}{said}")


def same(one: Sequence[Offer], other: Sequence[Offer]) -> bool:
    """Whether two lists show a viewer the same; addresses may bear a new token."""
    return [(o.item_id, o.title, o.column, o.family) for o in one] == [
        (o.item_id, o.title, o.column, o.family) for o in other
    ]


def _beat_fault(row: Observation) -> str | None:
    if not row.ok:
        return row.reason
    if row.beats < 2:
        return str(Reason(f"只发了 {row.beats} 次保活", f"only {row.beats} signs of life were sent"))
    if row.beats_answered < row.beats - 1:  # the last may be under way when the lesson is left
        zh, en = (
            f"{row.beats} 次保活，{row.beats_answered} 次有应答",
            f"{row.beats_answered} of {row.beats} were answered",
        )
        return str(Reason(zh, en))
    return None


async def _portal_beats(seat: Seat, box: Box) -> int:
    """Return how often the portal answered; 0 when this family has no keep-alive."""
    hurried = HurriedClock(seat.clock)
    async with seat.line(box) as line:
        portal = portal_of(box, seat.portal_url, line, hurried)
        await portal.login()
        failures: list[PlayError] = []

        async def stay() -> None:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await portal.stay()
            except PlayError as failure:
                failures.append(failure)
            except TimeoutError:
                failures.append(PlayError(Stage.PLAY, "心跳没有应答", f"no answer within {PATIENCE_S:g} s"))

        async with asyncio.TaskGroup() as group:
            tasks = {group.create_task(stay()), group.create_task(hurried.is_over.wait())}
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        await portal.logout()
    if failures:
        raise failures[0]
    return min(hurried.slept, BEATS)


def _failed(box: Box, action: Action, failure: PlayError) -> Outcome:
    return Outcome(
        box=box.name, action=action, verdict=Verdict.FAILED, stage=str(failure.stage), reason=str(failure.reason)
    )
