"""Bringing one channel up to date; believes only what is signed, or hashed by what is signed.

The chain: anchor → root → timestamp → snapshot → bin → head → release object → listing → recipe → unit, and the whole
object once more before it becomes visible. Every fetch is bounded by a signed length.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from tuf.ngclient import TargetFile

from runtime.clock import Clock, SystemClock
from sync import NoChannel, NoSpace, Untrusted
from sync.head import Head, decode_head, head_path
from sync.holding import Holding
from sync.listing import Listing, NamedFile
from sync.pull.aside import Lacking
from sync.pull.begun import Begun
from sync.pull.documents import Astray, Documents, Judged
from sync.pull.guide import Guide
from sync.pull.memory import keep_listing, kept_listing
from sync.pull.run import Run
from sync.pull.tasks import together
from sync.pull.watch import NoWatch, Watch
from sync.release import Release
from sync.road import Source
from sync.road.metered import Meter, Metered
from sync.road.retrying import Retrying, RetryPolicy
from sync.store.threads import in_thread
from sync.trust import Road
from sync.trust.contact import signed_at
from sync.trust.memory import ChannelMemory, keep_anchor
from sync.trust.refresh import trusted_targets
from sync.want import choose

SPARE_BYTES = 32 * 1024 * 1024
"""Left free on the disk whatever is fetched: metadata, listings and the pointer must always fit."""


@dataclass(frozen=True)
class Progress:
    """How far a pull has come."""

    objects_done: int
    objects_total: int
    bytes_done: int
    """Of objects: verified and kept, those kept by an earlier attempt or copied from others included."""
    bytes_total: int


@dataclass(frozen=True)
class Pulled:
    """The outcome of a pull: every object of the listing but those left out is held, and was verified when it came."""

    listing: Listing
    left_out: tuple[NamedFile, ...]
    """Evictable objects that do not fit the quota; some may be held all the same until somebody evicts them."""
    changed: bool
    """False when nothing but freshness metadata moved: same head, no object missing."""
    bytes_moved: int
    """Bodies of all answers; headers are not counted."""
    requests: int
    damaged: tuple[str, ...]
    """Held objects that turned out not to have the bytes that they should have."""


@dataclass(frozen=True)
class Seen:
    """The newest signed head of a channel."""

    head: Head
    is_new: bool
    """Whether it is another one than at the last look."""


@dataclass(frozen=True)
class Look:
    """What the signed metadata says now."""

    seen: Mapping[str, Seen]
    """By channel; channels that the publisher does not have are left out."""
    signed_at: datetime
    """When the publisher signed that this is the newest there is."""


@dataclass(frozen=True)
class Coming:
    """A release that was looked at and not fetched yet."""

    seen: Seen
    listing: Listing
    removed: tuple[str, ...]
    """Names of the listing that was pulled last which this one does not have."""
    missing_bytes: int
    """Of objects that are not held; an upper bound of what must be fetched."""
    documents: Documents
    releases: tuple[Release, ...]


MakeRoom = Callable[[Listing, Sequence[NamedFile]], object]
"""Called in a thread when space is short, with the listing on its way in and the objects of it that are left out. It
may remove whatever that listing does not name, and what is left out."""


def _ignore_progress(_: Progress) -> None:
    pass


def _ignore_removed(_: Sequence[str]) -> None:
    pass


def _uncounted(_: int) -> None:
    pass


class Puller:
    """Pulls channels of one publisher into one holding. One pull at a time; the caller holds the store's lock."""

    def __init__(
        self,
        *,
        trust_dir: Path,
        source: Source,
        holding: Holding,
        anchor: bytes | None = None,
        clock: Clock | None = None,
        area: str = "",
        quota_bytes: int | None = None,
        road: Road = "network",
        retry: RetryPolicy | None = None,
        meter: Meter | None = None,
        watch: Watch | None = None,
        lacking: Lacking | None = None,
        disk_bytes_per_byte: float = 1.0,
        spare_bytes: int = SPARE_BYTES,
    ) -> None:
        """Prepare; nothing is read or fetched yet.

        Args:
            trust_dir: Where this edge keeps what it has learned to trust. Losing it loses rollback protection.
            source: Where the published files are; one with ``reject`` and ``forgive`` is told who sent wrong bytes.
            holding: Where they go.
            anchor: The publisher's ``1.root.json``, brought here by a safe road. Needed the first time; later the
                copy in ``trust_dir`` serves, and another anchor given here is refused.
            clock: For pauses between attempts (never for judging expiry).
            area: Of this edge; a head for another area is refused. Empty = any.
            quota_bytes: For all objects of the channel together; None for no limit.
            road: How the source comes here; see ``sync.trust``.
            retry: How often to try again when the source does not answer.
            meter: Counts what moves; give one to look at it meanwhile.
            watch: Hears what is on its way in and where it lies.
            lacking: Tells which packs the source is known not to have (one stick of several): what lies in those is
                left out, and OnOtherSticks raised when all else is in.
            disk_bytes_per_byte: Disk that each fetched byte will need in the end, with what is derived from it.
            spare_bytes: Disk that must stay free whatever is fetched.
        """
        self._trust_dir, self._holding, self._anchor = trust_dir, holding, anchor
        self._clock = clock or SystemClock()
        self._area, self._quota_bytes, self._road = area, quota_bytes, road
        self._meter = meter or Meter(self._clock)
        self._watch, self._lacking = watch or NoWatch(), lacking
        self._raw_source = source
        self._judge = source if isinstance(source, Judged) else None
        self._source = Retrying(Metered(source, self._meter), self._clock, retry or RetryPolicy())
        self._disk_bytes_per_byte, self._spare_bytes = disk_bytes_per_byte, spare_bytes
        self._begun = Begun(holding.meta)

    def __str__(self) -> str:
        """Name the source."""
        return str(self._raw_source)

    @property
    def meter(self) -> Meter:
        """What moved so far."""
        return self._meter

    async def close(self) -> None:
        """Let go of connections; a later call opens them again."""
        await self._raw_source.close()

    async def pull(
        self,
        channel: str,
        *,
        now: datetime,
        on_progress: Callable[[Progress], None] = _ignore_progress,
        on_removed: Callable[[Sequence[str]], object] = _ignore_removed,
        make_room: MakeRoom | None = None,
    ) -> Pulled:
        """Bring what one channel's newest release needs: ``look``, ``prepare``, ``fetch`` and ``close``.

        Args:
            channel: Its name.
            now: What the clock says, to judge expiry by.
            on_progress: Called in the event loop, often.
            on_removed: Called in a thread with the names that are no longer in the channel, as soon as that is known
                for sure and before any object is fetched: withdrawals do not wait for megabytes.
            make_room: See MakeRoom; without it a full disk is an error at once.

        Raises:
            NoChannel: the publisher has no such channel.
            SyncError: see ``look``, ``prepare`` and ``fetch``.
            OSError: the disk fails.
        """
        moved, requests = self._meter.body_bytes, self._meter.requests
        try:
            seen = (await self.look([channel], now=now)).seen
            if channel not in seen:
                raise NoChannel(f"{self._raw_source} publishes no channel {channel!r}")
            coming = await self.prepare(seen[channel])
            if coming.removed:
                await in_thread(on_removed, coming.removed)
            pulled = await self.fetch(coming, on_progress=on_progress, make_room=make_room)
        finally:
            await self.close()
        return replace(pulled, bytes_moved=self._meter.body_bytes - moved, requests=self._meter.requests - requests)

    async def look(self, channels: Collection[str], *, now: datetime) -> Look:
        """Refresh the signed metadata once, and return the newest head of each channel that the publisher has.

        Two requests when nothing is new, however many channels.

        Raises:
            Untrusted: see its reasons. Nothing that is served was changed.
            Corrupt: a signed name led to other bytes.
            Unreachable: the source did not answer, or lacks a file (then: Missing).
            NoSpace: the disk is full.
        """
        if self._judge is not None:
            self._judge.forgive()
        memories = {channel: await in_thread(self._memory, channel) for channel in channels}
        paths = {channel: head_path(channel) for channel in channels}
        anchor = await in_thread(keep_anchor, self._trust_dir, self._anchor)
        async with together() as group:
            group.create_task(in_thread(self._holding.find, []))  # have the index ready when a release is here
            refreshing = group.create_task(
                trusted_targets(
                    list(paths.values()),
                    anchor=anchor,
                    folder=self._trust_dir,
                    source=self._source,
                    now=now,
                    received=_uncounted,
                    road=self._road,
                )
            )
        trusted = refreshing.result()
        seen: dict[str, Seen] = {}
        for channel, path in paths.items():
            if (found := trusted[path].target) is not None:
                seen[channel] = await self._head(channel, memories[channel], found, trusted[path].era)
        return Look(seen, await asyncio.to_thread(signed_at, self._trust_dir, self._road))

    async def prepare(self, seen: Seen) -> Coming:
        """Find out what a release brings: fetch what is signed, and no object.

        Raises:
            Corrupt: a signed name led to other bytes.
            Unreachable: the source did not answer, or lacks a file (then: Missing).
            NoSpace: the disk is full.
        """
        head = seen.head
        documents = Documents(self._source, self._judge, self._holding.meta)
        held = await asyncio.to_thread(kept_listing, self._trust_dir, head.channel)
        listing, releases = await _advance(documents, held, head)
        removed = tuple(name for name in held.files if name not in listing.files) if held else ()
        here = await asyncio.to_thread(lambda: set(self._holding.ids()))
        lengths = {file.sha256: file.length_bytes for file in listing.files.values() if file.sha256 not in here}
        return Coming(seen, listing, removed, sum(lengths.values()), documents, tuple(releases))

    async def fetch(
        self,
        coming: Coming,
        *,
        on_progress: Callable[[Progress], None] = _ignore_progress,
        make_room: MakeRoom | None = None,
        quota_bytes: int | None = None,
    ) -> Pulled:
        """Bring every object of a release that is wanted and not held.

        What came stays when this fails or is cancelled, and is not fetched again. ``quota_bytes`` is for this
        channel's objects, in place of the one given at the start.

        Raises:
            Corrupt: a signed name led to other bytes. Nothing that is served was changed.
            NoSpace: found out before the first object is fetched, or when the disk fills up meanwhile.
            Unreachable: the source did not answer, or lacks a file (then: Missing).
            OnOtherSticks: all came but what ``lacking`` said.
            OSError: the disk fails.
        """
        moved, requests = self._meter.body_bytes, self._meter.requests
        listing, quota = coming.listing, self._quota_bytes if quota_bytes is None else quota_bytes
        here = await asyncio.to_thread(lambda: set(self._holding.ids()))
        choice = choose(listing.files.values(), quota_bytes=quota, held=here.__contains__)
        todo = [file for file in choice.keep if file.sha256 not in here]
        await self._make_sure_of_room(todo, listing, choice.leave_out, make_room)
        await self._objects(todo, coming.documents, coming.releases, on_progress)
        if coming.releases:
            await in_thread(keep_listing, self._trust_dir, listing)
        return Pulled(
            listing=listing,
            left_out=choice.leave_out,
            changed=coming.seen.is_new or bool(coming.releases or todo),
            bytes_moved=self._meter.body_bytes - moved,
            requests=self._meter.requests - requests,
            damaged=self._holding.damaged(),
        )

    def _memory(self, channel: str) -> ChannelMemory:
        return ChannelMemory(self._trust_dir, channel, self._anchor)

    async def _head(self, channel: str, memory: ChannelMemory, target: TargetFile, era: str) -> Seen:
        documents = Documents(self._source, self._judge, self._holding.meta)
        kept = memory.held(target)
        raw, head = (kept, decode_head(kept)) if kept is not None else await documents.head(channel, target)
        if head.channel != channel:
            raise Untrusted("tampered", f"the head of {channel} is that of {head.channel}")
        if head.area and self._area and head.area != self._area:
            raise Untrusted("other-area", f"release {head.seq} of {channel} is for area {head.area}, not {self._area}")
        await in_thread(memory.keep_head, raw, head, era=era)
        return Seen(head, kept is None)

    async def _make_sure_of_room(
        self,
        todo: Sequence[NamedFile],
        listing: Listing,
        left_out: Sequence[NamedFile],
        make_room: MakeRoom | None,
    ) -> None:
        shortage = await asyncio.to_thread(self._shortage, todo)
        if shortage is not None and make_room is not None:
            await in_thread(make_room, listing, left_out)
            shortage = await asyncio.to_thread(self._shortage, todo)
        if shortage is not None:
            raise shortage

    def _shortage(self, todo: Sequence[NamedFile]) -> NoSpace | None:
        if not todo:
            return None
        staged = sum(self._holding.staged_bytes(file.sha256) for file in todo)
        length = sum(file.length_bytes for file in todo)
        needed = int(length * self._disk_bytes_per_byte) - staged + self._spare_bytes
        free = self._holding.free_bytes()
        return NoSpace(needed, free) if needed > free else None

    async def _objects(
        self,
        todo: Sequence[NamedFile],
        documents: Documents,
        releases: Sequence[Release],
        on_progress: Callable[[Progress], None],
    ) -> None:
        objects = bytes_done = 0
        bytes_total = sum(file.length_bytes for file in todo)

        def report(done: int, length: int) -> None:
            nonlocal objects, bytes_done
            objects += done
            bytes_done += length
            on_progress(Progress(objects, len(todo), bytes_done, bytes_total))

        report(0, 0)
        run = Run(
            source=self._source,
            judge=self._judge,
            holding=self._holding,
            documents=documents,
            guide=Guide(documents, self._holding, releases),
            clock=self._clock,
            begun=self._begun,
            watch=self._watch,
            report=report,
            lacking=self._lacking,
        )
        await run.objects(todo)


async def _advance(documents: Documents, held: Listing | None, head: Head) -> tuple[Listing, list[Release]]:
    """Go from the held listing to the head's; from nothing when what is held is of another history.

    The head was accepted by ``ChannelMemory``. It can be older than the listing that is held, or of another history,
    only when the publisher's keys were replaced: then what is held counts for nothing.
    """
    if held is not None and held.seq <= head.seq:
        try:
            return await documents.advance(held, head)
        except Astray:
            pass  # if it is the publisher who errs, it fails from nothing too
    return await documents.advance(None, head)
