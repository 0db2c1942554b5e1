"""Takes in a USB stick: read it whole, refuse it whole, or pull from it like from a line; leave a receipt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from domain.courseware import INDEX_CHANNEL, column_channel
from edge_server.bootstrap.records import Carried, carry
from edge_server.records.key import KeyDamaged
from edge_server.uplink.pull import PullReport, Stage
from sync import Corrupt, SyncError
from sync.bundle.inspect import Inspected, inspect
from sync.bundle.receipt import Imported, make_receipt, write_receipt
from sync.bundle.source import StickSource
from sync.pull.aside import OnOtherSticks
from sync.road.retrying import RetryPolicy

if TYPE_CHECKING:
    from edge_server.bootstrap.edge import Edge

ONCE = RetryPolicy(attempts=1)
OnProgress = Callable[[float], None]


@dataclass(frozen=True)
class StickReport:
    """What came of one stick."""

    bundle: str
    part: int
    parts: int
    changed: bool
    """Whether boxes see something new."""
    channels: dict[str, int]
    """The release of each channel that is active now."""
    bytes_read: int
    missing_bytes: int
    """That lie on other sticks of the set; 0 when the set is complete."""
    next_parts: tuple[int, ...]
    """Sticks that have them."""
    warning: str
    """Why no receipt or no records were left on it; empty when all is well."""
    records_home: int = 0
    """Records that the stick said have arrived at the centre."""
    records_taken: int = 0
    """Records that were written onto it."""


async def import_stick(edge: Edge, stick: Path, on_progress: OnProgress) -> StickReport:
    """Take in one stick.

    Raises:
        sync.bundle.words.StickRefused: the stick is no good; nothing was changed.
        sync.SyncError: see ``sync.bundle.words.words_for``; what boxes see is as it was.
        media.MediaError: a rendition cannot be packaged.
    """
    active = edge.store.active()
    held = {name: each.seq for name, each in active.releases.items()} if active else {}
    whole = await asyncio.to_thread(_whole, edge)
    chosen = edge.columns
    channels = [INDEX_CHANNEL, *(column_channel(each) for each in chosen)] if chosen else None

    def read(done: int, total: int) -> None:
        on_progress(0.5 * done / total if total else 0.5)

    found = await asyncio.to_thread(
        inspect, stick, area=edge.config.area, held=whole, on_progress=read, channels=channels
    )

    def step(stage: Stage, done: float) -> None:
        on_progress(0.5 + done / 4 if stage == "fetch" else 0.75 + done / 4)

    source = StickSource(stick, edge.trust_dir)
    uplink = edge.uplink(source, road="bundle", lacking=found.lacking, retry=ONCE)
    uplink.only = frozenset(news.channel for news in found.news)
    report: PullReport | None = None
    rest = OnOtherSticks(0, ())
    try:
        report = await uplink.pull(now=edge.clock.utc, on_progress=step)
    except OnOtherSticks as error:
        rest = error
    active = edge.store.active()
    now_held = {name: each.seq for name, each in active.releases.items()} if active else {}
    bytes_read = report.bytes_moved if report else uplink.puller.meter.body_bytes
    receipt = await asyncio.to_thread(_leave_receipt, edge, stick, found, now_held, rest.missing_bytes, bytes_read)
    carried, failure = await asyncio.to_thread(_carry, edge, stick)
    return StickReport(
        bundle=found.bundle,
        part=found.part,
        parts=found.parts,
        changed=now_held != held,
        channels=now_held,
        bytes_read=bytes_read,
        missing_bytes=rest.missing_bytes,
        next_parts=found.sticks_with(rest.packs),
        warning="\n".join(filter(None, (receipt, failure))),
        records_home=carried.home,
        records_taken=carried.taken,
    )


def _whole(edge: Edge) -> dict[str, int]:
    """Return the releases of which every object is here; a stick may mend the others."""
    active = edge.store.active()
    return {
        name: release.seq
        for name, release in (active.releases.items() if active else ())
        if all(edge.store.holding.has(each.sha256) for each in release.files.values())
    }


def _carry(edge: Edge, stick: Path) -> tuple[Carried, str]:
    """Let the stick take the records home; what comes of it never undoes an import."""
    try:
        return carry(edge.recorder, edge.config.edge_id, stick), ""
    except (KeyDamaged, OSError, SyncError) as error:
        return Carried(0, 0, 0), f"导入不受影响，但记录没有写到U盘上 / no records were written onto the disk: {error}"


def _leave_receipt(
    edge: Edge, stick: Path, found: Inspected, held: dict[str, int], missing_bytes: int, bytes_read: int
) -> str:
    imported = Imported(
        bundle=found.bundle,
        part=found.part,
        parts=found.parts,
        channels={news.channel: news.seq for news in found.news},
        bytes=bytes_read,
    )
    try:
        receipt = make_receipt(
            edge.config.edge_id,
            edge.clock.utc(),
            held,
            missing_bytes=missing_bytes,
            imported=imported,
            program=version("rural-media-edge"),
        )
    except Corrupt as error:
        return f"没有写回执，请改 edge_id / no receipt was written; change edge_id: {error}"
    return write_receipt(stick, receipt) or ""
