"""The driver: shakes hands, lists, asks for links, and keeps the watchdog quiet."""

from __future__ import annotations

from typing import Any

import msgspec

from runtime.clock import Clock
from stb_emulator.boxes import Box
from stb_emulator.observe import Offer, PlayError, Stage
from stb_emulator.observe.line import Line
from stb_emulator.portals import Guide, Window
from stb_emulator.portals.stalker import words

PAGES_MAX_COUNT = 500
ITEMS_MAX_COUNT = 20_000
WATCHDOG_DEFAULT_S = 90
WATCHDOG_MAX_S = 900


class StalkerPortal:
    """See Portal."""

    def __init__(self, box: Box, url: str, line: Line, clock: Clock) -> None:
        """``url``: the address of the edge, or the portal's whole address as typed into a box."""
        assert box.stalker is not None and box.device is not None, "boxes are checked when they are loaded"
        self.deviations: list[str] = []
        self._box, self._face, self._device, self._line, self._clock = box, box.stalker, box.device, line, clock
        self._api = words.api_of(url, box.stalker.entry)
        self._token: str | None = None
        self._random = ""
        self._watchdog_s = WATCHDOG_DEFAULT_S

    async def login(self) -> None:
        """See Portal: handshake, profile, and a second step with the account when the portal asks for one."""
        self._token = None
        hello = await self._once("stb", "handshake", Stage.LOGIN, token="")
        token = words.texts(hello.get("token")) if isinstance(hello, dict) else ""
        if not token:
            raise PlayError(Stage.LOGIN, "握手没有给出令牌", "the handshake gave no token")
        self._token, self._random = token, words.texts(hello.get("random"))
        not_valid = words.texts(hello.get("not_valid")) or "0"
        profile = await self._profile(not_valid, second=False)
        if words.whole(profile.get("status")) == 2:
            account = self._box.account
            query = {"login": account.user, "password": account.password}
            if await self._once("stb", "do_auth", Stage.LOGIN, **query) is not True:
                raise PlayError(Stage.LOGIN, "账号或密码不对", "do_auth refused the account")
            profile = await self._profile(not_valid, second=True)
        status = words.whole(profile.get("status")) if "status" in profile else 0
        if status != 0:
            said = " ".join(filter(None, (words.texts(profile.get(key)) for key in ("msg", "block_msg"))))
            raise PlayError(Stage.LOGIN, f"平台拒绝了这台盒子：{said[:80]}", f"profile status {status}: {said[:80]}")
        every = words.whole(profile.get("timeslot")) or words.whole(profile.get("watchdog_timeout"))
        self._watchdog_s = min(every or WATCHDOG_DEFAULT_S, WATCHDOG_MAX_S)

    async def _profile(self, not_valid: str, *, second: bool) -> dict[str, Any]:
        steps = {"auth_second_step": "1" if second else "0", "not_valid_token": not_valid}
        profile = await self._once("stb", "get_profile", Stage.LOGIN, **self._face.profile, **steps)
        if not isinstance(profile, dict):
            raise PlayError(Stage.LOGIN, "没有给出盒子档案", "get_profile gave no profile")
        return profile

    async def browse(self) -> tuple[Offer, ...]:
        """See Portal: channels by genre, then the film library by category."""
        genres = words.names_of(await self._ask("itv", "get_genres"), "get_genres")
        if self._face.channels == "all":
            rows = words.rows_of(await self._ask("itv", "get_all_channels"), "get_all_channels")
        else:
            rows = await self._pages("itv", self._face.first_page, genre="*", fav="0", sortby="number")
        offers = [words.channel_of(row, genres, self._face)[0] for row in rows]
        if self._face.films:
            categories = words.names_of(await self._ask("vod", "get_categories"), "get_categories")
            for key, title in categories.items():
                films = await self._pages("vod", 1, category=key, fav="0", sortby="added", not_ended="0")
                # A portal without channels lists its lessons among them, too: one thing is one row.
                listed = {offer.item_id for offer in offers}
                found = [words.film_of(row, title, self._face) for row in films]
                offers += [each for each in found if each.item_id not in listed]
        return tuple(offers)

    async def _pages(self, kind: str, first: int, **query: str) -> list[dict[str, Any]]:
        """Read an ordered list to its last page."""
        rows: list[dict[str, Any]] = []
        page, until = first, first + 1
        while page < until:
            js = await self._ask(kind, "get_ordered_list", Stage.BROWSE, **query, p=str(page))
            found = words.rows_of(js, "get_ordered_list")
            count = words.pages_of(js, "get_ordered_list")
            until = first + count
            rows += found
            if count > PAGES_MAX_COUNT or len(rows) > ITEMS_MAX_COUNT:
                raise PlayError(Stage.BROWSE, "列表过长", f"get_ordered_list: {count} pages")
            if not found and page + 1 < until:
                raise PlayError(Stage.BROWSE, "列表中间有空页", f"page {page} of {count} is empty")
            page += 1
        return rows

    async def guide(self, window: Window) -> Guide:
        """See Guided: ``get_epg_info``, by channel id."""
        hours = -(-int((window.until - window.since).total_seconds()) // 3600)
        js = await self._ask("itv", "get_epg_info", period=str(hours))
        told = js.get("data") if isinstance(js, dict) else None
        names = {offer.item_id: offer.title for offer in await self.browse()}
        # No channels: an empty list in the place of the table.
        return words.guide_of(told or {}, names, window)

    async def resolve(self, offer: Offer) -> Offer:
        """See Portal: a link that may be temporary, made when it is wanted."""
        if not offer.lookup:
            return offer
        kind, _, cmd = offer.lookup.partition(" ")
        js = await self._ask(kind, "create_link", cmd=cmd, series="0", forced_storage="0", disable_ad="0")
        made = words.texts(js.get("cmd")) if isinstance(js, dict) else ""
        if not made:
            why = words.texts(js.get("error")) if isinstance(js, dict) else ""
            raise PlayError(Stage.BROWSE, f"没有给出播放地址 {why}", f"create_link gave no address: {why}"[:120])
        url = words.address_in(made, self._face)
        return msgspec.structs.replace(offer, url=url, family=words.family_of(url))

    async def stay(self) -> None:
        """See Portal: the watchdog."""
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + self._watchdog_s)
            query = {"init": "0", "cur_play_type": "1", "event_active_id": "0"}
            js = await self._ask("watchdog", "get_events", Stage.PLAY, **query)
            data = js.get("data") if isinstance(js, dict) else None
            if not isinstance(data, dict | list):
                self._deviate("watchdog-without-data")

    async def logout(self) -> None:
        """See Portal: a MAG box just goes off."""

    async def _ask(self, kind: str, action: str, stage: Stage = Stage.BROWSE, **query: str) -> Any:
        """Ask, and log in again when the portal has forgotten the token."""
        for attempt in range(self._face.tries):
            try:
                return await self._once(kind, action, stage, **query)
            except Forgotten:
                if attempt + 1 == self._face.tries:
                    raise
                if attempt:
                    await self._clock.sleep_until(self._clock.monotonic() + self._face.retry_s)
                await self.login()
        raise AssertionError("the loop returns or raises")

    async def _once(self, kind: str, action: str, stage: Stage, **query: str) -> Any:
        head = words.head_of(self._box, self._api, token=self._token, random=self._random)
        url = f"{self._api}?{words.query_of(self._face, kind, action, **query)}"
        reply = await self._line.ask("GET", url, stage, headers=head)
        if reply.status == 206:
            self._deviate("portal-answers-a-range")
        elif reply.status != 200:
            raise PlayError(stage, f"{action}：HTTP {reply.status}", f"HTTP {reply.status} to {kind} {action}")
        if words.is_refused(reply.body):
            raise Forgotten(stage, "平台不认识这台盒子", f"{action}: {reply.body[:60].decode('utf-8', 'replace')}")
        return words.js_of(reply.body, stage, action)

    def _deviate(self, kind: str) -> None:
        if kind not in self.deviations:
            self.deviations.append(kind)


class Forgotten(PlayError):
    """The portal does not know the token (any more)."""
