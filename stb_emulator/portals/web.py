"""The portal of new boxes and PCs: one JSON catalogue at ``/api/v1/catalogue``."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import msgspec

from runtime.clock import Clock
from stb_emulator.boxes import Box
from stb_emulator.observe import Offer, PlayError, Stage
from stb_emulator.observe.line import Line
from stb_emulator.portals import OpenPortal

CATALOGUE = "/api/v1/catalogue"
HOPS = 3


class _Play(msgspec.Struct):
    """Addresses of a video lesson; a box reads only its own."""

    progressive: str = ""
    hls_fmp4: str = ""
    hls_ts: str = ""


class _Item(msgspec.Struct):
    """One lesson, as far as a box needs it; unknown keys are fine (the catalogue may grow)."""

    id: str
    title: str
    family: str
    duration_s: float | None = None
    play: _Play = msgspec.field(default_factory=_Play)
    page: str = ""


class _Column(msgspec.Struct):
    id: str
    title: str
    items: list[_Item]


class _Catalogue(msgspec.Struct):
    format: int
    columns: list[_Column]


class WebPortal:
    """No login; one GET."""

    def __init__(self, box: Box, url: str, line: Line, clock: Clock) -> None:
        """``url``: the address of the edge, e.g. ``http://127.0.0.1:8080``."""
        self.deviations: list[str] = []
        self._box, self._url, self._line, self._clock = box, url, line, clock

    async def login(self) -> None:
        """See Portal: new boxes need none yet."""

    async def browse(self) -> tuple[Offer, ...]:
        """See Portal."""
        reply = await self._line.ask("GET", urljoin(self._url, CATALOGUE), Stage.BROWSE, hops=HOPS)
        if reply.status != 200:
            raise PlayError(Stage.BROWSE, f"取目录失败：HTTP {reply.status}", f"HTTP {reply.status} for {CATALOGUE}")
        return parse_catalogue(reply.body, reply.url, self._box)

    async def resolve(self, offer: Offer) -> Offer:
        """See Portal."""
        if not offer.url:
            raise PlayError(
                Stage.BROWSE,
                "目录没有给出播放地址",
                f"the catalogue has no {self._box.player} address for {offer.item_id}",
            )
        return offer

    async def stay(self) -> None:
        """See Portal: HTTP needs no keep-alive."""

    async def logout(self) -> None:
        """See Portal."""


def parse_catalogue(body: bytes, base: str, box: Box) -> tuple[Offer, ...]:
    """Read the JSON catalogue with the eyes of one box.

    Raises:
        PlayError: not JSON, not UTF-8, another format, a missing key, or an id listed twice.
    """
    try:
        catalogue = msgspec.json.decode(body, type=_Catalogue)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PlayError(Stage.BROWSE, "目录无法解析", f"unreadable catalogue: {error}"[:200]) from error
    if catalogue.format != 1:
        raise PlayError(
            Stage.BROWSE, f"目录格式 {catalogue.format} 不认识", f"unknown catalogue format {catalogue.format}"
        )
    offers: list[Offer] = []
    for column in catalogue.columns:
        for item in column.items:
            path: Any = item.page if item.family == "picture_text" else getattr(item.play, box.player, "")
            offers.append(
                Offer(
                    item_id=item.id,
                    title=item.title,
                    column=column.title,
                    family="picture_text" if item.family == "picture_text" else "video",
                    url=urljoin(base, path) if path else "",
                    announced_s=item.duration_s if item.family != "picture_text" else None,
                )
            )
    ids = [o.item_id for o in offers]
    if len(set(ids)) != len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise PlayError(Stage.BROWSE, f"目录中 {twice} 重复", f"{twice} is listed twice")
    return tuple(offers)


PORTAL: OpenPortal = WebPortal
