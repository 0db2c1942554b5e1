"""The publishing desk (编目): turns ingested courseware into the next signed snapshot, and takes items back."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from central_platform.ingest import ingest
from central_platform.publish.catalogue import (
    FIRST_ITEM_ID,
    checked_title,
    column_for,
    names_of,
    rfc3339,
    with_item,
    without_item,
)
from central_platform.publish.drafting import drafted
from central_platform.publish.numbers import Numbers
from domain.courseware import CATALOGUE_PATH, Catalogue, Courseware, ItemClass, decode_catalogue, encode_catalogue
from sync.publisher import Publisher


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


class Desk:
    """Publishes into one platform folder; one job at a time."""

    def __init__(self, root: Path, channel: str) -> None:
        """``root`` was made by ``init``; nothing is opened for writing yet."""
        self._root, self._channel = root, channel
        self._publisher = Publisher.open(root)
        self._numbers = Numbers(root / "numbers.json")

    def catalogue(self) -> Catalogue:
        """Read the published catalogue; empty before the first lesson."""
        if CATALOGUE_PATH not in self._publisher.files(self._channel):
            return Catalogue()
        return decode_catalogue(self._publisher.read(self._channel, CATALOGUE_PATH))

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
            )
            edited = encode_catalogue(with_item(catalogue, item))
            self._publisher.publish(self._channel, add={**files, CATALOGUE_PATH: edited}, remove=(), now=now)
        on_progress(1.0)
        return item

    def withdraw(self, item_id: str, now: datetime) -> Courseware:
        """Take an item out of the next snapshot.

        Raises:
            UnknownItem: nothing of that id is published.
            DeskBusy: another job holds the folder.
        """
        with self._held():
            catalogue, item = without_item(self.catalogue(), item_id)
            self._publisher.publish(
                self._channel, add={CATALOGUE_PATH: encode_catalogue(catalogue)}, remove=names_of(item), now=now
            )
        return item

    def refresh(self, now: datetime) -> None:
        """Sign the freshness metadata anew; edges refuse to update from metadata that has run out."""
        self._publisher.refresh(now)

    @property
    def published(self) -> Path:
        """The folder of static files to serve."""
        return self._publisher.published

    @property
    def trust_anchor(self) -> Path:
        """The file that every edge server needs once, by a trusted way."""
        return self._publisher.trust_anchor

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


def init(root: Path, channel: str, now: datetime) -> Desk:
    """Make a new platform folder with its keys.

    Raises:
        sync.publisher.PublishError: the folder already holds a platform.
    """
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o750)
    Publisher.init(root, now)
    return Desk(root, channel)
