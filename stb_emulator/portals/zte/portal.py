"""The driver: sends what the pure parts ask for, and brings an expired session back (stb_protocols §3.3)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from urllib.parse import urlencode, urljoin

from runtime.clock import Clock
from stb_emulator.boxes import Box, ZteFace
from stb_emulator.boxes.charset import page_text
from stb_emulator.boxes.proof import RANDOM_BELOW
from stb_emulator.observe import Family, Offer, PlayError, Stage
from stb_emulator.observe.line import Line
from stb_emulator.observe.ntp import ask_time
from stb_emulator.portals import Guide, Window
from stb_emulator.portals.zte import channels, pages
from stb_emulator.portals.zte.login import Ask, Login, Session
from wire.ctc import Channel, CtcError
from wire.zte import parse_time

OWN_IP = "127.0.0.1"
ZONE = timedelta(hours=8)
"""Of the box's settings; the portal writes local time."""
GUIDE = "/iptvepg/frame80/channel/ztedatajsp/prevueList.jsp"
GUIDE_PAGE_COUNT, GUIDE_PAGES_MAX_COUNT = 500, 40
ERROR_NO_CHANNELS = "1302"
"""What the oldest boxes show when the first page brings no channels (stb_protocols §3.1)."""


class ZtePortal:
    """See Portal."""

    def __init__(self, box: Box, url: str, line: Line, clock: Clock) -> None:
        """``url``: the address of the edge."""
        assert box.zte is not None, "boxes are checked when they are loaded"
        self.deviations: list[str] = []
        self._box, self._url, self._line, self._clock = box, url, line, clock
        self._face: ZteFace = box.zte
        self._session: Session | None = None

    async def login(self) -> None:
        """See Portal."""
        number = secrets.randbelow(RANDOM_BELOW)
        login = Login(self._box, self._url, number, OWN_IP, self.deviations)
        step: Ask | Session = login.start()
        while isinstance(step, Ask):
            step = login.reply(await self._line.ask(step.method, step.url, Stage.LOGIN, form=step.form))
        self._session = step
        await self._look_at_clock(step)

    async def _look_at_clock(self, session: Session) -> None:
        """A token that has expired by the box's own clock is not used; a time server sets that clock (D21)."""
        expires, server = session.told.get("TokenExpiredTime", ""), session.told.get("NTPDomain", "")
        if not pages.is_time(expires):
            return
        skew = timedelta(seconds=self._box.device.clock_skew_s if self._box.device is not None else 0.0)
        own = self._clock.utc() + skew
        told = await ask_time(server, self._line, own) if server else None
        if parse_time(expires, ZONE) <= (told or own):
            why = "the portal names no time server"
            if server:
                why = "its time server says nothing" if told is None else "also by the portal's time server"
            raise PlayError(Stage.LOGIN, "令牌一到就过期（盒子时钟不对）", f"the token is expired on arrival: {why}")

    async def browse(self) -> tuple[Offer, ...]:
        """See Portal: Z6 and Z7, or the page of the login where the oldest boxes look."""
        session = self._require()
        early = self._face.channels_at == "index"
        page = session.index_page if early else await self._build()
        try:
            listing = (channels.parse_early if early else channels.parse)(page, self._face.parser)
        except CtcError as error:
            raise PlayError(Stage.BROWSE, "频道列表无法解析", f"unreadable channel list: {error}") from error
        self.deviations += listing.deviations
        if not listing.channels and early:
            raise PlayError(
                Stage.BROWSE,
                f"错误 {ERROR_NO_CHANNELS}：首页没有频道数据",
                f"error {ERROR_NO_CHANNELS}: no channels on the pages of the login",
            )
        lessons = (c for c in listing.channels if not is_broadcast(c))
        return tuple(_offer(c) for c in lessons)

    async def guide(self, window: Window) -> Guide:
        """See Guided: the list of each channel and local day."""
        page = await self._build()
        try:
            listed = channels.parse(page, self._face.parser).channels
        except CtcError as error:
            raise PlayError(Stage.BROWSE, "频道列表无法解析", f"unreadable channel list: {error}") from error
        found: Guide = {}
        for channel in (each for each in listed if is_broadcast(each)):
            begins: list[datetime] = []
            for day in window.days():
                begins += await self._day(channel.channel_id, day, window.zone)
            found[channel.name] = window.starts(begins)
        return found

    async def _day(self, channel_id: str, day: str, zone: timezone) -> list[datetime]:
        """Read one day of one channel, page by page."""
        begins: list[datetime] = []
        for number in range(1, GUIDE_PAGES_MAX_COUNT + 1):
            query = {"channelID": channel_id, "pageIndex": number, "pageSize": GUIDE_PAGE_COUNT, "curdate": day}
            found = channels.begins(await self._page("GET", f"{GUIDE}?{urlencode(query)}"), zone)
            begins += found
            if len(found) < GUIDE_PAGE_COUNT:
                break
        return begins

    async def resolve(self, offer: Offer) -> Offer:
        """See Portal: the channel record has the address."""
        if not offer.url:
            raise PlayError(Stage.BROWSE, "没有播放地址", "no address to play in the channel record")
        return offer

    async def stay(self) -> None:
        """See Portal: nothing is sent; a lost session shows itself with the next page."""

    async def logout(self) -> None:
        """See Portal: no such request is known."""

    async def _build(self) -> str:
        path = "/iptvepg/function/frameset_judger.jsp"
        judged = pages.form(await self._page("POST", path, {"picturetype": "1,3,5"}), "mainWinSrcForm")
        if judged is None:
            raise PlayError(Stage.BROWSE, "页面没有 mainWinSrcForm", "the page has no mainWinSrcForm")
        form = {
            "MAIN_WIN_SRC": self._face.main_window,
            "NEED_UPDATE_STB": "1",
            "BUILD_ACTION": "FRAMESET_BUILDER",
            "hdmistatus": "undefined",
        }
        form |= {k: v for k, v in judged.fields.items() if v}
        return await self._page("POST", urljoin(path, judged.action or "frameset_builder.jsp"), form)

    async def _page(self, method: str, path: str, form: Mapping[str, str] | None = None) -> str:
        """Ask for a page of the guide; an expired session is rebuilt once, then the box logs in once more."""
        for attempt in range(3):
            session = self._require()
            text, url = await self._ask(method, urljoin(session.epg, path), form)
            if not pages.is_expired(text):
                return text
            again = pages.rebuild_address(text, session.user_token) if attempt == 0 else None
            if again is not None:
                await self._ask("GET", urljoin(url, again), None)
            elif attempt < 2:
                await self.login()
        raise PlayError(Stage.BROWSE, "登录已失效", "the session stays expired, also after a new login")

    async def _ask(self, method: str, url: str, form: Mapping[str, str] | None) -> tuple[str, str]:
        reply = await self._line.ask(method, url, Stage.BROWSE, form=form)
        try:
            text, odd = page_text(self._face.charset, reply.body, reply.headers.get("Content-Type", ""))
        except CtcError as error:
            raise PlayError(Stage.BROWSE, "页面编码有误", f"wrong charset: {error}") from error
        self.deviations += odd
        if (number := pages.error(reply.location) or pages.error(text)) is not None:
            raise PlayError(Stage.BROWSE, f"平台报错 {number}", f"the portal shows error {number} (qrcodeerror)")
        if reply.status != 200:
            words = f"HTTP {reply.status} for {url.split('?')[0]}"
            raise PlayError(Stage.BROWSE, f"取列表失败：HTTP {reply.status}", words)
        return text, reply.url

    def _require(self) -> Session:
        assert self._session is not None, "log in first"
        return self._session


def is_broadcast(channel: Channel) -> bool:
    """Tell a channel that runs by itself from a lesson: it has a multicast group or can be shifted in time."""
    return any(u.startswith("igmp:") for u in channel.urls) or channel.other("TimeShift") == "1"


def _offer(channel: Channel) -> Offer:
    """Make an offer; the list names a lesson's column by its id only, which is nothing that a viewer sees."""
    url = next(iter(channel.urls), "")
    family: Family = "picture_text" if url.startswith(("http://", "https://")) else "video"
    return Offer(item_id=channel.channel_id, title=channel.name, column="", family=family, url=url)
