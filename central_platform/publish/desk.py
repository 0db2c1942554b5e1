"""The publishing desk (编目): turns ingested courseware into the next signed snapshot, and takes items back."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from central_platform.ingest import ingest
from central_platform.publish.catalogue import (
    FIRST_ITEM_ID,
    checked_title,
    column_for,
    rfc3339,
    with_admitted,
    with_item,
    without_item,
)
from central_platform.publish.drafting import drafted
from central_platform.publish.gate import check_proof
from central_platform.publish.numbers import Numbers
from central_platform.publish.publications import Publications
from domain.courseware import (
    CATALOGUE_PATH,
    INDEX_CHANNEL,
    Catalogue,
    Column,
    Courseware,
    ItemClass,
    column_channel,
    decode_catalogue,
    encode_catalogue,
)
from domain.village import VILLAGE_PATH, Village, decode_village, encode_village
from sync.bundle.export import PartReport, write_part
from sync.bundle.plan import BundlePlan, plan_bundle
from sync.bundle.receipt import read_receipts, since_of
from sync.publishing import Change, Pruned, Publisher

EVICTABLE = 3
"""Priority (docs/formats/sync.md §2) of lessons that an edge may leave out when its disk is small."""


class DeskBusy(RuntimeError):
    """Another publish or withdraw is running in the same folder."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What an editor asks for."""

    source: Path
    """A media file, or the folder of a picture-text lesson."""
    title: str
    column: str
    item_class: ItemClass
    summary: str = ""
    offline_days: int = 45
    """How long an edge that hears nothing from here may offer the item; 0: for ever."""
    gate: bool = False
    """Only lab edges offer it until `Desk.admit`."""


class Desk:
    """Publishes into one platform folder; one job at a time."""

    def __init__(self, root: Path, *, offline_keys: Path | None = None) -> None:
        """``root`` was made by ``init``; nothing is opened for writing yet."""
        self.root = self._root = root
        self._publisher = Publisher.open(root, offline_keys=offline_keys)
        self._numbers = Numbers(root / "numbers.json")
        self._publications = Publications(root / "publications.jsonl")

    def catalogue(self) -> Catalogue:
        """Read the published catalogue of all columns; empty before the first lesson."""
        columns = self._read(INDEX_CHANNEL).columns
        found = [self._read(column_channel(column.column_id)).courseware for column in columns]
        items = sorted((item for each in found for item in each), key=lambda item: int(item.item_id))
        return Catalogue(columns=columns, courseware=tuple(items))

    def publish(self, submission: Submission, now: datetime, on_progress: Callable[[float], None]) -> Courseware:
        """Make the renditions, sign and publish; nothing is left behind when any step fails.

        Raises:
            central_platform.ingest.Refused: the file cannot be made playable.
            EditError: bad title or column name.
            DeskBusy: another job holds the folder.
        """
        title = checked_title(submission.title, "标题 / title")
        column_title = checked_title(submission.column, "专栏 / column")
        with self._held(), self._workdir() as workdir:
            # Encoding is nearly all the work; the last 2 % are hashing and signing.
            made = ingest(submission.source, workdir, on_progress=lambda part: on_progress(part * 0.98))
            items, columns = self._numbers.read()
            before = self.catalogue()
            catalogue, column = column_for(before, column_title, columns)
            self._numbers.write(items + 1, columns + (before.column(column.column_id) is None))
            item, files = drafted(
                made,
                item_id=str(FIRST_ITEM_ID + items),
                title=title,
                item_class=submission.item_class,
                column_id=column.column_id,
                issued_at=rfc3339(now),
                summary=submission.summary.strip(),
                offline_days=submission.offline_days,
                held=submission.gate,
            )
            self._publish(with_item(catalogue, item), column, add=files, remove=(), now=now)
        on_progress(1.0)
        return item

    def admit(self, item_id: str, report: Iterable[bytes], boxes: Collection[str], now: datetime) -> Courseware:
        """Let every edge offer an item that was on trial, when all required boxes have played it.

        Args:
            item_id: the item.
            report: lines of ``stb-emulator matrix --json``.
            boxes: names of the boxes that must have played it.
            now: time of the signatures.

        Raises:
            UnknownItem: nothing of that id is published.
            NotProven: a box is missing in the report, or could not play it, or boxes disagree about it.
            EditError: it is not on trial.
            DeskBusy: another job holds the folder.
        """
        with self._held():
            before = self.catalogue()
            catalogue, item = with_admitted(before, item_id)
            check_proof(item_id, report, boxes)
            column = before.column(item.column_id)
            assert column is not None, "an item is read from its column's channel"
            self._publish(catalogue, column, add={}, remove=(), now=now)
        return item

    def village(self) -> Village:
        """Read the published study plans and questionnaires."""
        if VILLAGE_PATH not in self._publisher.files(INDEX_CHANNEL):
            return Village()
        return decode_village(self._publisher.read(INDEX_CHANNEL, VILLAGE_PATH))

    def edit_village(self, edit: Callable[[Village, Catalogue], Village], now: datetime) -> Village:
        """Publish other study plans and questionnaires.

        Raises:
            EditError: what ``edit`` raises; nothing was published.
            DeskBusy: another job holds the folder.
        """
        with self._held():
            catalogue = self.catalogue()
            edited = edit(self.village(), catalogue)
            add = {VILLAGE_PATH: encode_village(edited)}
            if CATALOGUE_PATH not in self._publisher.files(INDEX_CHANNEL):
                add[CATALOGUE_PATH] = encode_catalogue(Catalogue())
            listings = self._publisher.publish_many({INDEX_CHANNEL: Change(add=add)}, now)
            self._publications.note({channel: listing.seq for channel, listing in listings.items()})
        return edited

    def withdraw(self, item_id: str, now: datetime) -> Courseware:
        """Take an item out of the next release of its column.

        Raises:
            UnknownItem: nothing of that id is published.
            DeskBusy: another job holds the folder.
        """
        with self._held():
            before = self.catalogue()
            catalogue, item = without_item(before, item_id)
            column = before.column(item.column_id)
            assert column is not None, "an item is read from its column's channel"
            self._publish(catalogue, column, add={}, remove=item.paths(), now=now)
        return item

    def _publish(
        self, edited: Catalogue, column: Column, *, add: Mapping[str, Path], remove: Collection[str], now: datetime
    ) -> None:
        """Sign the change of one column, and the list of columns when that changed too, as one publication."""
        items = tuple(item for item in edited.courseware if item.column_id == column.column_id)
        content = encode_catalogue(Catalogue(columns=(column,), courseware=items))
        evictable = {each.path for item in items if item.item_class is ItemClass.SERVICE for each in item.renditions}
        changes = {
            column_channel(column.column_id): Change(
                add={**add, CATALOGUE_PATH: content},
                remove=remove,
                priority=dict.fromkeys(evictable & add.keys(), EVICTABLE),
            ),
            INDEX_CHANNEL: Change(add={CATALOGUE_PATH: encode_catalogue(Catalogue(columns=edited.columns))}),
        }
        listings = self._publisher.publish_many(changes, now)
        self._publications.note({channel: listing.seq for channel, listing in listings.items()})

    def _read(self, channel: str) -> Catalogue:
        if CATALOGUE_PATH not in self._publisher.files(channel):
            return Catalogue()
        return decode_catalogue(self._publisher.read(channel, CATALOGUE_PATH))

    def refresh(self, now: datetime) -> None:
        """Sign the freshness metadata anew; edges refuse to update from metadata that has run out."""
        self._publisher.refresh(now)

    def rotate_keys(self, names: Collection[str], now: datetime) -> None:
        """Replace signing keys, by name or role.

        Raises:
            sync.SyncError: it could not be done; no key was replaced.
        """
        with self._held():
            self._publisher.rotate_keys(names, now)

    @property
    def offline_due(self) -> datetime:
        """When the offline keys are needed again, to sign what runs out then."""
        return self._publisher.offline_due

    @property
    def publication(self) -> int:
        """How often something was published here."""
        return self._publications.count

    def since_publication(self, number: int) -> dict[str, int]:
        """Return which release of each channel was the newest at that publication."""
        return self._publications.seqs_at(number)

    def since_receipts(self, folder: Path) -> tuple[dict[str, int], tuple[tuple[str, str], ...]]:
        """Return from where on all edges whose receipts lie there can go on, and which receipts were refused.

        Raises:
            sync.SyncError: there is no such folder, or too much in it.
        """
        receipts = read_receipts(folder)
        return since_of(receipts.found), receipts.refused

    def plan_bundle(self, since: Mapping[str, int], max_bytes: int | None, now: datetime) -> BundlePlan:
        """Decide what goes onto which stick, with fresh signatures. See sync.bundle.plan."""
        self._publisher.refresh(now)
        return plan_bundle(self._publisher, since, max_bytes=max_bytes)

    def write_part(self, plan: BundlePlan, part: int, out: Path, now: datetime) -> PartReport:
        """Write one stick. See sync.bundle.export."""
        return write_part(self._publisher, plan, part, out, now)

    def prune(self) -> Pruned:
        """Remove published files that no current release, nor the one before it, needs."""
        with self._held():
            return self._publisher.prune()

    @property
    def published(self) -> Path:
        """The folder of static files to serve."""
        return self._publisher.published

    @property
    def trust_anchor(self) -> Path:
        """The file that every edge server needs once, by a trusted way."""
        return self._publisher.trust_anchor

    @property
    def offline_keys(self) -> Path:
        """Where ``init`` put the keys that belong off line."""
        return self._root / "keys" / "offline"

    @contextmanager
    def _held(self) -> Iterator[None]:
        with (self._root / "desk.lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DeskBusy(
                    "另一个发布任务正在进行，请稍后再试 / another publish is running; try again later"
                ) from error
            yield

    @contextmanager
    def _workdir(self) -> Iterator[Path]:
        """Give a folder that is gone afterwards; also sweep what a killed job left."""
        work = self._root / "work"
        work.mkdir(exist_ok=True)
        for left in work.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=work))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def init(root: Path, now: datetime, *, area: str) -> Desk:
    """Make a new platform folder with its keys, for one area (empty: for every edge).

    Raises:
        sync.publishing.PublishError: the folder already holds a platform.
    """
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o750)
    Publisher.init(root, now, area=area)
    return Desk(root)
