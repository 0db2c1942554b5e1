"""The operator's pages below ``/operator``: a password, how the edge stands, import, sync, the last faults."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from edge_server.console.access import OperatorLogins, why_weak
from edge_server.console.jobs import Job, Jobs, Work
from edge_server.console.password import PasswordFile
from edge_server.console.status import EdgeStatus
from edge_server.portal import PortalReply, PortalRequest, PortalState
from edge_server.portal.web.paper import Asker, Papers, asker_of
from runtime.clock import Clock
from runtime.recent import Recent
from sync import SyncError

COOKIE = "operator"
PREFIX = "/operator"
FAULTS_SHOWN_MAX_COUNT = 30
NOT_LOCAL = ("只能在本地网络操作", "Only from the local network")

Read = Callable[[web.Request], Awaitable[PortalRequest]]
_Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Workings:
    """What the pages show and start."""

    status: Callable[[], Awaitable[EdgeStatus]]
    boxes: Callable[[], list[tuple[str, str, str]]]
    """MAC, station, and when it was heard last."""
    recent: Callable[[], list[Recent]]
    settings: Callable[[], list[str]]
    """What is wrong with the configuration, for people; empty when nothing is."""
    sticks: Callable[[], list[Path]]
    """Folders of sticks that hold a bundle."""
    sync: Work
    take_in: Callable[[Path], Work]


class ConsolePages:
    """The routes."""

    def __init__(
        self,
        workings: Workings,
        jobs: Jobs,
        password: PasswordFile,
        clock: Clock,
        *,
        code: str,
        read: Read,
        state: Callable[[PortalRequest], PortalState],
    ) -> None:
        """``code``: the set-up code of this start; empty when a password is set."""
        self._workings, self._jobs, self._password, self._clock = workings, jobs, password, clock
        self._code, self._read, self._state = code, read, state
        self._logins = OperatorLogins()
        self._papers = Papers("edge_server.console")
        self._checking = asyncio.Lock()
        """One password at a time: each costs 64 MiB of memory on purpose."""

    def routes(self) -> list[web.RouteDef]:
        """Offer the pages."""
        return [
            web.get(PREFIX, self._handled(self._home)),
            web.get(f"{PREFIX}/faults", self._handled(self._faults)),
            web.get(f"{PREFIX}/boxes", self._handled(self._boxes)),
            web.get(f"{PREFIX}/settings", self._handled(self._settings)),
            web.get(f"{PREFIX}/usb", self._handled(self._usb)),
            web.post(f"{PREFIX}/setup", self._handled(self._set_up, open_=True)),
            web.post(f"{PREFIX}/login", self._handled(self._log_in, open_=True)),
            web.post(f"{PREFIX}/logout", self._handled(self._log_out)),
            web.post(f"{PREFIX}/sync", self._handled(self._sync)),
            web.post(f"{PREFIX}/usb", self._handled(self._take_in)),
        ]

    def _handled(self, page: Callable[[Asker, str], Awaitable[PortalReply]], *, open_: bool = False) -> _Handler:
        async def answer(request: web.Request) -> web.Response:
            asked = await self._read(request)
            state = self._state(asked)
            asker = asker_of(asked, state)
            if not state.is_local:
                return _sent(self._say(asker, 403, *NOT_LOCAL))
            token = self._logins.token_of(asked.cookies.get(COOKIE, ""), self._clock.monotonic())
            if open_:
                return _sent(await page(asker, ""))
            if token is None:
                return _sent(self._papers.write("enter.html", asker, fresh=not self._password.is_set(), wrong=""))
            if asked.method == "POST" and not hmac.compare_digest(asked.form.get("token", "").encode(), token.encode()):
                return _sent(self._say(asker, 403, "页面已过期，请重试", "The page is too old; try again"))
            return _sent(await page(asker, token))

        return answer

    # ---- getting in ----

    async def _set_up(self, asker: Asker, token: str) -> PortalReply:
        form, now_s = asker.request.form, self._clock.monotonic()
        if self._password.is_set() or not self._code:
            return self._enter(asker, "密码已经设好，请登录 / a password is set; log in")
        if (wait := self._logins.wait_s(now_s)) > 0:
            return self._wait(asker, wait)
        if not hmac.compare_digest(form.get("code", "").strip().encode(), self._code.encode()):
            self._logins.failed(now_s)
            return self._enter(asker, "设置码不对，请看服务器屏幕 / wrong code; the server's console shows it")
        weak = why_weak(form.get("password", ""))
        if weak is None and form.get("password") != form.get("again"):
            weak = "两次输入的密码不一样 / the two passwords differ"
        if weak is not None:
            return self._enter(asker, weak)
        try:
            await asyncio.to_thread(self._password.write, form["password"])
        except (OSError, SyncError):
            return self._say(asker, 503, "磁盘写不进，密码没有设好", "The disk cannot be written; no password was set")
        self._code = ""
        return self._let_in(now_s)

    async def _log_in(self, asker: Asker, token: str) -> PortalReply:
        now_s = self._clock.monotonic()
        if (wait := self._logins.wait_s(now_s)) > 0:
            return self._wait(asker, wait)
        async with self._checking:
            fits = await asyncio.to_thread(self._password.fits, asker.request.form.get("password", ""))
        if not fits:
            self._logins.failed(now_s)
            return self._enter(asker, "密码不对 / wrong password")
        return self._let_in(now_s)

    def _let_in(self, now_s: float) -> PortalReply:
        key = secrets.token_urlsafe(32)
        self._logins.enter(key, secrets.token_urlsafe(16), now_s)
        return _to(PREFIX, ("Set-Cookie", f"{COOKIE}={key}; Path={PREFIX}; HttpOnly; SameSite=Strict"))

    async def _log_out(self, asker: Asker, token: str) -> PortalReply:
        self._logins.leave(asker.request.cookies.get(COOKIE, ""))
        return _to(PREFIX, ("Set-Cookie", f"{COOKIE}=; Path={PREFIX}; Max-Age=0"))

    def _enter(self, asker: Asker, wrong: str) -> PortalReply:
        return self._papers.write("enter.html", asker, 403, fresh=not self._password.is_set(), wrong=wrong)

    def _wait(self, asker: Asker, wait_s: float) -> PortalReply:
        words = f"试得太多，请等 {wait_s:.0f} 秒", f"Too many tries; wait {wait_s:.0f} s"
        return self._say(asker, 429, *words)

    # ---- what there is to see and do ----

    async def _home(self, asker: Asker, token: str) -> PortalReply:
        status = await self._workings.status()
        return self._papers.write("operator.html", asker, edge=status, job=self._jobs.last, token=token)

    async def _faults(self, asker: Asker, token: str) -> PortalReply:
        events = self._workings.recent()[:FAULTS_SHOWN_MAX_COUNT]
        return self._papers.write("faults.html", asker, events=events, when=_when)

    async def _boxes(self, asker: Asker, token: str) -> PortalReply:
        boxes = await asyncio.to_thread(self._workings.boxes)
        return self._papers.write("boxes.html", asker, boxes=boxes)

    async def _settings(self, asker: Asker, token: str) -> PortalReply:
        return self._papers.write("settings.html", asker, wrong=await asyncio.to_thread(self._workings.settings))

    async def _usb(self, asker: Asker, token: str) -> PortalReply:
        found = await asyncio.to_thread(self._workings.sticks)
        return self._papers.write(
            "usb.html", asker, sticks=[str(each) for each in found], job=self._jobs.last, token=token
        )

    async def _sync(self, asker: Asker, token: str) -> PortalReply:
        return self._begin(asker, Job("sync", "同步 / sync"), self._workings.sync)

    async def _take_in(self, asker: Asker, token: str) -> PortalReply:
        stick = asker.request.form.get("stick", "")
        if stick not in {str(each) for each in await asyncio.to_thread(self._workings.sticks)}:
            return self._say(asker, 404, "U 盘已拔出，或里面没有同步包", "The stick is gone, or holds no bundle")
        return self._begin(asker, Job("import", f"导入 / import {stick}"), self._workings.take_in(Path(stick)))

    def _begin(self, asker: Asker, job: Job, work: Work) -> PortalReply:
        if not self._jobs.start(job, work):
            return self._say(asker, 409, "上一项还没有做完，请稍候", "Something is running; wait for it")
        return _to(PREFIX if job.kind == "sync" else f"{PREFIX}/usb")

    def _say(self, asker: Asker, status: int, chinese: str, english: str) -> PortalReply:
        return self._papers.write("told.html", asker, status, chinese=chinese, english=english)


def _when(at_s: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_s, UTC).strftime("%m-%d %H:%M UTC")


def _to(path: str, *fields: tuple[str, str]) -> PortalReply:
    return PortalReply(303, headers=(("Location", path), *fields))


def _sent(reply: PortalReply) -> web.Response:
    response = web.Response(status=reply.status, body=reply.body)
    response.headers["Content-Type"] = reply.media_type
    for name, value in reply.headers:
        if name != "Cache-Control":
            response.headers.add(name, value)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Frame-Options"] = "DENY"
    return response
