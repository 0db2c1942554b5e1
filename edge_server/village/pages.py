"""The pages of a village below ``/study``: plan, session, questionnaires, fault, need, and the page for inspectors.

Each works by links and forms alone; a form is answered by 303, so that reloading repeats nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from aiohttp import web

from domain.courseware import Courseware
from domain.records import FaultRecord, RecordError, SessionRecord
from domain.village import Questionnaire, checked_answer
from edge_server.portal import PortalReply, PortalRequest, PortalState
from edge_server.portal.web.lessons import RENDITION_FOR_NEW
from edge_server.portal.web.listing import part_of, shorten
from edge_server.portal.web.paper import Asker, Papers, asker_of, text
from edge_server.sessions.failures import Failures
from edge_server.sessions.study import EFFECTIVE_MIN_S, StationsFull, Studying
from edge_server.village import health
from edge_server.village.asked import (
    STATION_COOKIE,
    STATION_KEPT_S,
    checked_station,
    count_in,
    is_own_form,
    station_in,
)
from edge_server.village.desk import Need, VillageDesk, day_of
from edge_server.village.health import Vitals
from edge_server.village.replies import sent, to

PLANS_AHEAD = timedelta(days=31)
ITEMS_SHOWN_MAX_COUNT = 12
STATIONS_SHOWN_MAX_COUNT = 60
FORMS_OF_ONE_MAX_COUNT = 60
"""In a minute, from one address: a hall full of phones behind one of them."""
FORMS_MAX_COUNT = 20_000
"""In an hour, from all: some 10 MB of records."""
ADDRESSES_MAX_COUNT = 4096
FAULTS = (
    ("no-picture", "有声音没有图像", "Sound but no picture"),
    ("no-sound", "有图像没有声音", "Picture but no sound"),
    ("stall", "播放卡顿", "It stops and goes"),
    ("cannot-play", "点了不能播放", "It does not begin"),
    ("cannot-login", "进不了系统", "The box cannot get in"),
    ("no-lesson", "找不到要学的课", "The lesson is not there"),
    ("other", "其他故障", "Something else"),
)
NOT_RECORDED = ("没有记录下来：磁盘已满或损坏，请报修", "Not recorded: the disk is full or broken. Call for help")
_NEEDS: dict[str, Need] = {
    "lesson-wanted": "lesson-wanted",
    "lesson-wrong": "lesson-wrong",
    "visit-wanted": "visit-wanted",
}

Read = Callable[[web.Request], Awaitable[PortalRequest]]
Look = Callable[[], Awaitable[Vitals]]
Prefix = Callable[[str, int], str]
"""Gives what to put in front of the media of an item, for a viewing."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request, and where it comes from."""

    asker: Asker
    state: PortalState
    station: str

    @property
    def form(self) -> dict[str, str]:
        """Fields of the form, as text."""
        return {name: text(value) for name, value in self.asker.request.form.items()}


class VillagePages:
    """The routes."""

    def __init__(
        self,
        desk: VillageDesk,
        *,
        read: Read,
        state: Callable[[PortalRequest], PortalState],
        look: Look,
        prefix: Prefix,
        stations: Callable[[], tuple[str, ...]],
    ) -> None:
        """``look`` takes the vitals, ``stations`` gives the codes that are known."""
        self._desk, self._read, self._state, self._look = desk, read, state, look
        self._prefix, self._stations = prefix, stations
        self._papers = Papers("edge_server.village")
        self._forms = Failures(ADDRESSES_MAX_COUNT)

    def routes(self) -> list[web.RouteDef]:
        """Offer the pages."""
        shown = {
            "/study": self._home,
            "/study/station": self._choose,
            "/study/now": self._now,
            "/study/check": self._check,
            "/study/check/{part}": self._check,
            "/study/fault": self._fault_form,
            "/study/need": self._need_form,
            "/study/ask/{form}": self._questions,
        }
        posted = {
            "/study/station": self._chosen,
            "/study/begin": self._begin,
            "/study/heads": self._heads,
            "/study/answer": self._answer,
            "/study/end": self._end,
            "/study/fault": self._fault,
            "/study/need": self._need,
            "/study/ask/{form}": self._filled,
        }
        return [
            *(web.get(path, self._showing(page)) for path, page in shown.items()),
            *(web.post(path, self._taking(action)) for path, action in posted.items()),
        ]

    def _showing(self, page: Callable[[Visit, web.Request], Awaitable[PortalReply]]) -> _Handler:
        async def answer(request: web.Request) -> web.Response:
            visit = await self._visit(request)
            if not visit.station and request.path != "/study/station":
                return sent(to("/study/station"))
            return sent(await page(visit, request))

        return answer

    def _taking(self, action: Callable[[Visit, web.Request], Awaitable[PortalReply]]) -> _Handler:
        async def answer(request: web.Request) -> web.Response:
            visit = await self._visit(request)
            asked = visit.asker.request
            if not is_own_form(asked.headers, asked.host):
                return sent(self._say(visit, 403, "请从本机页面操作", "Use the pages of this edge"))
            if not visit.station and request.path != "/study/station":
                return sent(to("/study/station"))
            if not self._may_record(asked.remote, visit.state.monotonic_s):
                return sent(self._say(visit, 429, "操作太频繁，请过一分钟再试", "Too often; try again in a minute"))
            try:
                return sent(await action(visit, request))
            except RecordError:
                return sent(self._say(visit, 400, "填写的内容有误，请检查", "Something in the form does not fit"))
            except OSError:
                words = (
                    "没有记录下来：磁盘已满或损坏。请打电话报修",
                    "Not recorded: the disk is full or broken. Call for help",
                )
                return sent(self._say(visit, 503, *words))

        return answer

    def _may_record(self, remote: str, now_s: float) -> bool:
        """Keep one who taps without end from filling the spool, in which real records must find room."""
        forms, limits = self._forms, ((remote, FORMS_OF_ONE_MAX_COUNT, 60.0), ("", FORMS_MAX_COUNT, 3600.0))
        if any(forms.wait_s(who, most, window_s, now_s) > 0 for who, most, window_s in limits):
            return False
        for who, most, _ in limits:
            forms.note(who, most, now_s)
        return True

    async def _visit(self, request: web.Request) -> Visit:
        asked = await self._read(request)
        state = self._state(asked)
        return Visit(asker_of(asked, state), state, station_in(asked.cookies))

    # ---- station ----

    async def _choose(self, visit: Visit, request: web.Request) -> PortalReply:
        known = self._stations()[:STATIONS_SHOWN_MAX_COUNT]
        return self._papers.write("station.html", visit.asker, stations=known, chosen=visit.station)

    async def _chosen(self, visit: Visit, request: web.Request) -> PortalReply:
        station = checked_station(visit.form.get("station", ""))
        if not station:
            return self._say(visit, 400, "站点编号用数字和字母", "The code of a station has digits and letters")
        kept = f"{STATION_COOKIE}={station}; Path=/; Max-Age={STATION_KEPT_S}; SameSite=Lax; HttpOnly"
        return to("/study", ("Set-Cookie", kept))

    # ---- plan and session ----

    async def _home(self, visit: Visit, request: web.Request) -> PortalReply:
        state, offset = visit.state, visit.state.utc_offset
        today, last = day_of(state.now, offset), day_of(state.now + PLANS_AHEAD, offset)
        plans = [
            (each, [(item, state.view.item(item)) for item in each.item_ids])
            for each in state.view.village.plans
            if today <= each.day <= last and each.is_for(visit.station)
        ]
        lines = health.lines_of(await self._look())
        return self._papers.write(
            "study.html",
            visit.asker,
            station=visit.station,
            today=today,
            plans=sorted(plans, key=lambda each: each[0].day)[:6],
            running=self._running(visit),
            forms=state.view.village.asked_on(state.now.date()),
            code=health.code_of(lines),
        )

    def _running(self, visit: Visit) -> tuple[Studying, Courseware | None] | None:
        found = self._desk.look(visit.station)
        return None if found is None else (found, visit.state.view.item(found.item_id))

    async def _begin(self, visit: Visit, request: web.Request) -> PortalReply:
        form = visit.form
        item = visit.state.view.item(form.get("item", ""))
        if item is None:
            return self._say(visit, 404, "没有这一课，或已下架", "No such lesson, or it was taken back")
        rendition = item.renditions[0] if item.renditions else None
        try:
            await self._desk.begin(
                visit.station,
                item_id=item.item_id,
                media_bps=rendition.average_bps if rendition else 1,
                plan=form.get("plan", "")[:64],
                heads=count_in(form.get("heads", "")) or 0,
                remote=visit.asker.request.remote,
            )
        except StationsFull:
            return self._say(visit, 503, "同时学习的站点太多，请稍后", "Too many stations study now; try later")
        return to("/study/now")

    async def _now(self, visit: Visit, request: web.Request) -> PortalReply:
        running = self._running(visit)
        if running is None:
            return to("/study")
        found, item = running
        sources: list[str] = []
        if item is not None and item.renditions:
            prefix = self._prefix(item.item_id, found.viewing)
            names = [name for name in RENDITION_FOR_NEW if item.rendition(name) is not None]
            sources = [f"{prefix}/media/{item.item_id}/{name}.mp4" for name in names]
        return self._papers.write(
            "now.html",
            visit.asker,
            found=found,
            item=item,
            sources=sources,
            stream=f"rtsp://{visit.state.rtsp_authority}/vod/{found.item_id}.mpg",
            page=f"/lessons/{found.item_id}/" if item is not None and not item.renditions else "",
            minutes=int(found.wall_s(visit.state.monotonic_s) // 60),
            said=visit.asker.request.query.get("said", ""),
        )

    async def _heads(self, visit: Visit, request: web.Request) -> PortalReply:
        count = count_in(visit.form.get("heads", ""))
        if count is None:
            return self._say(visit, 400, "人数用数字填写", "Write the head-count in digits")
        self._desk.sessions.heads(visit.station, count)
        return to("/study/now")

    async def _answer(self, visit: Visit, request: web.Request) -> PortalReply:
        right = self._desk.sessions.answer(visit.station, visit.form.get("code", ""), visit.state.monotonic_s)
        ended = visit.form.get("then") == "end" and right
        if ended:
            return await self._end(visit, request)
        return to("/study/now?said=" + ("right" if right else "late" if right is None else "wrong"))

    async def _end(self, visit: Visit, request: web.Request) -> PortalReply:
        found = self._desk.sessions.ask_now(visit.station, visit.state.monotonic_s)
        if found is not None and found.challenge is not None and not found.passed and "anyway" not in visit.form:
            return self._papers.write("last.html", visit.asker, code=found.challenge.code)
        record = await self._desk.end(visit.station)
        if record is None:
            return to("/study")
        return self._papers.write(
            "ended.html", visit.asker, record=record, item=visit.state.view.item(record.item_id), least=EFFECTIVE_MIN_S
        )

    # ---- what inspectors see ----

    async def _check(self, visit: Visit, request: web.Request) -> PortalReply:
        try:
            noted = await self._desk.shown(visit.station)
        except OSError:
            return self._say(visit, 503, "记录读不出来：磁盘损坏", "The records cannot be read: the disk is broken")
        lines = health.lines_of(await self._look())
        view, room = visit.state.view, visit.asker.room
        sessions = [(each, each.body) for each in noted if isinstance(each.body, SessionRecord)]
        tables: dict[str, Sequence[object]] = {
            "sessions": sessions,
            "faults": [(each, each.body) for each in noted if isinstance(each.body, FaultRecord)],
            "plans": [each for each in view.village.plans if each.is_for(visit.station)][::-1],
            "hidden": [(each, why) for each in view.listed.courseware if (why := view.why_hidden(each))],
            "state": (),
        }
        shown = request.match_info.get("part", "sessions")
        if shown not in tables:
            return self._say(visit, 404, "没有这一页", "No such page")
        return self._papers.write(
            "check.html",
            visit.asker,
            station=visit.station,
            shown=shown,
            part=part_of(tables[shown], visit.asker.number("page"), room.rows),
            total_s=sum(body.effective_s for _, body in sessions),
            heads=sum(body.head_count for _, body in sessions),
            count=len(sessions),
            fault_words={what: (chinese, english) for what, chinese, english in FAULTS},
            titles={each.item_id: each.title for each in view.listed.courseware},
            short=lambda words: shorten(words, room.title_units),
            held=len(view.catalogue.courseware),
            lines=lines,
            code=health.code_of(lines),
        )

    # ---- faults, needs, questionnaires ----

    async def _fault_form(self, visit: Visit, request: web.Request) -> PortalReply:
        lines = health.lines_of(await self._look())
        item = visit.state.view.item(visit.asker.request.query.get("item", ""))
        return self._papers.write(
            "fault.html", visit.asker, faults=FAULTS, lines=lines, code=health.code_of(lines), item=item
        )

    async def _fault(self, visit: Visit, request: web.Request) -> PortalReply:
        form = visit.form
        what = form.get("what", "")
        if what not in {each for each, _, _ in FAULTS}:
            return self._say(visit, 400, "请选择一种故障", "Choose what is wrong")
        code = health.code_of(health.lines_of(await self._look()))
        item_id = form.get("item", "") if visit.state.view.item(form.get("item", "")) else ""
        await self._desk.fault(visit.station, what, item_id=item_id, words=form.get("words", ""), code=code)
        return self._papers.write(
            "thanks.html", visit.asker, code=code, chinese="故障已登记", english="The fault is noted"
        )

    async def _need_form(self, visit: Visit, request: web.Request) -> PortalReply:
        about = visit.asker.request.query.get("about", "lesson-wanted")
        item = visit.state.view.item(visit.asker.request.query.get("item", ""))
        return self._papers.write("need.html", visit.asker, about=about, item=item)

    async def _need(self, visit: Visit, request: web.Request) -> PortalReply:
        form = visit.form
        about = _NEEDS.get(form.get("about", ""))
        words = form.get("words", "").strip()
        item_id = form.get("item", "") if visit.state.view.item(form.get("item", "")) else ""
        if about is None or (not words and not item_id):
            return self._say(visit, 400, "请写下需要什么", "Write what is needed")
        await self._desk.need(visit.station, about, item_id=item_id, words=words)
        return self._thank(visit, "已记下，会转给平台", "Noted; it goes to the centre")

    async def _questions(self, visit: Visit, request: web.Request) -> PortalReply:
        form = self._form(visit, request)
        if form is None:
            return self._say(visit, 404, "这份问卷已经结束", "This questionnaire has ended")
        return self._papers.write("ask.html", visit.asker, form=form, wrong=frozenset(), given={})

    async def _filled(self, visit: Visit, request: web.Request) -> PortalReply:
        form = self._form(visit, request)
        if form is None:
            return self._say(visit, 404, "这份问卷已经结束", "This questionnaire has ended")
        given, wrong = visit.form, set()
        answers: dict[str, str] = {}
        for each in form.questions:
            typed = given.get(each.question, "")
            answer = checked_answer(each, typed)
            if answer is not None:
                answers[each.question] = answer
            elif typed.strip():
                wrong.add(each.question)
        if wrong or not answers:
            reply = self._papers.write("ask.html", visit.asker, form=form, wrong=wrong, given=given)
            return PortalReply(400, reply.body, reply.media_type, reply.headers)
        way = "box" if visit.asker.screen.old else "web"
        await self._desk.answer(visit.station, form.questionnaire, form.version, answers, way)
        return self._papers.write(
            "thanks.html", visit.asker, code="", chinese="谢谢，已收下", english="Thank you, it is noted"
        )

    def _form(self, visit: Visit, request: web.Request) -> Questionnaire | None:
        day = visit.state.now.date()
        found = visit.state.view.village.questionnaire(request.match_info["form"])
        return found if found in visit.state.view.village.asked_on(day) else None

    def _thank(self, visit: Visit, chinese: str, english: str, code: str = "") -> PortalReply:
        return self._papers.write("thanks.html", visit.asker, code=code, chinese=chinese, english=english)

    def _say(self, visit: Visit, status: int, chinese: str, english: str) -> PortalReply:
        return self._papers.write("said.html", visit.asker, status, chinese=chinese, english=english)


_Handler = Callable[[web.Request], Awaitable[web.Response]]
