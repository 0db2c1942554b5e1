"""Makes the sources that an edge fetches from, as its configuration says: where, how fast, when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

from edge_server.config import EdgeConfig
from runtime.clock import Clock
from runtime.settings import ConfigError
from sync.pacing import Windows
from sync.road import OPEN, Gate, Received, Sink, Source
from sync.road.folder import FolderSource
from sync.road.http import HttpSource
from sync.road.mirrors import Mirrors
from sync.road.throttle import Throttle

OFFSET_MAX_H = 14.0


@dataclass(frozen=True)
class Line:
    """What an edge fetches through."""

    source: Mirrors
    windows: Windows
    zone: timezone
    gate: Gate


class _Split:
    """Small signed files are always fetched; what fills the line waits for its hours.

    A withdrawal must reach the edge by day, also when lessons may only come by night.
    """

    def __init__(self, small: Source, large: Source) -> None:
        self._small, self._large = small, large

    def __str__(self) -> str:
        return str(self._small)

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        return await self._small.fetch(name, limit_bytes=limit_bytes, received=received)

    async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
        await self._large.read(name, start, stop, sink, received=received)

    async def close(self) -> None:
        await self._small.close()
        await self._large.close()


def make_line(config: EdgeConfig, clock: Clock) -> Line:
    """Read the settings of the line.

    Raises:
        runtime.settings.ConfigError: one of them makes no sense; the message says what to write.
    """
    try:
        windows = Windows.parse(config.windows)
    except ValueError as error:
        raise ConfigError(f"windows: {error}") from error
    if not -OFFSET_MAX_H <= config.utc_offset_h <= OFFSET_MAX_H:
        raise ConfigError(f"utc_offset_h: {config.utc_offset_h} is not between -{OFFSET_MAX_H:g} and {OFFSET_MAX_H:g}")
    zone = timezone(timedelta(hours=config.utc_offset_h))
    gate = Throttle.by_windows(clock, windows, zone) if config.windows.strip() else OPEN
    addresses = [config.central, *(each.strip() for each in config.mirrors.split(",") if each.strip())]
    sources = [_source(address, gate) for address in addresses]
    return Line(Mirrors(sources, clock, edge_id=config.edge_id), windows, zone, gate)


def _source(address: str, gate: Gate) -> Source:
    what = f"central or mirrors: {address!r}: write http://… or https://…, or the path of a folder"
    if not address.strip():
        raise ConfigError("central: is empty; write http://… or https://…, or the path of a folder")
    if not address.startswith(("http://", "https://")):
        if "://" in address:
            raise ConfigError(what)
        return FolderSource(Path(address))
    try:
        if not urlsplit(address).hostname or urlsplit(address).port == 0:
            raise ValueError(f"{address!r} names no machine")
        if gate is OPEN:
            return HttpSource(address)
        return _Split(HttpSource(address), HttpSource(address, gate=gate))
    except ValueError as error:
        raise ConfigError(f"{what} ({error})") from error
