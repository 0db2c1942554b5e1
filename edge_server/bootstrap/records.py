"""Puts the recording together: spool, clock, heartbeat, and the two ways home (line, USB stick)."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import structlog

from domain.records import HeartbeatRecord
from edge_server.config import EdgeConfig
from edge_server.records.key import load_key
from edge_server.records.recorder import Judge, Recorder
from edge_server.records.spool import Spool, SpoolState
from edge_server.store.judged import JudgedTime
from edge_server.uplink.push import Pusher
from edge_server.uplink.standing import Standing, StandingFile
from runtime.clock import Clock
from runtime.settings import ConfigError
from sync import Missing, SyncError
from sync.bundle.stick import Stick
from wire.records import RecordLineError, decode_held

SURE_WITHIN = timedelta(minutes=10)
"""A clock is believed while it is no farther from the latest time that was believed here."""
SURE_SINCE_CONTACT = timedelta(days=150)
FORGET_AHEAD_MAX = timedelta(days=60)
"""Nothing is removed as too old by a clock that runs further ahead of the last contact."""
STICK_RECORDS_MAX_BYTES = 64 * 1024 * 1024
HELD_MAX_BYTES = 4 * 1024 * 1024
FOLDER = "records"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a heartbeat says of the running edge."""

    snapshot: Callable[[], tuple[int, int]]
    """Number of the active snapshot, and how many items it has."""
    boxes: Callable[[], int]
    playing: Callable[[], int]


def judge_of(judged: JudgedTime, clock: Clock) -> Judge:
    """Make what tells the time of records: never before what was believed already (SEC-16)."""

    def judge() -> tuple[datetime, bool]:
        now, contact = judged.moments()
        near = now - clock.utc() <= SURE_WITHIN
        return now, near and contact.year > 1970 and now - contact <= SURE_SINCE_CONTACT

    return judge


def open_recorder(config: EdgeConfig, root: Path, judged: JudgedTime, clock: Clock) -> Recorder:
    """Open the spool of an edge folder. Blocking.

    Raises:
        edge_server.records.key.KeyDamaged: the message says what to do.
        OSError: the disk fails.
    """
    spool = Spool(root, config.edge_id, load_key(root), new_id=lambda: secrets.token_hex(8))
    return Recorder(spool, judge_of(judged, clock))


def home_of(config: EdgeConfig) -> str:
    """Return where records are delivered to; empty when they go by stick only.

    Raises:
        runtime.settings.ConfigError: a setting makes no sense.
    """
    base = config.records_to or (config.central if config.central.startswith(("http://", "https://")) else "")
    if base and not base.startswith(("http://", "https://")):
        raise ConfigError(f"records_to: {base!r}: write http://… or https://…, or nothing")
    if config.records_every_s < 0 or config.heartbeat_s < 0:
        raise ConfigError("records_every_s, heartbeat_s: write seconds, or 0 for never")
    return base if config.records_every_s else ""


def make_pusher(config: EdgeConfig, recorder: Recorder, clock: Clock) -> Pusher | None:
    """Make what delivers over the line.

    Raises:
        runtime.settings.ConfigError: a setting makes no sense.
    """
    base = home_of(config)
    if not base:
        return None
    pusher = Pusher(recorder.spool, base, clock, every_s=config.records_every_s)
    recorder.on_new = pusher.wake
    return pusher


class Heart:
    """A ``runtime.service.Service``: records a heartbeat now and every ``every_s`` seconds; forgets what is old."""

    def __init__(
        self, recorder: Recorder, judged: JudgedTime, root: Path, pulse: Pulse, clock: Clock, every_s: float
    ) -> None:
        """Nothing is recorded yet."""
        self._recorder, self._judged, self._root, self._pulse = recorder, judged, root, pulse
        self._clock, self._every_s = clock, every_s
        self._began_s = clock.monotonic()

    async def run(self, ready: Callable[[], None]) -> None:
        """Beat until cancelled."""
        ready()
        while True:
            try:
                await self._recorder.note(await self._beat())
                await asyncio.to_thread(self._recorder.spool.forget, self._latest())
            except OSError as error:
                log.error("no heartbeat recorded", why=str(error))
            await self._clock.sleep_until(self._clock.monotonic() + self._every_s)

    async def drain(self) -> None:
        """Nothing is in hand between two beats."""

    def _latest(self) -> datetime:
        now, contact = self._judged.moments()
        return min(now, contact + FORGET_AHEAD_MAX)

    async def _beat(self) -> HeartbeatRecord:
        snapshot, items = self._pulse.snapshot()
        standing, state, free_bytes = await asyncio.to_thread(self._look)
        return HeartbeatRecord(
            snapshot=snapshot,
            items=items,
            missing_bytes=sum(each.missing_bytes for each in standing.channels.values()),
            boxes=self._pulse.boxes(),
            playing=self._pulse.playing(),
            up_s=round(self._clock.monotonic() - self._began_s, 1),
            free_bytes=free_bytes,
            dropped=state.dropped,
            program=version("rural-media-edge"),
        )

    def _look(self) -> tuple[Standing, SpoolState, int]:
        standing = StandingFile(self._root).read()
        return standing, self._recorder.spool.state(), shutil.disk_usage(self._root).free


@dataclass(frozen=True, slots=True)
class Carried:
    """What a stick did for the records."""

    home: int
    """That the stick said are home."""
    taken: int
    """That were written onto it."""
    left: int
    """For which there was no room."""


def carry(recorder: Recorder, edge: str, stick: Path) -> Carried:
    """Read from the stick what is home, and write onto it what waits, as ``records/<edge>.rec``. Blocking.

    What a stick says is not signed: a lie makes records be shown as home which are not; `Spool.send_again` mends that.

    Raises:
        OSError, sync.SyncError: the stick cannot be written to; what it said is noted all the same.
    """
    disk, spool, home = Stick(stick), recorder.spool, 0
    try:
        told = decode_held(disk.read(f"{FOLDER}/{edge}.held.json", HELD_MAX_BYTES))
    except Missing:
        told = []
    except (RecordLineError, SyncError) as error:
        log.warning("the stick does not say what is home", why=str(error))
        told = []
    for each in told:
        home += spool.arrived(each)
    lines = spool.waiting(max_bytes=STICK_RECORDS_MAX_BYTES)
    name = f"{FOLDER}/{edge}.rec"
    if lines:
        disk.write(name, lines, sum(map(len, lines)))
    else:
        disk.remove(name)
    disk.settle()
    return Carried(home, len(lines), spool.state().waiting - len(lines))
