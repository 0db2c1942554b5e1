"""The driver: sends what the pure parts ask for, and keeps the login alive."""

from __future__ import annotations

import secrets
from dataclasses import replace
from urllib.parse import quote, urlencode

from runtime.clock import Clock
from stb_emulator.boxes import Box
from stb_emulator.boxes.proof import RANDOM_BELOW
from stb_emulator.observe import Offer, PlayError, Stage
from stb_emulator.observe.line import Line, Reply
from stb_emulator.portals import Guide, Window
from stb_emulator.portals.huawei import guide
from stb_emulator.portals.huawei.login import Ask, Login, Session
from wire.ctc import CtcError, parse_heartbeat

OWN_IP = "127.0.0.1"
TEMPLATE = "/EPG/jsp/gdhdpublic/Ver.3/common/data.jsp"
HEARTBEAT_FAILURES = 3
"""A box gives up after so many heartbeats without an answer (stb_protocols §2.5)."""
ITEMS_MAX_COUNT = 20_000


class HuaweiPortal:
    """See Portal."""

    def __init__(self, box: Box, url: str, line: Line, clock: Clock) -> None:
        """``url``: the address of the edge, or a whole AuthenticationURL."""
        assert box.huawei is not None, "boxes are checked when they are loaded"
        self.deviations: list[str] = []
        self._box, self._face, self._url, self._line, self._clock = box, box.huawei, url, line, clock
        self._session: Session | None = None
        self._interval_s = 0

    async def login(self) -> None:
        """See Portal; the first heartbeat follows at once."""
        login = Login(
            box=self._box,
            portal_url=self._url,
            random=secrets.randbelow(RANDOM_BELOW),
            ip=OWN_IP,
            deviations=self.deviations,
        )
        step: Ask | Session = login.start()
        while isinstance(step, Ask):
            step = login.reply(await self._line.ask(step.method, step.url, Stage.LOGIN, form=step.form))
        self._session = step
        await self._beat(Stage.LOGIN)

    async def browse(self) -> tuple[Offer, ...]:
        """See Portal."""
        if self._face.browse == "channels":
            groups = self._box.multicast is not None
            return guide.channels(await self.channel_page(), self._face, self.deviations, groups=groups)
        offers: list[Offer] = []
        for column_id, column in guide.columns(await self._template("columnList")):
            for item_id, name in guide.episodes(await self._template("seriesInfoById", seriseId=column_id)):
                offers.append(guide.offer_of(item_id, name, column, "", lookup=item_id))
                if len(offers) > ITEMS_MAX_COUNT:
                    raise PlayError(Stage.BROWSE, "列表过长", f"more than {ITEMS_MAX_COUNT} lessons")
        return tuple(offers)

    async def channel_page(self) -> str:
        """Return the page of the channel list.

        Raises:
            PlayError: at stage browse.
        """
        session = self._require()
        url = f"{session.epg}/EPG/jsp/getchannellistHW{self._face.operator}.jsp"
        form = guide.channel_form(self._box, session)
        return self._text(await self._line.ask("POST", url, Stage.BROWSE, form=form))

    async def programmes(self, channel_id: str, day: str) -> list[guide.Shown]:
        """Return what a channel shows on a local day, ``20261124``.

        Raises:
            PlayError: at stage browse.
        """
        return guide.programmes(await self._template("channelProgramList", channelId=channel_id, date=day))

    async def guide(self, window: Window) -> Guide:
        """See Guided: the template's list of each channel and day; times are local."""
        found: Guide = {}
        for channel in guide.broadcasts(await self.channel_page(), self._face):
            shown = [each for day in window.days() for each in await self.programmes(channel.channel_id, day)]
            found[channel.name] = window.starts(guide.begin_of(each, window.zone) for each in shown)
        return found

    async def resolve(self, offer: Offer) -> Offer:
        """See Portal."""
        if not offer.url and offer.lookup:
            url = guide.media_url(await self._template("vodInfoById", vodId=offer.lookup))
            return guide.offer_of(offer.item_id, offer.title, offer.column, url)
        if not offer.url:
            raise PlayError(Stage.BROWSE, "没有播放地址", "no address to play in the channel record")
        return offer

    async def stay(self) -> None:
        """See Portal: one heartbeat each interval."""
        failures = 0
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + self._interval_s)
            try:
                await self._beat(Stage.PLAY)
                failures = 0
            except LoginEnded:
                raise
            except PlayError:
                failures += 1
                if failures >= HEARTBEAT_FAILURES:
                    raise

    async def logout(self) -> None:
        """See Portal."""
        if self._session is not None:
            user = quote(self._box.account.user, safe="@")
            url = f"{self._session.epg}/EPG/jsp/AuthenticationURL?UserID={user}&Action=Logout"
            await self._line.ask("GET", url, Stage.LOGIN)

    async def _beat(self, stage: Stage) -> None:
        session, device = self._require(), self._box.device
        assert device is not None, "boxes are checked when they are loaded"
        query = urlencode(
            {
                "UserStatus": "1",
                "ChannelVer": session.channel_version,
                "STBID": device.stb_id,
                "STBType": device.stb_type,
                "Version": device.stb_version,
            }
        )
        reply = await self._line.ask("GET", f"{session.epg}/EPG/jsp/{self._face.heartbeat}?{query}", stage)
        try:
            beat = parse_heartbeat(reply.body.decode("utf-8", "replace"))
        except CtcError as error:
            raise PlayError(stage, "心跳应答有误", f"heartbeat (HTTP {reply.status}): {error}") from error
        self.deviations += [d.code for d in beat.deviations if d.code not in self.deviations]
        if not beat.user_valid:
            raise LoginEnded(stage, "平台结束了登录", "the portal ended the login (UserValid=false)")
        self._interval_s = min(beat.next_call_interval_s, self._face.heartbeat_max_s)
        self._session = replace(session, channel_version=beat.channel_ver or session.channel_version)

    async def _template(self, action: str, **query: str) -> str:
        session = self._require()
        url = f"{session.epg}{TEMPLATE}?{urlencode({'Action': action, **query})}"
        return self._text(await self._line.ask("GET", url, Stage.BROWSE))

    def _text(self, reply: Reply) -> str:
        return guide.page_text(reply, self._face.charset, self.deviations)

    def _require(self) -> Session:
        assert self._session is not None, "log in first"
        return self._session


class LoginEnded(PlayError):
    """The portal no longer knows the box."""
