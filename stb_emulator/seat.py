"""One box in front of one television: portal, player, decoder and judge put together for one lesson."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from importlib import import_module
from urllib.parse import urlsplit

from runtime.clock import Clock
from stb_emulator.boxes import Box
from stb_emulator.observe import Observation, Offer, PlayError, Stage
from stb_emulator.observe.decoder import Decoder
from stb_emulator.observe.judge import Run, absent, judge
from stb_emulator.observe.keys import Press
from stb_emulator.observe.line import Guard, Line
from stb_emulator.observe.pipe import PipeClosed
from stb_emulator.observe.timeline import BufferModel
from stb_emulator.players import Player, Playing
from stb_emulator.portals import OpenPortal, Portal

DECODE_TAIL_S = 120.0
"""Longest wait for the decoder after the last byte; only a hanging decoder needs it."""
DECODER_PATIENCE_S = 120.0
"""How long the decoder waits for bytes: a safety net, since every player bounds its own waits and retries."""
LESSON_MAX_S = 4 * 3600.0
LOGOUT_MAX_S = 5.0
PLAYER_MODULES = {"hls_fmp4": "hls", "hls_ts": "hls"}
"""Where a way of playing has another module than its name says."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Settings shared by all boxes of one run."""

    portal_url: str
    clock: Clock
    allowed: Collection[str] = ()
    connect_s: float = 5.0
    silence_s: float = 10.0
    seconds: float | None = None
    """How much of a lesson to play, after the last key; None is all of it."""
    presses: tuple[Press, ...] = ()
    """Keys to press while a lesson plays."""
    to_the_end: bool = False
    """Whether the server must announce the end of the lesson."""
    max_stall_ms: int | None = None
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        """Build the guard once."""
        object.__setattr__(self, "guard", Guard(self.allowed))

    def line(self, box: Box) -> Line:
        """Open a new line for one box."""
        return Line(self.guard, box.user_agent, connect_s=self.connect_s, silence_s=self.silence_s)

    async def list(self, box: Box) -> tuple[Offer, ...]:
        """Log in, browse, log out.

        Raises:
            PlayError: at stage login or browse.
        """
        async with self.line(box) as line:
            portal = portal_of(box, self.portal_url, line, self.clock)
            await portal.login()
            try:
                return await portal.browse()
            finally:
                await self._leave(portal)

    async def watch(self, box: Box, item_id: str | None, title: str = "") -> Observation:
        """Switch on, log in, find the lesson (the first one when None), play it, log out."""
        started_at = self.clock.monotonic()
        try:
            async with self.line(box) as line:
                portal = portal_of(box, self.portal_url, line, self.clock)
                await portal.login()
                try:
                    offer = await portal.resolve(pick(await portal.browse(), item_id))
                    return await self._play(box, offer, portal, line, started_at)
                finally:
                    await self._leave(portal)
        except PlayError as failure:
            return absent(box, item_id or "", title, failure)

    async def play_url(self, box: Box, offer: Offer) -> Observation:
        """Play one address without any portal (for servers that have none)."""
        async with self.line(box) as line:
            return await self._play(box, offer, None, line, self.clock.monotonic())

    async def _play(self, box: Box, offer: Offer, portal: Portal | None, line: Line, started_at: float) -> Observation:
        run = Run(box, offer, started_at, self.seconds, self.max_stall_ms, self.presses, self.to_the_end)
        decoder = Decoder(
            want_s=self.seconds,
            buffer=lambda: BufferModel(box.buffer.start_s, box.buffer.restart_s),
            silence_s=DECODER_PATIENCE_S,
            now=self.clock.monotonic,
            keys=len(self.presses),
        )
        failure: PlayError | None = None
        try:
            async with asyncio.timeout(LESSON_MAX_S):
                failure = await self._beside(
                    portal, player_of(box, offer), Playing(box, offer, line, decoder, self.clock, self.presses)
                )
            async with asyncio.timeout(DECODE_TAIL_S):
                await decoder.finish()
        except TimeoutError:
            failure = failure or PlayError(Stage.DECODE, "解码器没有结束", "the decoder did not come to an end")
        finally:
            await decoder.stop()
        decoder.tally.redirects += line.redirects
        for kind in portal.deviations if portal is not None else ():
            decoder.tally.deviate(kind)
        return judge(run, decoder.tally, failure)

    async def _beside(self, portal: Portal | None, player: Player, playing: Playing) -> PlayError | None:
        """Play with the portal's keep-alive beside; return what stopped the lesson, if anything did."""

        async def stay() -> None:
            assert portal is not None
            try:
                await portal.stay()
            except PlayError as failure:
                failures.append(failure)
                play.cancel()

        async def run() -> None:
            try:
                await player.play(playing)
            except PipeClosed:
                pass
            except PlayError as failure:
                failures.append(failure)

        failures: list[PlayError] = []
        async with asyncio.TaskGroup() as group:
            play = group.create_task(run())
            keep = group.create_task(stay()) if portal is not None else None
            await asyncio.wait({play})
            if keep is not None:
                keep.cancel()
        return failures[0] if failures else None

    async def _leave(self, portal: Portal) -> None:
        try:
            async with asyncio.timeout(LOGOUT_MAX_S):
                await portal.logout()
        except (PlayError, TimeoutError):
            pass


def pick(offers: tuple[Offer, ...], item_id: str | None) -> Offer:
    """Find a lesson in a box's list.

    Raises:
        PlayError: at stage browse, when it is not there.
    """
    if item_id is None and offers:
        return offers[0]
    for offer in offers:
        if offer.item_id == item_id:
            return offer
    raise PlayError(Stage.BROWSE, "列表中没有这一课", "not listed")


def portal_of(box: Box, url: str, line: Line, clock: Clock) -> Portal:
    """Build the portal client of a box: its family's module has a constant ``PORTAL``. Loaded when it is needed."""
    family = import_module(f"stb_emulator.portals.{box.portal}")
    open_portal: OpenPortal = family.PORTAL
    return open_portal(box, url, line, clock)


def player_of(box: Box, offer: Offer) -> Player:
    """Choose the player for an address as the box does: a page is a page, the rest is the box's own way."""
    way = way_of(offer.url) if box.player == "any" else box.player
    name = "page" if offer.family == "picture_text" else PLAYER_MODULES.get(way, way)
    player: Player = import_module(f"stb_emulator.players.{name}").PLAYER
    return player


def way_of(url: str) -> str:
    """Say how an app plays an address that it is given: by its ending."""
    path = urlsplit(url).path.lower()
    if url.startswith("rtsp:"):
        return "rtsp"
    if url.startswith(("igmp:", "rtp:", "udp:")):
        return "multicast"
    if path.endswith((".m3u8", ".m3u")):
        return "hls"
    return "progressive" if path.endswith((".mp4", ".m4v")) else "http_ts"
