"""The publishing side: writes static files that any HTTP server, bucket or USB disk can hand out.

Order of writing: packs, cards, release objects, skip list, head, signed metadata, and ``timestamp.json`` last. Each is
complete and durable before the next is begun, and only ``timestamp.json`` is ever replaced by something that means
something else, so a crash at any point leaves the previous release readable.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from sync import NoSpace
from sync.head import head_path
from sync.ids import check_channel, check_name, sha256_hex
from sync.listing import Listing, NamedFile
from sync.publishing.cards import CardShelf, whole_object
from sync.publishing.change import Change, Priority, changed, check_change, check_readable
from sync.publishing.errors import AlreadyThere, PublishError
from sync.publishing.export import ExportSet, export_set
from sync.publishing.folder import Folder, channels_of, check_area
from sync.publishing.history import Before, History
from sync.publishing.index import Index, IndexDamaged
from sync.publishing.intake import Intake, Taken
from sync.publishing.issue import Issue, issue
from sync.publishing.litter import clear_litter, note_litter
from sync.publishing.outbox import Outbox
from sync.publishing.packs import PackShelf
from sync.publishing.prune import Pruned, kept_names, kept_objects, prune
from sync.publishing.reading import Current
from sync.trust import ANCHOR_NAME
from sync.trust.clock import check_publisher_clock
from sync.trust.rotation import rotated
from sync.trust.signing import TIMESTAMP_NAME, Ledger


class Publisher:
    """One publishing folder: ``published/`` (static files), ``keys/`` (private), an index that can be made anew."""

    def __init__(self, root: Path, *, offline_keys: Path | None = None) -> None:
        """Use ``init`` or ``open``."""
        self._folder = Folder(root, offline_keys)
        self._known: Current | None = None
        self.published = self._folder.published
        self.trust_anchor = self._folder.metadata(ANCHOR_NAME)

    @classmethod
    def init(cls, root: Path, now: datetime, *, area: str = "") -> Publisher:
        """Make keys and the first metadata (no channel yet).

        Args:
            root: The folder to make.
            now: When.
            area: For whom the channels are; empty = for every area.

        Raises:
            AlreadyThere: there is a publishing folder already; it was not touched.
            Busy: another process is publishing there.
            Corrupt: the area is misspelt.
        """
        publisher = cls(root)
        folder = publisher._folder
        check_area(area)
        with folder.alone() as outbox:
            if folder.taken(TIMESTAMP_NAME):
                raise AlreadyThere(f"{root} already holds a publishing folder; choose another or open this one")
            folder.keep_area(area)
            folder.keys.generate()
            folder.sign(outbox, Ledger.first(folder.keys, now))
        return publisher

    @classmethod
    def open(cls, root: Path, *, offline_keys: Path | None = None) -> Publisher:
        """Open an existing publishing folder.

        Args:
            root: The folder.
            offline_keys: Where the offline keys are now, when not in ``keys/offline``.

        Raises:
            PublishError: there is none.
        """
        publisher = cls(root, offline_keys=offline_keys)
        if not publisher._folder.taken(TIMESTAMP_NAME):
            raise PublishError(f"{root} holds no publishing folder; make one with init")
        return publisher

    @property
    def area(self) -> str:
        """For whom the channels are; empty = for every area.

        Raises:
            Corrupt: the settings are damaged.
        """
        return self._folder.area

    def channels(self) -> tuple[str, ...]:
        """Return the names of all channels, sorted.

        Raises:
            Corrupt: the published metadata was damaged.
        """
        return channels_of(self._folder.ledger())

    def files(self, channel: str) -> Mapping[str, NamedFile]:
        """Return what the channel holds now, by name; empty when nothing was published on it.

        Raises:
            Corrupt: the published files were damaged.
        """
        listing = self.listing(channel)
        return listing.files if listing else {}

    def listing(self, channel: str) -> Listing | None:
        """Return the channel's newest listing, or None when nothing was published on it.

        Raises:
            Corrupt: the published files were damaged.
        """
        current = self._newest(channel)
        return current.listing if current else None

    def read(self, channel: str, name: str) -> bytes:
        """Put one published object together again; for small ones, it is held in memory.

        Raises:
            KeyError: the channel has no object of that name.
            Corrupt: what is published was damaged.
        """
        packs = PackShelf(self.published)
        return whole_object(self.files(channel)[name], CardShelf(self.published), packs)

    def publish(
        self,
        channel: str,
        *,
        add: Mapping[str, Path | bytes],
        remove: Collection[str],
        now: datetime,
        priority: Priority | None = None,
        sure: bool = False,
    ) -> Listing:
        """Publish the previous listing of the channel with these names added or replaced, and those removed.

        Reads and writes only what is added, besides the list of names. When nothing changes, no new release is
        made (only the freshness is renewed) and the previous listing is returned.

        Args:
            channel: Its name.
            add: Content by name. A file must not change meanwhile.
            remove: Names.
            now: When.
            priority: See ``Priority``.
            sure: The clock was looked at; it may be far ahead of the last signing.

        Raises:
            PublishError: a name to remove is not there, or is to be added as well; a file cannot be read.
            Corrupt: a name, length or number of files is out of bounds, or the published files were damaged.
            Busy: another process is publishing.
            NoSpace: the disk is full. In every case the previous release stays.
            KeyUnavailable: an online key cannot be read.
            ClockDoubtful: ``now`` does not fit the last signing.
        """
        change = Change(add, remove, priority if priority is not None else {})
        return self.publish_many({channel: change}, now, sure=sure)[channel]

    def publish_many(self, changes: Mapping[str, Change], now: datetime, *, sure: bool = False) -> dict[str, Listing]:
        """Publish on several channels under one signature; all of it becomes visible at once.

        Returns the newest listing of each channel. Raises as ``publish`` does, and then nothing is published.
        """
        for channel, change in changes.items():
            check_channel(channel)
            for name, content in change.add.items():
                check_name(name)
                check_readable(name, content)
        with self._folder.alone() as outbox:
            try:
                return self._publish(outbox, changes, now, sure)
            except IndexDamaged:
                self._folder.reindex()
                return self._publish(outbox, changes, now, sure)

    def close_channel(self, channel: str, now: datetime) -> None:
        """Stop naming a channel; its files stay until ``prune``. Its name is used up: edges remember its last seq.

        Raises:
            PublishError: there is no such channel.
        """
        with self._folder.alone() as outbox:
            ledger = self._folder.ledger()
            if ledger.target(head_path(channel)) is None:
                raise PublishError(f"there is no channel {channel}")
            self._folder.sign(outbox, ledger.without([head_path(channel)], self._folder.keys, now, self._folder.taken))

    def refresh(self, now: datetime, *, sure: bool = False) -> None:
        """Sign a new timestamp, and whatever else would expire before long. Do this at least every 14 days.

        Raises:
            Busy: another process is publishing.
            Corrupt: the published metadata was damaged.
            KeyUnavailable: a key that is needed cannot be read.
            ClockDoubtful: ``now`` does not fit the last signing; ``sure`` confirms a leap forward.
        """
        with self._folder.alone() as outbox:
            self._folder.sign(
                outbox, self._folder.ledger().refreshed(self._folder.keys, now, self._folder.taken, sure=sure)
            )

    def bundle_timestamp(self, now: datetime) -> bytes:
        """Return the ``metadata/timestamp.json`` of a bundle: it lasts longer than that of the network.

        Raises:
            Corrupt: the published metadata was damaged.
            KeyUnavailable: the timestamp key cannot be read.
        """
        return self._folder.ledger().bundle_timestamp(self._folder.keys, now)

    @property
    def offline_due(self) -> datetime:
        """When the offline keys are needed again, to sign what runs out then.

        Raises:
            Corrupt: the published metadata was damaged.
        """
        return self._folder.ledger().offline_due

    def rotate_keys(self, names: Collection[str], now: datetime, *, sure: bool = False) -> None:
        """Replace keys, by name or role (``sync/trust/rotation.py``); the offline keys must be there.

        Raises:
            Busy: another process is publishing.
            KeyUnavailable: a name is unknown, or too few offline keys can be read.
            ClockDoubtful: ``now`` does not fit the last signing.
        """
        with self._folder.alone() as outbox:
            folder = self._folder
            ledger = rotated(folder.ledger(), names, folder.keys, now, folder.taken, sure=sure)
            folder.sign(outbox, ledger)
            folder.keys.retire(ledger.key_names)

    def export_set(self, channel: str, since_seq: int) -> ExportSet:
        """Return what a stick must carry for an edge that holds release ``since_seq`` of the channel; 0: nothing.

        Raises:
            PublishError: there is no such channel.
            Corrupt: the published files were damaged.
        """
        ledger = self._folder.ledger()
        target = ledger.target(head_path(channel))
        if target is None:
            raise PublishError(f"nothing was published on {channel}")
        head_sha256 = target.hashes["sha256"]
        return export_set(
            self.published, ledger, channel, head_sha256, since_seq, held=self._held_at(channel, since_seq)
        )

    def _held_at(self, channel: str, since_seq: int) -> tuple[Before, ...]:
        """Return what names that were touched since held at that release, as far as the history knows."""
        current = self._newest(channel)
        if current is None or not 0 < since_seq < current.listing.seq:
            return ()
        with self._folder.alone(), self._folder.index() as index:
            era = self._folder.era(index, channel, current)
            if since_seq < era.floor:
                return ()
            for _, held in History(index, channel).befores(current.listing.seq, [since_seq]):
                return tuple(dict.fromkeys(held.values()))
        return ()

    def prune(self, *, keep_releases: int = 1) -> Pruned:
        """Remove what belongs neither to the newest releases nor to the ``keep_releases`` before each.

        Whoever is taking an older one just now finds things missing and goes on with the newest. Where it is not known
        what the releases before held (the index was lost), nothing is removed until there are new ones.

        Raises:
            Busy: another process is publishing.
            Corrupt: the published files were damaged; nothing was removed.
        """
        with self._folder.alone(), self._folder.index() as index:
            ledger, cards = self._folder.ledger(), CardShelf(self.published)
            objects: dict[str, Before] = {}
            names: set[str] = set()
            for channel in channels_of(ledger):
                if current := self._folder.current(ledger, channel):
                    self._folder.era(index, channel, current)
                    kept = kept_objects(index, current, keep_releases)
                    if kept is None:
                        return Pruned()
                    objects.update(kept)
                    names |= kept_names(index, current)
            return prune(self.published, index, cards, ledger, objects, names)

    def reindex(self) -> None:
        """Make the index anew from what is published.

        Raises:
            Busy: another process is publishing.
            Corrupt: the published metadata was damaged.
        """
        with self._folder.alone():
            self._folder.reindex()

    def _publish(self, outbox: Outbox, changes: Mapping[str, Change], now: datetime, sure: bool) -> dict[str, Listing]:
        ledger, area = self._folder.ledger(), self._folder.area
        check_publisher_clock(now, ledger.signed_at, sure=sure)
        previous = {channel: self._folder.current(ledger, channel) for channel in changes}
        for channel, change in changes.items():
            check_change(channel, change, previous[channel])
        listings: dict[str, Listing] = {}
        issues: list[Issue] = []
        with self._folder.index() as index:
            cards, packs = CardShelf(self.published), PackShelf(self.published)
            taken = _take_in(changes, Intake(outbox, index, cards, packs))
            for channel, change in changes.items():
                old = previous[channel]
                listing = changed(channel, change, old, taken[channel], now)
                if old and dict(old.listing.files) == dict(listing.files):
                    listings[channel] = old.listing
                    continue
                listings[channel] = listing
                era = self._folder.era(index, channel, old)
                made = issue(area, old, era, listing, taken[channel], index=index, cards=cards)
                _write(outbox, index, made)
                issues.append(made)
            if issues:
                heads = {head_path(each.listing.channel): each.head for each in issues}
                ledger = ledger.naming(heads, self._folder.keys, now, self._folder.taken, sure=sure)
            else:
                ledger = ledger.refreshed(self._folder.keys, now, self._folder.taken, sure=sure)
            self._folder.sign(outbox, ledger)
            with suppress(NoSpace):  # it is published; the next one tidies up
                for each in issues:
                    History(index, each.listing.channel).trim(each.listing.seq, each.floor)
                for channel, listing in listings.items():
                    clear_litter(outbox, index, channel, listing.seq)
                index.commit()
        return listings

    def _newest(self, channel: str) -> Current | None:
        """Return what is published on the channel, from memory when the head is the same as last time."""
        ledger = self._folder.ledger()
        target = ledger.target(head_path(channel))
        if target is None:
            return None
        known = self._known
        if known is None or known.listing.channel != channel or known.head_sha256 != target.hashes["sha256"]:
            known = self._known = self._folder.current(ledger, channel)
        return known


def _take_in(changes: Mapping[str, Change], intake: Intake) -> dict[str, dict[str, Taken]]:
    try:
        taken = {
            channel: {name: intake.take(name, content) for name, content in change.add.items()}
            for channel, change in changes.items()
        }
        intake.finish()
    finally:
        intake.abandon()
    return taken


def _write(outbox: Outbox, index: Index, made: Issue) -> None:
    """Write what leads to a head, and the head; written down first, so that nothing is litter for ever."""
    listing = made.listing
    note_litter(index, listing.channel, listing.seq, made.keeps)
    History(index, listing.channel).record(listing.seq, sha256_hex(made.head), made.befores, made.floor)
    index.commit()
    for name, data in made.files:
        outbox.put(name, data)
    outbox.settle()
