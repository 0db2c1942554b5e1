"""Carries out what the pages of a village ask for: keeps running sessions on the disk, and has everything recorded.

Whoever taps is answered when the record is on the disk, or told that it is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from domain.records import AnswerRecord, FaultRecord, NeedRecord, SessionRecord
from edge_server.records.recorder import Recorder
from edge_server.records.spool import Noted
from edge_server.sessions.study import Random, Studying, StudySessions, after_power_cut
from runtime.clock import Clock
from sync import SyncError
from sync.store.files import write_file

KEPT_NAME = "study.json"
KEPT_MAX_BYTES = 8 * 1024 * 1024
KEEP_EVERY_S = 20.0
"""What a power cut costs a running session at most."""
SHOWN_FOR = timedelta(days=90)
SHOWN_MAX_COUNT = 500
Need = Literal["lesson-wanted", "lesson-wrong", "visit-wanted"]
Delivered = Callable[[int], int]
"""Bytes that left for a viewing."""
log = structlog.get_logger()


class VillageDesk:
    """A ``runtime.service.Service``."""

    def __init__(
        self,
        root: Path,
        recorder: Recorder,
        clock: Clock,
        *,
        random: Random,
        delivered: Delivered,
        by_address: Callable[[str], int] = lambda remote: 0,
    ) -> None:
        """``random`` must not be foreseeable, ``by_address`` tells what left by RTSP; nothing is read yet."""
        self.sessions = StudySessions(random)
        self.recorder = recorder
        self._kept, self._clock, self._random, self._delivered = root / KEPT_NAME, clock, random, delivered
        self._by_address = by_address
        self._earlier: dict[str, tuple[int, int]] = {}
        """Of each session: bytes before the count of its viewing began anew, and that count at the last look."""
        self._writing = asyncio.Lock()

    async def run(self, ready: Callable[[], None]) -> None:
        """Record what a power cut ended, then keep what runs, and end what was forgotten, until cancelled."""
        await self._recover()
        ready()
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + KEEP_EVERY_S)
            await self.sweep()

    async def drain(self) -> None:
        """Keep what runs: it goes on after a restart only as a session that was cut."""
        await self._keep()

    async def sweep(self) -> None:
        """End what was forgotten, note what left for each session, and keep it."""
        now_s = self._clock.monotonic()
        for station in self.sessions.forgotten(now_s):
            with suppress(OSError):
                await self.end(station, cut=True)
        for each in self.sessions:
            if self._bytes(each) > each.delivered_bytes:
                self.look(each.station)
        await self._keep()

    async def begin(
        self, station: str, *, item_id: str, media_bps: int, plan: str, heads: int, remote: str
    ) -> Studying:
        """Begin a session.

        Raises:
            edge_server.sessions.study.StationsFull: too many are running.
            OSError: the one before could not be recorded; nothing was begun.
        """
        if self.sessions.at(station) is not None:
            await self.end(station)
        begun, _ = self.sessions.begin(
            station,
            item_id=item_id,
            media_bps=media_bps,
            now=self._clock.utc(),
            now_s=self._clock.monotonic(),
            plan=plan,
            heads=heads,
            remote=remote,
            by_address_bytes=self._by_address(remote),
        )
        await self._keep()
        return begun

    def look(self, station: str) -> Studying | None:
        """Return the session of a station as it stands; a number may be asked for from now on."""
        found = self.sessions.at(station)
        if found is None:
            return None
        return self.sessions.look(
            station, delivered_bytes=self._bytes(found), now=self._clock.utc(), now_s=self._clock.monotonic()
        )

    async def end(self, station: str, *, cut: bool = False) -> SessionRecord | None:
        """End the session of a station and record it; None when there is none.

        Raises:
            OSError: it could not be recorded; it goes on.
        """
        found = self.sessions.at(station)
        if found is None:
            return None
        if not cut:
            found = self.look(station) or found
        record = self.sessions.end(station, now=self._clock.utc(), now_s=self._clock.monotonic(), cut=cut)
        assert record is not None
        try:
            await self.recorder.note(record, station=station)
        except OSError:
            self.sessions.restore(found)
            raise
        self._earlier.pop(found.session, None)
        await self._keep()
        return record

    async def answer(self, station: str, questionnaire: str, version: int, given: dict[str, str], way: str) -> None:
        """Record a filled questionnaire.

        Raises:
            OSError: it is not recorded.
        """
        record = AnswerRecord(
            answer=self._id(),
            questionnaire=questionnaire,
            version=version,
            given=given,
            way="box" if way == "box" else "phone" if way == "phone" else "web",
        )
        await self.recorder.note(record, station=station)

    async def fault(
        self,
        station: str,
        what: str,
        *,
        item_id: str = "",
        words: str = "",
        code: str = "",
        source: Literal["person", "page"] = "person",
    ) -> str:
        """Record a fault that somebody reported, or a page saw; return its id.

        Raises:
            OSError: it is not recorded.
        """
        now = self._clock.utc().strftime("%Y-%m-%dT%H:%M:%SZ")
        fault = FaultRecord(
            fault=self._id(),
            what=what,
            began_at=now,
            source=source,
            item_id=item_id,
            words=words[:500],
            health_code=code,
        )
        await self.recorder.note(fault, station=station)
        return fault.fault

    async def need(self, station: str, about: Need, *, item_id: str = "", words: str = "") -> None:
        """Record that a lesson is wanted, or wrong.

        Raises:
            OSError: it is not recorded.
        """
        record = NeedRecord(need=self._id(), about=about, item_id=item_id, words=words[:500])
        await self.recorder.note(record, station=station)

    async def shown(self, station: str) -> list[Noted]:
        """Return sessions and faults of a station of the last 90 days, newest first.

        Raises:
            OSError: the disk fails.
        """
        since = self._clock.utc() - SHOWN_FOR
        return await asyncio.to_thread(
            self.recorder.spool.shown, ["session", "fault"], since=since, station=station, max_count=SHOWN_MAX_COUNT
        )

    def _id(self) -> str:
        return f"{self._random(1 << 64):016x}"

    def _bytes(self, found: Studying) -> int:
        """Return what left for a session in all: a count of the table of viewings may begin anew after a silence."""
        before, last = self._earlier.get(found.session, (0, 0))
        count = self._delivered(found.viewing)
        if count < last:
            before += last
        self._earlier[found.session] = before, count
        return before + count + max(0, self._by_address(found.remote) - found.by_address_bytes)

    async def _keep(self) -> None:
        if not self.sessions.changed:
            return
        self.sessions.changed = False
        raw = msgspec.json.encode({"boot_s": self._clock.monotonic(), "running": list(self.sessions)})
        async with self._writing:
            try:
                await asyncio.to_thread(write_file, self._kept, raw, mode=0o600)
            except (SyncError, OSError) as error:
                self.sessions.changed = True
                log.warning("running study sessions are not on the disk", why=str(error))

    async def _recover(self) -> None:
        kept = await asyncio.to_thread(read_kept, self._kept)
        for each in kept:
            if await self._is_recorded(each):
                continue
            try:
                await self.recorder.note(after_power_cut(each), station=each.station)
            except OSError as error:
                log.error("a session that was cut is not recorded; the next start tries again", why=str(error))
                return
        if kept:
            log.info("study sessions ended by a restart", count=len(kept))
            with suppress(OSError):
                await asyncio.to_thread(self._kept.unlink, missing_ok=True)

    async def _is_recorded(self, kept: Studying) -> bool:
        """Whether the power failed between the record of a session and the note that it runs no more."""
        found = await self.shown(kept.station)
        return any(isinstance(each.body, SessionRecord) and each.body.session == kept.session for each in found)


class _Kept(msgspec.Struct, frozen=True):
    running: list[Studying]


def read_kept(path: Path) -> list[Studying]:
    """Read what was running; a file that is damaged counts as nothing. Blocking."""
    try:
        with path.open("rb") as file:
            raw = file.read(KEPT_MAX_BYTES + 1)
        return msgspec.json.decode(raw, type=_Kept).running
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("running study sessions cannot be read", why=str(error))
        return []


def day_of(moment: datetime, utc_offset: timedelta) -> str:
    """Return the day of a moment where the villages are, ISO 8601."""
    return (moment.astimezone(UTC) + utc_offset).date().isoformat()
