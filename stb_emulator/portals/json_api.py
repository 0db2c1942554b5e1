"""The portal of OTT apps: columns, then lesson by lesson, by the JSON API below ``/api/v1/``."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import urljoin

import msgspec

from runtime.clock import Clock
from stb_emulator.boxes import Box
from stb_emulator.observe import Offer, PlayError, Stage
from stb_emulator.observe.line import Line
from stb_emulator.portals import OpenPortal

BASE = "/api/v1/"
HOPS = 3
HEARTBEAT_DEFAULT_S = 300.0


class _Column(msgspec.Struct):
    title: str
    lessons: list[str]


class _Columns(msgspec.Struct):
    format: int
    columns: list[_Column]


class _Lesson(msgspec.Struct):
    """As far as an app needs it; unknown keys are fine (the API may grow)."""

    id: str
    title: str
    family: str
    duration_s: float
    play: dict[str, str] = msgspec.field(default_factory=dict)
    page: str = ""


class _Detail(msgspec.Struct):
    format: int
    lesson: _Lesson


class _Time(msgspec.Struct):
    format: int
    unix_s: float


class _Heartbeat(msgspec.Struct):
    format: int
    interval_s: float


_Answer = TypeVar("_Answer", _Columns, _Detail, _Time, _Heartbeat)


class JsonApi:
    """See Portal: no login, the time, then the lists; a heartbeat while a lesson plays."""

    def __init__(self, box: Box, url: str, line: Line, clock: Clock) -> None:
        """``url``: the address of the edge, e.g. ``http://127.0.0.1:8080``."""
        self.deviations: list[str] = []
        self._box, self._base, self._line, self._clock = box, urljoin(url, BASE), line, clock
        self._playing = ""

    async def login(self) -> None:
        """Take the time: boxes without a clock of their own begin with that."""
        await self._get("time", _Time, Stage.LOGIN)

    async def browse(self) -> tuple[Offer, ...]:
        """See Portal."""
        columns = (await self._get("columns", _Columns, Stage.BROWSE)).columns
        wanted = [(item_id, column.title) for column in columns for item_id in column.lessons]
        ids = [item_id for item_id, _ in wanted]
        if len(set(ids)) != len(ids):
            twice = next(each for each in ids if ids.count(each) > 1)
            raise _failed(f"目录中 {twice} 重复", f"{twice} is listed twice")
        offers: list[Offer] = []
        for item_id, column_title in wanted:
            lesson = (await self._get(f"lessons/{item_id}", _Detail, Stage.BROWSE)).lesson
            if lesson.id != item_id:
                raise _failed("课程编号不符", f"asked for {item_id}, got {lesson.id}")
            offers.append(self._offer(lesson, column_title))
        return tuple(offers)

    def _offer(self, lesson: _Lesson, column: str) -> Offer:
        is_page = lesson.family == "picture_text"
        path = lesson.page if is_page else lesson.play.get(self._box.player, "")
        return Offer(
            item_id=lesson.id,
            title=lesson.title,
            column=column,
            family="picture_text" if is_page else "video",
            url=urljoin(self._base, path) if path else "",
            announced_s=None if is_page else lesson.duration_s,
        )

    async def resolve(self, offer: Offer) -> Offer:
        """See Portal."""
        if not offer.url:
            words = f"the lesson {offer.item_id} has no {self._box.player} address"
            raise _failed("课程没有给出播放地址", words)
        self._playing = offer.item_id
        return offer

    async def stay(self) -> None:
        """Tell that the box lives, and what it plays, as often as the server wants it."""
        name = self._box.device.mac if self._box.device is not None else self._box.name
        while True:
            form = {"box": name, "item": self._playing}
            said = await self._ask("POST", "heartbeat", _Heartbeat, Stage.PLAY, form)
            wait_s = said.interval_s if said.interval_s > 0 else HEARTBEAT_DEFAULT_S
            await self._clock.sleep_until(self._clock.monotonic() + wait_s)

    async def logout(self) -> None:
        """See Portal."""

    async def _get(self, path: str, kind: type[_Answer], stage: Stage) -> _Answer:
        return await self._ask("GET", path, kind, stage, None)

    async def _ask(
        self, method: str, path: str, kind: type[_Answer], stage: Stage, form: dict[str, str] | None
    ) -> _Answer:
        reply = await self._line.ask(method, urljoin(self._base, path), stage, form=form, hops=HOPS)
        if reply.status != 200:
            raise PlayError(stage, f"接口应答 HTTP {reply.status}", f"HTTP {reply.status} for {BASE}{path}")
        try:
            answer = msgspec.json.decode(reply.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise PlayError(stage, "接口应答无法解析", f"unreadable answer of {path}: {error}"[:200]) from error
        if answer.format != 1:
            raise PlayError(stage, f"接口格式 {answer.format} 不认识", f"unknown format {answer.format} of {path}")
        return answer


def _failed(zh: str, en: str) -> PlayError:
    return PlayError(Stage.BROWSE, zh, en)


PORTAL: OpenPortal = JsonApi
