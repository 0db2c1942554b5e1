"""The pulling side: brings one channel up to date; believes only what is signed, or hashed by what is signed.

The chain: anchor → root → timestamp → snapshot → targets metadata → head → snapshot object → manifest → chunk, and the
whole object once more before it becomes visible. Every fetch is bounded by a signed length.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.ngclient import TargetFile

from runtime.clock import Clock, SystemClock
from sync import Corrupt, NoChannel, NoSpace, SyncError, TooLong, Untrusted
from sync.ids import sha256_hex
from sync.manifest import Manifest, decode_manifest, encode_manifest, implied_manifest, manifest_bytes
from sync.plan import Plan, plan
from sync.snapshot import HEAD_MAX_BYTES, Head, NamedFile, Snapshot, decode_head, decode_snapshot, head_path
from sync.store import Incoming, ObjectStore, Source
from sync.store.files import write_file
from sync.store.threads import in_thread
from sync.store.wrappers import Meter, Metered, Retrying, RetryPolicy
from sync.trust.memory import ChannelMemory
from sync.trust.refresh import trusted_target

OBJECTS_AT_ONCE = 3
CHUNKS_AHEAD = 2
"""Chunks in flight for one object; memory in use is at most OBJECTS_AT_ONCE * CHUNKS_AHEAD * CHUNK_MAX_BYTES."""
SPARE_BYTES = 32 * 1024 * 1024
"""Left free on the disk whatever is fetched: metadata, snapshot files and the pointer must always fit."""


@dataclass(frozen=True)
class Progress:
    """How far a pull has come."""

    objects_done: int
    objects_total: int
    bytes_done: int
    """Of objects: verified and kept, those kept by an earlier attempt included."""
    bytes_total: int


@dataclass(frozen=True)
class Pulled:
    """The outcome of a pull: every object of the snapshot is in the store and was verified when it came in."""

    snapshot: Snapshot
    changed: bool
    """False when nothing but freshness metadata moved: same head, no object missing."""
    bytes_moved: int
    """Bodies of all answers; headers are not counted."""
    requests: int


def _ignore(_: Progress) -> None:
    pass


class Client:
    """Pulls channels of one publisher from one source."""

    def __init__(
        self,
        *,
        trust_dir: Path,
        source: Source,
        objects: ObjectStore,
        anchor: bytes | None = None,
        clock: Clock | None = None,
        retry: RetryPolicy | None = None,
        disk_bytes_per_byte: float = 1.0,
        spare_bytes: int = SPARE_BYTES,
    ) -> None:
        """Prepare; nothing is read or fetched yet.

        Args:
            trust_dir: Where this client keeps what it has learned to trust. Losing it loses rollback protection.
            source: Where the published files are.
            objects: Where they go.
            anchor: The publisher's ``1.root.json``, brought here by a safe road. Needed the first time; later the
                copy in ``trust_dir`` serves, and another anchor given here is refused.
            clock: For pauses between attempts (never for judging expiry).
            retry: How often to try again when the source does not answer.
            disk_bytes_per_byte: Disk that each fetched byte will need in the end, with what is derived from it.
            spare_bytes: Disk that must stay free whatever is fetched.
        """
        self._trust_dir = trust_dir
        self._source = source
        self._objects = objects
        self._anchor = anchor
        self._clock = clock or SystemClock()
        self._retry = retry or RetryPolicy()
        self._disk_bytes_per_byte = disk_bytes_per_byte
        self._spare_bytes = spare_bytes

    async def pull(
        self,
        channel: str,
        *,
        now: datetime,
        on_progress: Callable[[Progress], None] = _ignore,
        make_room: Callable[[Snapshot], object] | None = None,
    ) -> Pulled:
        """Fetch and verify what is missing of the channel's newest snapshot.

        ``now`` judges expiry; should it be earlier than the newest release that was seen here, that release's time is
        taken instead, so that a clock that was set back does not stretch freshness. What was fetched stays when this
        fails or is cancelled, and is not fetched again. ``make_room`` is called (in a thread) when space is short;
        it may remove whatever the snapshot it is given does not name.

        Raises:
            Untrusted: see its reasons. Nothing that is served was changed.
            Corrupt: a signed name led to other bytes. Nothing that is served was changed.
            NoChannel: the publisher has no such channel.
            NoSpace: found out before the first object is fetched, or when the disk fills up meanwhile.
            Unreachable: the source did not answer, or lacks a file (then: Missing).
        """
        path = head_path(channel)
        meter = Meter()
        source = Retrying(Metered(self._source, meter), self._clock, self._retry)
        try:
            memory = await in_thread(ChannelMemory, self._trust_dir, channel, self._anchor)
            trusted = await trusted_target(
                path, anchor=memory.anchor, folder=self._trust_dir, source=source, now=now, received=_uncounted
            )
            if trusted.target is None:
                raise NoChannel(f"{self._source} publishes no channel {channel!r}")
            kept = self._trust_dir / "channels" / f"{channel}.snapshot.json"
            run = _Run(source, self._objects, memory, kept, on_progress)
            new_head = await run.head(path, trusted.target, channel, trusted.era)
            snapshot = await run.snapshot(new_head)
            todo = await asyncio.to_thread(plan, snapshot, self._objects.has)
            if self._shortage(todo) and make_room is not None:
                await in_thread(make_room, snapshot)
            if shortage := self._shortage(todo):
                raise shortage
            await run.objects(todo)
            return Pulled(snapshot, run.changed or bool(todo.wanted), meter.body_bytes, meter.requests)
        finally:
            await self._source.close()

    def _shortage(self, todo: Plan) -> NoSpace | None:
        free = self._objects.free_bytes()
        if free is None or not todo.wanted:
            return None
        staged = sum(self._objects.staged_bytes(file.sha256) for file in todo.wanted)
        needed = int(todo.wanted_bytes * self._disk_bytes_per_byte) - staged + self._spare_bytes
        return NoSpace(needed, free) if needed > free else None


class _Run:
    """One pull: fetches, checks, keeps."""

    def __init__(
        self,
        source: Source,
        objects: ObjectStore,
        memory: ChannelMemory,
        kept: Path,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._source, self._objects, self._memory, self._on_progress = source, objects, memory, on_progress
        self._kept = kept
        self.changed = False
        self._done = self._total = self._bytes_done = self._bytes_total = 0

    async def head(self, path: str, target: TargetFile, channel: str, era: str) -> Head:
        """Return the signed head: the one we have, when it is the same, else a new one."""
        if target.length > HEAD_MAX_BYTES:
            raise Untrusted("oversized", f"the head of {channel} has {target.length} bytes; at most {HEAD_MAX_BYTES}")
        raw = self._memory.held(target)
        if raw is None:
            folder, _, name = path.rpartition("/")
            raw = await self._fetch(f"targets/{folder}/{target.hashes['sha256']}.{name}", target.length)
            if not _matches(target, raw):
                raise Corrupt(f"the head of {channel} is not the signed one")
            self.changed = True
        head = decode_head(raw)
        await in_thread(lambda: self._memory.keep_head(raw, head, era=era))
        return head

    async def snapshot(self, head: Head) -> Snapshot:
        """Return the snapshot that the head names."""
        raw = await asyncio.to_thread(lambda: self._kept.read_bytes() if self._kept.is_file() else b"")
        if sha256_hex(raw) != head.snapshot_sha256:
            raw = await self._fetch_signed(
                f"snapshots/{head.snapshot_sha256}", head.snapshot_sha256, head.snapshot_length_bytes
            )
            self.changed = True
            await in_thread(write_file, self._kept, raw)
        snapshot = await asyncio.to_thread(decode_snapshot, raw)
        if (snapshot.channel, snapshot.seq, snapshot.issued) != (head.channel, head.seq, head.issued_at):
            raise Corrupt(f"the snapshot object of release {head.seq} belongs to another release")
        return snapshot

    async def objects(self, todo: Plan) -> None:
        """Fetch every missing object."""
        self._total, self._bytes_total = len(todo.wanted), todo.wanted_bytes
        self._report(0, 0)
        queue = deque(todo.wanted)

        async def work() -> None:
            while queue:
                await self._object(queue.popleft())

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(OBJECTS_AT_ONCE, len(queue))):
                    group.create_task(work())
        except BaseExceptionGroup as failures:
            expected, others = failures.split(SyncError)
            if expected is None or others is not None:
                raise
            raise _first(expected) from failures

    async def _object(self, file: NamedFile) -> None:
        manifest = await self._manifest(file)
        opened: list[Incoming] = []
        try:
            await in_thread(lambda: opened.append(self._objects.begin(manifest)))
            incoming = opened[0]
            held = incoming.held_chunks
            self._report(0, sum(map(manifest.chunk_bytes, range(held))))
            async with asyncio.TaskGroup() as group:
                ahead: deque[asyncio.Task[bytes | SyncError]] = deque()
                following = iter(range(held, len(manifest.chunks)))
                while True:
                    while len(ahead) < CHUNKS_AHEAD and (index := next(following, None)) is not None:
                        ahead.append(group.create_task(self._chunk(manifest, index)))
                    if not ahead:
                        break
                    data = await ahead.popleft()
                    if isinstance(data, SyncError):
                        raise data
                    await in_thread(incoming.append, data)
                    self._report(0, len(data))
            await in_thread(incoming.commit)
            self._report(1, 0)
        finally:
            for each in opened:
                each.close()

    async def _manifest(self, file: NamedFile) -> Manifest:
        manifest = implied_manifest(file.sha256, file.length_bytes)
        if manifest is not None:
            if sha256_hex(encode_manifest(manifest)) != file.manifest_sha256:
                raise Corrupt(f"the manifest of {file.path!r} is not the only one possible")
            return manifest
        length = manifest_bytes(file.length_bytes)
        raw = await self._fetch_signed(f"manifests/{file.manifest_sha256}", file.manifest_sha256, length)
        return decode_manifest(raw, sha256=file.sha256, length_bytes=file.length_bytes)

    async def _chunk(self, manifest: Manifest, index: int) -> bytes | SyncError:
        """Return a failure instead of raising it, so that the chunks before this one are still taken in."""
        sha256 = manifest.chunks[index]
        try:
            return await self._fetch_signed(f"chunks/{sha256[:2]}/{sha256}", sha256, manifest.chunk_bytes(index))
        except SyncError as failure:
            return failure

    async def _fetch_signed(self, name: str, sha256: str, length: int) -> bytes:
        raw = await self._fetch(name, length)
        if len(raw) != length or await asyncio.to_thread(sha256_hex, raw) != sha256:
            raise Corrupt(f"{name} is not the signed file ({len(raw)} bytes where {length} were signed)")
        return raw

    async def _fetch(self, name: str, length: int) -> bytes:
        try:
            return await self._source.fetch(name, limit_bytes=length, received=_uncounted)
        except TooLong as error:
            raise Corrupt(f"{name} is longer than the {length} bytes that were signed") from error

    def _report(self, objects: int, length: int) -> None:
        self._done += objects
        self._bytes_done += length
        self._on_progress(Progress(self._done, self._total, self._bytes_done, self._bytes_total))


def _uncounted(_: int) -> None:
    pass


def _matches(target: TargetFile, raw: bytes) -> bool:
    try:
        target.verify_length_and_hashes(raw)
    except LengthOrHashMismatchError:
        return False
    return True


def _first(failures: BaseExceptionGroup[SyncError]) -> SyncError:
    for each in failures.exceptions:
        return _first(each) if isinstance(each, BaseExceptionGroup) else each
    raise AssertionError("an exception group is never empty")
