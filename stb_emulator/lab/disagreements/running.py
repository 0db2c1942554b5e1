"""Runs rows: every variant is a device of its own, some at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from stb_emulator.boxes import unit
from stb_emulator.lab.disagreements.streams import talk_of
from stb_emulator.lab.disagreements.told import Result, Row, Status, Told, Variant, judge
from stb_emulator.lab.disagreements.trying import Lab, NotShown, plain_box
from stb_emulator.observe import PlayError, Stage

VARIANT_MAX_S = 60.0
UNITS_A_ROW = 32


async def prepare(lab: Lab) -> Lab:
    """Let the plain box choose the first video, or the lesson that was named, and measure it.

    Raises:
        PlayError: not even that box can.
    """
    box = plain_box(lab)
    offers = await lab.seat.list(box)
    offer = next((o for o in offers if o.family == "video" and o.item_id == (lab.item_id or o.item_id)), None)
    if offer is None:
        raise PlayError(Stage.BROWSE, "没有可播放的视频课件", "no video lesson to play")
    lab = replace(lab, item_id=offer.item_id, url=offer.url, began=lab.seat.clock.utc())
    async with talk_of(lab, box) as talk:
        return replace(lab, duration_s=talk.duration_s or 0.0, timeout_s=talk.session_timeout_s)


async def run(
    lab: Lab, rows: Sequence[Row], *, concurrency: int = 8, on_result: Callable[[Result], None] = lambda _: None
) -> list[Result]:
    """Try the rows; results come back in their order, ``on_result`` hears of them as they come."""
    gate = asyncio.Semaphore(concurrency)
    results: dict[str, Result] = {}

    async def one(place: int, row: Row) -> None:
        result = await _row(lab, row, place * UNITS_A_ROW + 1, gate)
        results[row.name] = result
        on_result(result)

    async with asyncio.TaskGroup() as group:
        for place, row in enumerate(rows):
            group.create_task(one(place, row))
    return [results[row.name] for row in rows]


async def _row(lab: Lab, row: Row, first_unit: int, gate: asyncio.Semaphore) -> Result:
    if row.variants is None:
        status = Status.NOT_COVERED if row.applicable else Status.NOT_APPLICABLE
        return Result(row=row.name, title=str(row.title), status=status, reason=str(row.why_not))

    async def one(number: int, variant: Variant) -> Told:
        async with gate:
            return await _variant(lab, replace(variant, box=unit(variant.box, number)))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(first_unit + at, each)) for at, each in enumerate(row.variants(lab))]
    return judge(row, [each.result() for each in tasks])


async def _variant(lab: Lab, variant: Variant) -> Told:
    told = Told(variant=variant.name, status=Status.GREEN, group=variant.group)
    try:
        async with asyncio.timeout(VARIANT_MAX_S):
            facts = dict(await variant.do(lab, variant.box))
    except NotShown as nothing:
        return _but(told, Status.NOT_SHOWN, str(nothing.reason))
    except PlayError as failure:
        return _but(told, Status.RED, f"{failure.stage}: {failure.reason}")
    except TimeoutError:
        return _but(told, Status.RED, f"{VARIANT_MAX_S:g} 秒没有结束 / not done after {VARIANT_MAX_S:g} s")
    return Told(variant=told.variant, status=Status.GREEN, facts=facts, group=told.group)


def _but(told: Told, status: Status, reason: str) -> Told:
    return Told(variant=told.variant, status=status, reason=reason, group=told.group)
