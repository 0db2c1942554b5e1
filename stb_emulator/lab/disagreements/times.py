"""Rows about places and moments: spellings of a seek (D11), zones and spellings of catch-up (D12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from stb_emulator.boxes import Box
from stb_emulator.lab.disagreements.streams import talk_of
from stb_emulator.lab.disagreements.told import Row, Variant
from stb_emulator.lab.disagreements.trying import LOCAL_ACCOUNT, Lab, NotShown, but, plain_box, wrong
from stb_emulator.observe import PlayError, Reason, Stage
from stb_emulator.players.rtsp.seeking import NEAR_START_S, moment_address
from stb_emulator.portals.huawei.portal import HuaweiPortal
from wire.ctc import CtcError, parse_channel_page
from wire.rtsp import NptRange, WireError, parse_range

SETTLED = timedelta(seconds=30)
"""A programme that ended so long ago is over for everybody."""


@dataclass(frozen=True, slots=True)
class Programme:
    """One programme of a channel, as this box was told of it."""

    url: str
    """Where the box would ask for its past."""
    begin: datetime
    end: datetime


async def programme_of(lab: Lab, box: Box) -> Programme:
    """Log in, look into the guide, and choose the last programme that was over when the run began.

    Raises:
        NotShown: there is no channel with a past.
        PlayError: the box could not.
    """
    async with lab.seat.line(box) as line:
        portal = HuaweiPortal(box, lab.seat.portal_url, line, lab.seat.clock)
        await portal.login()
        try:
            listed = parse_channel_page(await portal.channel_page()).channels
        except CtcError as error:
            raise PlayError(Stage.BROWSE, "频道列表无法解析", f"unreadable channel list: {error}") from error
        channel = next((each for each in listed if each.other("TimeShift") == "1"), None)
        if channel is None:
            raise NotShown("没有可回看的频道", "no channel with a past (setting `channels`)")
        zone = timezone(timedelta(minutes=lab.guide_zone_min))
        over = lab.began - SETTLED
        shown = await portal.programmes(channel.channel_id, f"{over.astimezone(zone):%Y%m%d}")
        await portal.logout()
    spans = []
    for each in shown:
        begin, end = (
            datetime.fromisoformat(f"{each.day}T{time}").replace(tzinfo=zone).astimezone(UTC)
            for time in (each.time, each.endtime)
        )
        spans.append((begin, end))
    past = [each for each in spans if each[1] <= over]
    if not past:
        raise NotShown("今天还没有结束的节目", "no programme of today is over yet")
    return Programme(channel.other("TimeShiftURL") or channel.urls[-1], *past[-1])


async def _catch_up(lab: Lab, box: Box) -> dict[str, Any]:
    """Watch a programme that is over, by a query in the box's spelling: it begins with its first picture."""
    assert box.rtsp is not None
    wanted = await programme_of(lab, box)
    url = moment_address(wanted.url, wanted.begin, wanted.end, box.rtsp)
    async with talk_of(lab, box, url) as talk:
        return {
            "programme": f"{wanted.begin:%H:%M:%S}Z",
            "duration_s": talk.duration_s,
            "first picture": await talk.first_picture(),
        }


def _zones(lab: Lab) -> Sequence[Variant]:
    utc = but(plain_box(lab), "rtsp", only_transport="MP2T/TCP")
    local = but(but(utc, account=LOCAL_ACCOUNT), "rtsp", time_zone_min=lab.guide_zone_min)
    spellings = [
        Variant(f"UTC, {style}", but(utc, "rtsp", time_style=style), _catch_up)
        for style in ("14", "14-gmt", "iso", "iso-compact", "unix")
    ]
    queries = [
        Variant(f"UTC, {query}", but(utc, "rtsp", time_query=query), _catch_up) for query in ("Playseek", "tvdr")
    ]
    return [
        *spellings,
        *queries,
        Variant("local, 14", local, _catch_up),
        Variant("local, unix", but(local, "rtsp", time_style="unix"), _catch_up),
    ]


async def _seek(lab: Lab, box: Box) -> dict[str, Any]:
    """Press the time bar in the middle of the lesson."""
    wanted_s = max(NEAR_START_S + 1, float(int(lab.duration_s / 2)))
    if wanted_s >= lab.duration_s:
        raise NotShown("课件太短", f"the lesson is too short: {lab.duration_s:g} s")
    async with talk_of(lab, box) as talk:
        answer = await talk.press(lambda t, now: t.seek(wanted_s, now))
        return {"place_s": _begins(answer.headers.get("Range") or ""), "first picture": await talk.first_picture()}


async def _back(lab: Lab, box: Box) -> dict[str, Any]:
    """Press the time bar at its beginning."""
    async with talk_of(lab, box) as talk:
        answer = await talk.press(lambda t, now: t.seek(0.0, now))
        return {"place_s": _begins(answer.headers.get("Range") or ""), "first picture": await talk.first_picture()}


async def _on_air(lab: Lab, box: Box) -> dict[str, Any]:
    """Go back to the beginning of a programme, from what the channel shows now."""
    wanted = await programme_of(lab, box)
    async with talk_of(lab, box, wanted.url) as talk:
        await talk.press(lambda t, now: t.shift(wanted.begin, now))
        return {"first picture": await talk.first_picture()}


async def _by_query(lab: Lab, box: Box) -> dict[str, Any]:
    facts = await _catch_up(lab, box)
    return {"first picture": facts["first picture"]}


def _begins(value: str) -> float:
    try:
        span = parse_range(value)
    except WireError as error:
        raise PlayError(Stage.PLAY, "Range 应答有误", f"unreadable Range {value[:40]!r}") from error
    if not isinstance(span, NptRange) or not isinstance(span.start, float):
        raise wrong(Stage.PLAY, "应答没有位置", f"the answer names no place: {value[:40]!r}")
    return span.start


def _spellings(lab: Lab) -> Sequence[Variant]:
    box = but(plain_box(lab), "rtsp", only_transport="MP2T/TCP")
    return [
        Variant("npt", but(box, "rtsp", seek_style="npt"), _seek, "middle"),
        Variant("npt-millis", but(box, "rtsp", seek_style="npt-millis"), _seek, "middle"),
        Variant("beginning", but(box, "rtsp", seek_style="npt"), _back, "begin"),
        Variant("playseek", but(box, "rtsp", seek_style="playseek"), _by_query, "channel"),
        Variant("clock", but(box, "rtsp", seek_style="clock"), _on_air, "channel"),
    ]


ROWS = (
    Row("D11", Reason("拖动的写法", "spelling of a seek"), _spellings),
    Row("D12", Reason("本地时间与 UTC", "local time or UTC"), _zones),
)
