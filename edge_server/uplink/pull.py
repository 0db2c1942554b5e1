"""Look, verify, prepare, activate, collect: how new releases reach the boxes, each of them whole or not at all.

A channel is a column (or the list of columns) and the unit of atomicity: a course of gigabytes that is on its way never
holds up the correction of a page in another column. What a release withdraws is refused as soon as its signature was
verified, before any of its new files is here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Literal

import msgspec

from domain.courseware import INDEX_CHANNEL, column_channel
from edge_server.catalog import CatalogView, read_catalogue
from edge_server.packager import Shelf
from edge_server.store import ActiveSnapshot, Store
from edge_server.store.changes import Changes, changing
from edge_server.store.judged import JudgedTime
from edge_server.uplink.standing import ChannelStanding, Standing, StandingFile
from runtime.clock import Clock
from sync import Corrupt, NoChannel
from sync.listing import Listing, NamedFile
from sync.pull import Coming, Progress, Puller
from sync.pull.aside import OnOtherSticks
from sync.road.standing import Bulletin
from sync.store.threads import in_thread

SLICE_S = 300.0
"""A fetch is interrupted so often to look for news, so that a withdrawal never waits for gigabytes (REQ-CON-10)."""
Stage = Literal["fetch", "package"]
OnProgress = Callable[[Stage, float], None]
"""Called with the stage and how much of it is done, 0 to 1; from another thread while packaging."""


@dataclass(frozen=True)
class PullReport:
    """What one pull did."""

    changed: bool
    """True when anything changed for boxes."""
    seq: int
    """Of the edge's snapshot that is active now."""
    channels: Mapping[str, int]
    """The release of each channel that is active now."""
    bytes_moved: int
    """Bodies of all answers of the publisher."""
    requests: int
    packaged: int
    """How many renditions were packaged."""
    seconds: float
    freed_bytes: int = 0
    """Objects that no kept release names any more."""
    left_out: int = 0
    """Evictable lessons' files for which the quota has no room."""


def _ignore(_stage: Stage, _done: float) -> None:
    pass


@dataclass
class Uplink:
    """Everything a pull needs; made once for an edge folder."""

    store: Store
    puller: Puller
    shelf: Shelf
    judged: JudgedTime
    clock: Clock
    columns: frozenset[str] = frozenset()
    """Ids of the columns to hold; empty: all."""
    quota_bytes: int | None = None
    """For the objects of all channels together; None for no limit."""
    bulletin: Bulletin | None = None
    """Where neighbours read what is coming and what is held."""
    only: frozenset[str] | None = None
    """Channels to look at, if not all of them: a stick may not have, or not reach back to, the others."""
    slice_s: float = SLICE_S
    standing: StandingFile = field(init=False)

    def __post_init__(self) -> None:
        """Open the file that tells others how far a pull has come."""
        self.standing = StandingFile(self.store.root)

    async def pull(self, *, now: Callable[[], datetime], on_progress: OnProgress = _ignore) -> PullReport:
        """Bring every channel up to its newest release.

        What boxes see changes once for each channel, when every object of its release was verified and every rendition
        can be played. Whatever fails before leaves the active releases as they are, and what was fetched and packaged
        for the next attempt.

        Raises:
            SyncError: any of sync's failures, also Busy when another pull is running.
            MediaError: a rendition cannot be packaged.
            CatalogueError: the catalogue of a release cannot be read by this version.
        """
        with changing(self.store) as changes:
            run = _Run(self, changes, on_progress)
            try:
                report = await run.all(now)
            except Exception as error:
                await in_thread(run.note, f"{type(error).__name__}: {error}")
                raise
            finally:
                await self.puller.close()
            await in_thread(run.note, "")
            return report


class _Run:
    """One pull."""

    def __init__(self, uplink: Uplink, changes: Changes, on_progress: OnProgress) -> None:
        self._it, self._changes, self._on_progress = uplink, changes, on_progress
        self._began_s = uplink.clock.monotonic()
        self._moved, self._requests = uplink.puller.meter.body_bytes, uplink.puller.meter.requests
        self._standings: dict[str, ChannelStanding] = {}
        self._left_out: dict[str, int] = {}
        self._packaged = self._freed = 0
        self._columns_changed = False

    async def all(self, now: Callable[[], datetime]) -> PullReport:
        """Look, then fetch the channels one after the other, the smallest first; look again every slice."""
        try:
            before = self._it.store.active()
        except Corrupt:
            await in_thread(self._changes.repair)
            before = self._it.store.active()
        while not await self._round(now()):
            pass
        active = self._it.store.active()
        meter = self._it.puller.meter
        return PullReport(
            changed=(active.seq if active else 0) != (before.seq if before else 0),
            seq=active.seq if active else 0,
            channels={name: each.seq for name, each in active.releases.items()} if active else {},
            bytes_moved=meter.body_bytes - self._moved,
            requests=meter.requests - self._requests,
            packaged=self._packaged,
            seconds=self._it.clock.monotonic() - self._began_s,
            freed_bytes=self._freed,
            left_out=sum(self._left_out.values()),
        )

    async def _round(self, now: datetime) -> bool:
        """Look once, fetch for at most one slice; tell whether everything is up to date."""
        slice_ends_s = self._it.clock.monotonic() + self._it.slice_s
        coming = await self._look(now)
        if self._columns_changed:
            await in_thread(self._collect, coming)
            self._columns_changed = False
        elsewhere: list[OnOtherSticks] = []
        for each in sorted(coming, key=lambda one: one.missing_bytes):
            try:
                async with asyncio.timeout(max(0.0, slice_ends_s - self._it.clock.monotonic())) as limit:
                    await self._bring(each, coming)
            except TimeoutError:
                if not limit.expired():
                    raise
                return False
            except OnOtherSticks as rest:
                elsewhere.append(rest)  # the other channels may be on this stick
        await self._mend()
        if elsewhere:
            raise OnOtherSticks(
                sum(rest.missing_bytes for rest in elsewhere), frozenset().union(*(rest.packs for rest in elsewhere))
            )
        return True

    async def _mend(self) -> None:
        """Make again what somebody deleted from the derived files since, or what another version made."""
        if (active := self._it.store.active()) is not None:
            prepare = partial(self._it.shelf.prepare, CatalogView(active, lab=True), lambda _: None, active=True)
            self._packaged += await in_thread(prepare)

    async def _look(self, now: datetime) -> list[Coming]:
        """Refresh the signed metadata once for all known channels; withdraw at once what is withdrawn."""
        it = self._it
        known = await in_thread(self._known)
        if it.bulletin is not None and (active := it.store.active()) is not None:
            for release in active.releases.values():
                it.bulletin.is_held(release.channel, release.seq)
        look = await it.puller.look([each for each in (INDEX_CHANNEL, *known) if self._may_look(each)], now=now)
        await in_thread(it.judged.met, look.signed_at)
        seen = dict(look.seen)
        if self._may_look(INDEX_CHANNEL):
            if INDEX_CHANNEL not in seen:
                raise NoChannel(f"{it.puller} publishes no list of columns")
            index = await it.puller.prepare(seen.pop(INDEX_CHANNEL))
            if self._is_stale(index.listing):
                await self._bring(index, [index])
        wanted = await in_thread(self._wanted)
        if fresh := [channel for channel in wanted if channel not in known and self._may_look(channel)]:
            seen.update((await it.puller.look(fresh, now=now)).seen)
        await in_thread(self._changes.drop, [channel for channel in known if channel not in wanted])
        coming = []
        for channel in wanted:
            if channel in seen:
                one = await it.puller.prepare(seen[channel])
                if gone := await in_thread(self._gone, one.listing):
                    await in_thread(self._changes.withdraw, channel, gone)
                coming.append(one)
        for one in coming:
            self._stand(one, one.missing_bytes)
        await in_thread(self._it.standing.write, self._standing(""))
        return [one for one in coming if one.missing_bytes or self._is_stale(one.listing)]

    async def _bring(self, coming: Coming, others: Sequence[Coming]) -> None:
        """Fetch, package and activate one release."""
        it, channel = self._it, coming.listing.channel

        def progress(step: Progress) -> None:
            self._stand(coming, step.bytes_total - step.bytes_done)
            self._on_progress("fetch", step.bytes_done / step.bytes_total if step.bytes_total else 1.0)

        def make_room(_: Listing, left_out: Sequence[NamedFile]) -> None:
            self._collect(others)  # abandoned releases must not block
            for file in left_out:
                it.store.holding.remove(file.sha256)

        if it.bulletin is not None:
            it.bulletin.is_coming(channel, coming.listing.seq)
        try:
            pulled = await it.puller.fetch(
                coming, on_progress=progress, make_room=make_room, quota_bytes=self._quota(channel)
            )
        except BaseException:
            if it.bulletin is not None:
                it.bulletin.is_given_up(channel)
            raise
        if it.bulletin is not None:
            it.bulletin.is_held(channel, coming.listing.seq)
        absent = {
            file.path for file in coming.listing.files.values() if file.sha256 in {f.sha256 for f in pulled.left_out}
        }
        release = it.store.resolve(pulled.listing, frozenset(absent))
        active = it.store.active()
        stale = self._is_stale(pulled.listing)
        view = CatalogView(ActiveSnapshot(active.seq if active else 0, {release.channel: release}), lab=True)
        prepare = partial(it.shelf.prepare, view, lambda done: self._on_progress("package", done), active=not stale)
        self._packaged += await in_thread(prepare)
        if stale:
            await in_thread(self._changes.activate, pulled.listing, absent)
            if channel == INDEX_CHANNEL:
                self._columns_changed = True  # what its columns need is known when these were looked at, not before
            else:
                await in_thread(self._collect, [one for one in others if one is not coming])
        self._left_out[release.channel] = len(absent)
        self._stand(coming, 0)

    def _collect(self, coming: Sequence[Coming]) -> None:
        """Remove what is not needed; ``coming`` is all that is on its way in, as far as this pull knows."""
        partial_view = self._it.only is not None or [one.listing.channel for one in coming] == [INDEX_CHANNEL]
        self._freed += self._changes.collect([one.listing for one in coming], spare_unfinished=partial_view)

    def _may_look(self, channel: str) -> bool:
        return self._it.only is None or channel in self._it.only

    def _known(self) -> list[str]:
        return sorted(self._it.store.pointer().channels.keys() - {INDEX_CHANNEL})

    def _wanted(self) -> list[str]:
        """Return the channels of the columns that the active index lists and this edge is to hold."""
        active = self._it.store.active()
        index = active.releases.get(INDEX_CHANNEL) if active else None
        columns = read_catalogue(index).columns if index else ()
        chosen = self._it.columns
        return [column_channel(each.column_id) for each in columns if not chosen or each.column_id in chosen]

    def _gone(self, listing: Listing) -> list[str]:
        """Return the names that are offered now and that the coming release does not have any more."""
        active = self._it.store.active()
        release = active.releases.get(listing.channel) if active else None
        return [name for name in release.files if name not in listing.files] if release else []

    def _is_stale(self, listing: Listing) -> bool:
        active = self._it.store.active()
        release = active.releases.get(listing.channel) if active else None
        return release is None or release.seq != listing.seq

    def _quota(self, channel: str) -> int | None:
        """Return what the other channels leave of the quota."""
        if self._it.quota_bytes is None:
            return None
        active = self._it.store.active()
        others = {
            file.sha256: file.length_bytes
            for name, release in (active.releases.items() if active else ())
            if name != channel
            for file in release.files.values()
        }
        return max(0, self._it.quota_bytes - sum(others.values()))

    def _stand(self, coming: Coming, missing_bytes: int) -> None:
        listing = coming.listing
        active = self._it.store.active()
        release = active.releases.get(listing.channel) if active else None
        self._standings[listing.channel] = ChannelStanding(
            held_seq=release.seq if release else 0,
            coming_seq=listing.seq,
            missing_bytes=missing_bytes,
            total_bytes=coming.missing_bytes,
        )
        self._it.standing.write_sometimes(self._standing(""), self._it.clock.monotonic())

    def _standing(self, failure: str) -> Standing:
        before = self._it.standing.read()
        bps = self._it.puller.meter.speed.bps
        return Standing(
            channels=dict(self._standings) or before.channels,
            measured_bps=bps if bps is not None else before.measured_bps,
            at=self._it.clock.utc(),
            succeeded_at=before.succeeded_at,
            failure=failure,
        )

    def note(self, failure: str) -> None:
        """Write how the pull ended."""
        now = self._it.clock.utc()
        standing = self._standing(failure)
        self._it.standing.write(standing if failure else msgspec.structs.replace(standing, succeeded_at=now))
