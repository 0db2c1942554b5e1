"""Gives the linear channels of the active snapshot to an event loop: the lessons' indexes are read in a thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from math import ceil, inf

import structlog

from domain.courseware import CatalogueError, Courseware, Rendition
from edge_server.catalog import CatalogView
from edge_server.linear import LinearChannel, Slot, Step
from edge_server.linear.plan import ChannelPlan, make_channel
from edge_server.linear.round import Round
from edge_server.packager import LADDER, NotPackaged, Packaged, version_of
from edge_server.store import StoredFile
from media.ts_join import NotJoinable, read_ends
from runtime.clock import Clock
from sync import SyncError
from wire.mpegts import PACKET_BYTES, PTS_HZ

LOOK_S = 1.0
BUSY_LOOK_S = 0.05
FIRST_WAIT_S = 2.0
"""The edge is ready with its channels if they are known so soon, else without."""
AGAIN_S = 30.0
"""A lesson that was not packaged when its channel was made is looked for again after this time."""
RENDITION = "R12"
"""What every box plays: a channel has one stream for all."""
KNOWN_MAX_COUNT = 20_000
"""Renditions remembered by hash, about 1 kB each."""
HEAD_BYTES = 1024 * PACKET_BYTES
TAIL_MAX_BYTES = 64 * 1024 * 1024

log = structlog.get_logger()


class FollowingChannels:
    """A ``runtime.service.Service``; ``current`` never waits. Used from one thread."""

    def __init__(
        self,
        plans: tuple[ChannelPlan, ...],
        view: Callable[[], CatalogView],
        load: Callable[[StoredFile], Packaged],
        clock: Clock,
        *,
        thread: Executor | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            plans: what the setting names.
            view: gives the catalogue view of the active snapshot.
            load: reads the index of a rendition; called in a thread, raises NotPackaged.
            clock: says when to look again.
            thread: reads; by default one of its own.
        """
        self._plans, self._view, self._load, self._clock = plans, view, load, clock
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="channels")
        self._channels: tuple[LinearChannel, ...] = ()
        self._rounds: dict[str, Round] = {}
        self._made_of: CatalogView | None = None
        self._again_at = 0.0
        self._coming: tuple[CatalogView, Future[tuple[tuple[LinearChannel, ...], bool]]] | None = None
        self._known: dict[str, Slot | None] = {}
        self._steps: dict[str, Step] = {}

    def round(self, channel_id: str) -> Round | None:
        """Return a channel with the arithmetic of its airings; None when there is none of that id."""
        return self._rounds.get(channel_id)

    def current(self) -> tuple[LinearChannel, ...]:
        """Return the channels, by number; those of the snapshot before while the new ones are worked out."""
        return self._channels

    async def run(self, ready: Callable[[], None]) -> None:
        """Look for changes now and then until cancelled."""
        if not self._plans:
            ready()
            return
        clock = self._clock
        deadline = clock.monotonic() + FIRST_WAIT_S
        self.look()
        while self._coming is not None and clock.monotonic() < deadline:
            await clock.sleep_until(clock.monotonic() + BUSY_LOOK_S)
            self.look()
        ready()
        while True:
            busy = self._coming is not None
            await clock.sleep_until(clock.monotonic() + (BUSY_LOOK_S if busy else LOOK_S))
            self.look()

    def look(self) -> None:
        """Take over what has been worked out, and begin anew when the snapshot is another one."""
        now = self._clock.monotonic()
        if self._coming is not None:
            made_of, coming = self._coming
            if not coming.done():
                return
            self._coming = None
            self._channels, whole = coming.result()
            self._rounds = {each.channel_id: self._same_or_new(each) for each in self._channels}
            self._made_of, self._again_at = made_of, inf if whole else now + AGAIN_S
        with suppress(SyncError, CatalogueError, OSError):  # whoever asks for the view is told
            view = self._view()
            if view is not self._made_of or now >= self._again_at:
                self._coming = view, self._thread.submit(self._make, view)

    def _same_or_new(self, channel: LinearChannel) -> Round:
        """Keep what has not changed: who sends it goes on, whatever else the new snapshot brought."""
        before = self._rounds.get(channel.channel_id)
        if before is None or before.channel != channel:
            return Round(channel)
        before.renew(channel)
        return before

    def wait(self) -> None:
        """Wait for what is being worked out; ``look`` takes it over. Not for the event loop."""
        if self._coming is not None:
            wait((self._coming[1],))

    async def drain(self) -> None:
        """Nothing to finish."""

    def _make(self, view: CatalogView) -> tuple[tuple[LinearChannel, ...], bool]:
        """Work out all channels; also tell whether every lesson was packaged."""
        lacking: list[str] = []

        def slot_of(item: Courseware) -> Slot | None:
            rendition = item.rendition(RENDITION)
            stored = view.file(rendition.path) if rendition is not None else None
            if stored is None:
                return None
            if stored.sha256 not in self._known:
                try:
                    found = self._look_into(stored)
                except (NotPackaged, OSError):
                    lacking.append(item.item_id)
                    return None
                if len(self._known) >= KNOWN_MAX_COUNT:
                    self._known.clear()
                self._known[stored.sha256] = found
            known = self._known[stored.sha256]
            if known is None:
                return None
            return replace(known, item_id=item.item_id, title=item.title, steps=steps_of(item))

        def steps_of(item: Courseware) -> tuple[Step, ...]:
            found = []
            for name in LADDER:
                rendition = item.rendition(name)
                stored = view.file(rendition.path) if rendition is not None else None
                if rendition is None or stored is None:
                    continue
                try:
                    found.append(self._step(rendition, stored))
                except (NotPackaged, OSError):
                    lacking.append(item.item_id)
            return tuple(found)

        made = [make_channel(plan, view, slot_of) for plan in self._plans]
        return tuple(each for each in made if each is not None), not lacking

    def _step(self, rendition: Rendition, stored: StoredFile) -> Step:
        """Read how one rendition is cut.

        Raises:
            NotPackaged: its derived files are not there.
            OSError: they cannot be read.
        """
        if stored.sha256 not in self._steps:
            spans = [(each.duration_s, each.length_bytes) for each in self._load(stored).ts_index.segments]
            if len(self._steps) >= KNOWN_MAX_COUNT:
                self._steps.clear()
            self._steps[stored.sha256] = Step(
                rendition.name,
                version_of(stored.sha256),
                len(spans),
                max(duration_s for duration_s, _ in spans),
                max(ceil(8 * size / max(0.04, duration_s)) for duration_s, size in spans),
                ceil(8 * sum(size for _, size in spans) / max(0.04, sum(duration_s for duration_s, _ in spans))),
                tuple(each for each in (rendition.video_codec, rendition.audio_codec) if each),
                (rendition.display_width, rendition.height),
                rendition.frame_rate,
            )
        return self._steps[stored.sha256]

    def _look_into(self, stored: StoredFile) -> Slot | None:
        """Read what a slot has to know of a rendition; None when it cannot be joined with others.

        Raises:
            NotPackaged: its derived files are not there.
            OSError: they cannot be read.
        """
        packaged = self._load(stored)
        index = packaged.ts_index
        with packaged.ts.open("rb", buffering=0) as file:
            head = file.read(HEAD_BYTES)
            file.seek(index.keyframes[-1].offset_bytes)
            tail = file.read(TAIL_MAX_BYTES + 1)
        try:
            if len(tail) > TAIL_MAX_BYTES:
                raise NotJoinable("its last picture to begin at is too far from the end")
            ends = read_ends(index, head[: len(head) // PACKET_BYTES * PACKET_BYTES], tail)
        except NotJoinable as error:
            log.warning("lesson left out of linear channels", object=stored.sha256[:12], why=str(error))
            return None
        return Slot("", "", ends.lasts_ticks / PTS_HZ, version_of(stored.sha256), ends)
