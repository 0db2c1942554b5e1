"""Xtream portals, as apps speak to them (stb_protocols §6.2): ``player_api.php``; addresses hold account and id."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from runtime.clock import Clock
from stb_emulator.boxes import Box
from stb_emulator.observe import Family, Offer, PlayError, Stage
from stb_emulator.observe.line import Line
from stb_emulator.portals import STARTS_MAX_COUNT, Guide, OpenPortal, Window

HOPS = 3
KINDS = {"live": ("get_live_categories", "get_live_streams"), "vod": ("get_vod_categories", "get_vod_streams")}


class XtreamPortal:
    """See Portal."""

    def __init__(self, box: Box, url: str, line: Line, clock: Clock) -> None:
        """``url``: the address of the edge."""
        assert box.xtream is not None, "boxes are checked when they are loaded"
        self.deviations: list[str] = []
        self._face, self._account, self._line = box.xtream, box.account, line
        parts = urlsplit(url)
        self._base = self._media = f"{parts.scheme}://{parts.netloc}"

    async def login(self) -> None:
        """See Portal."""
        answer = await self._ask(Stage.LOGIN)
        user, server = (answer.get(key) if isinstance(answer, dict) else None for key in ("user_info", "server_info"))
        if not isinstance(user, dict) or not isinstance(server, dict):
            raise PlayError(Stage.LOGIN, "登录应答不完整", "no user_info or server_info in the answer")
        if text_of(user.get("auth")) != "1":
            raise PlayError(Stage.LOGIN, "账号或密码不对", "the account is refused (auth is not 1)")
        if text_of(user.get("status")) not in ("Active", "Trial"):
            raise PlayError(Stage.LOGIN, "账号已停用", f"account status {user.get('status')!r}"[:80])
        if self._face.media_base == "server_info":
            host, port = text_of(server.get("url")), text_of(server.get("port"))
            self._media = f"{text_of(server.get('server_protocol')) or 'http'}://{host}{port and ':' + port}"

    async def browse(self) -> tuple[Offer, ...]:
        """See Portal."""
        offers: list[Offer] = []
        for kind in self._face.shows:
            categories, streams = KINDS[kind]
            titles = {
                text_of(each.get("category_id")): text_of(each.get("category_name"))
                for each in records(await self._ask(Stage.BROWSE, action=categories), categories)
            }
            if self._face.by_category:
                rows = [
                    row
                    for key in titles
                    for row in records(await self._ask(Stage.BROWSE, action=streams, category_id=key), streams)
                ]
            else:
                rows = records(await self._ask(Stage.BROWSE, action=streams), streams)
            offers += [self._offer(row, kind, titles) for row in rows]
        return tuple(offers)

    def _offer(self, row: dict[str, Any], kind: str, titles: dict[str, str]) -> Offer:
        """Read a stream.

        Raises:
            PlayError: what an address is made of is not there.
        """
        stream_id, name, category = (text_of(row.get(key)) for key in ("stream_id", "name", "category_id"))
        ending = self._face.live_output if kind == "live" else text_of(row.get("container_extension"))
        if not stream_id.isdecimal() or not name or not ending:
            raise PlayError(Stage.BROWSE, "节目记录不完整", f"{kind} stream {stream_id!r}: no id, name or ending")
        if category and category not in titles:
            raise PlayError(Stage.BROWSE, "节目不属于任何分类", f"stream {stream_id}: category {category!r} unknown")
        user, word = (quote(each, safe="") for each in (self._account.user, self._account.password))
        folder = "live" if kind == "live" else "movie"
        family: Family = "picture_text" if ending in ("html", "htm") else "video"
        return Offer(
            item_id=stream_id,
            title=name,
            column=titles.get(category, ""),
            family=family,
            url=f"{self._media}/{folder}/{user}/{word}/{stream_id}.{ending}",
            announced_unit_s=1.0,
            live=kind == "live",
        )

    async def guide(self, window: Window) -> Guide:
        """See Guided: ``get_short_epg`` of each channel; it begins with what is on."""
        found: Guide = {}
        for offer in (each for each in await self.browse() if each.live):
            query = {"stream_id": offer.item_id, "limit": str(STARTS_MAX_COUNT + 1)}
            answer = await self._ask(Stage.BROWSE, action="get_short_epg", **query)
            rows = records(answer.get("epg_listings") if isinstance(answer, dict) else None, "get_short_epg")
            stamps = [text_of(row.get("start_timestamp")) for row in rows]
            if not all(re.fullmatch("[0-9]{1,12}", each) for each in stamps):
                raise PlayError(Stage.BROWSE, "节目单的时间有误", "a programme without start_timestamp")
            found[offer.title] = window.starts(datetime.fromtimestamp(int(each), UTC) for each in stamps)
        return found

    async def resolve(self, offer: Offer) -> Offer:
        """See Portal: the address is known; how long a film is, an app asks before it is played."""
        if offer.live or not self._face.asks_info:
            return offer
        answer = await self._ask(Stage.BROWSE, action="get_vod_info", vod_id=offer.item_id)
        info = answer.get("info") if isinstance(answer, dict) else None
        lasts = text_of(info.get("duration_secs")) if isinstance(info, dict) else ""
        return (
            msgspec.structs.replace(offer, announced_s=float(lasts)) if lasts.isdecimal() and len(lasts) < 20 else offer
        )

    async def stay(self) -> None:
        """See Portal: HTTP needs no keep-alive."""

    async def logout(self) -> None:
        """See Portal."""

    async def _ask(self, stage: Stage, **query: str) -> Any:
        words = urlencode({"username": self._account.user, "password": self._account.password, **query})
        what = query.get("action", "login")
        reply = await self._line.ask("GET", f"{self._base}/player_api.php?{words}", stage, hops=HOPS)
        if reply.status != 200:
            raise PlayError(stage, f"{what}：HTTP {reply.status}", f"HTTP {reply.status} to {what}")
        try:
            return msgspec.json.decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PlayError(stage, f"{what} 的应答无法解析", f"unreadable answer to {what}: {error}"[:160]) from error


def text_of(value: Any) -> str:
    """Read an id, which comes as number or text."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def records(value: Any, action: str) -> list[dict[str, Any]]:
    """Read a list of records.

    Raises:
        PlayError: it is none.
    """
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise PlayError(Stage.BROWSE, f"{action} 没有给出列表", f"{action}: no list of records")
    return value


PORTAL: OpenPortal = XtreamPortal
