"""One publishing folder on disk: who may write, what is published, which keys sign, and the index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from sync import Corrupt
from sync.head import head_path
from sync.ids import check_channel
from sync.publishing.cards import CardShelf
from sync.publishing.history import Era, History
from sync.publishing.index import Index, IndexDamaged
from sync.publishing.outbox import Outbox
from sync.publishing.reading import Current, read_current
from sync.publishing.rebuild import index_listing, restart_history
from sync.store.files import locked, make_directory, write_file
from sync.trust.keys import Keys
from sync.trust.signing import TIMESTAMP_NAME, Ledger

_SETTINGS_NAME = "publisher.json"


class _Settings(msgspec.Struct, frozen=True, kw_only=True):
    area: str


class Folder:
    """``published/``, ``keys/``, ``incoming/``, ``index.sqlite``, ``publisher.json`` and ``publish.lock``."""

    def __init__(self, root: Path, offline_keys: Path | None) -> None:
        """Nothing is read yet."""
        self.root, self.published = root, root / "published"
        self.keys = Keys(root / "keys", offline=offline_keys)
        self._index = root / "index.sqlite"
        self._checked = False

    @property
    def area(self) -> str:
        """For whom the channels are.

        Raises:
            Corrupt: the settings are damaged.
        """
        path = self.root / _SETTINGS_NAME
        try:
            return check_area(msgspec.json.decode(path.read_bytes(), type=_Settings).area)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Corrupt(f"{path} cannot be read: {error}") from error

    def keep_area(self, area: str) -> None:
        """Write down for whom the channels are."""
        write_file(self.root / _SETTINGS_NAME, msgspec.json.encode(_Settings(area=check_area(area))))

    def metadata(self, name: str) -> Path:
        """Return where a file of signed metadata lies."""
        return self.published / "metadata" / name

    def ledger(self) -> Ledger:
        """Read the signed metadata.

        Raises:
            Corrupt: it was damaged.
        """
        return Ledger.read(lambda name: self.metadata(name).read_bytes())

    def taken(self, name: str) -> bool:
        """Tell whether there is signed metadata of that name, in force or not."""
        return self.metadata(name).exists()

    def current(self, ledger: Ledger, channel: str) -> Current | None:
        """Read the newest release of a channel; None when there is none.

        Raises:
            Corrupt: something that an edge would need is missing or damaged.
        """
        target = ledger.target(head_path(channel))
        return read_current(self.published, channel, target.hashes["sha256"]) if target else None

    @contextmanager
    def alone(self) -> Iterator[Outbox]:
        """Be the only one who writes.

        Raises:
            Busy: somebody else does.
        """
        make_directory(self.root)
        with locked(self.root / "publish.lock", f"the publishing folder {self.root}"):
            yield Outbox(self.published, self.root / "incoming")

    def sign(self, outbox: Outbox, ledger: Ledger) -> None:
        """Write signed metadata, each file durable before the next; what it leads to is in place already."""
        for name, data in ledger.files():
            if name == TIMESTAMP_NAME:
                outbox.replace(f"metadata/{name}", data)
            else:
                outbox.put(f"metadata/{name}", data)
            outbox.settle()

    @contextmanager
    def index(self) -> Iterator[Index]:
        """Open the index; make it anew when it is lost or damaged. Only within ``alone``."""
        try:
            index = Index(self._index, check=not self._checked)
        except IndexDamaged:
            self.reindex()
            index = Index(self._index)
        self._checked = True
        try:
            yield index
        finally:
            index.close()

    def reindex(self) -> None:
        """Make the index anew from what is published. Only within ``alone``.

        Raises:
            Corrupt: signed metadata, a head or a listing was damaged.
        """
        index = Index(self._index, build=True)
        try:
            ledger, cards = self.ledger(), CardShelf(self.published)
            for channel in channels_of(ledger):
                if current := self.current(ledger, channel):
                    index_listing(index, cards, current.listing)
                    restart_history(History(index, channel), self.published, current)
            index.built()
        finally:
            index.close()

    def era(self, index: Index, channel: str, current: Current | None) -> Era:
        """Return how far back the history of a channel reaches; make it anew when it is lost."""
        history = History(index, channel)
        if current is None:
            history.era(0, "")  # drops leftovers
            return Era(1, True)
        era = history.era(current.listing.seq, current.head_sha256)
        return era or restart_history(history, self.published, current)


def channels_of(ledger: Ledger) -> tuple[str, ...]:
    """Return the names of the channels that the metadata names, sorted."""
    parts = (path.split("/") for path in ledger.paths())
    return tuple(sorted(each[1] for each in parts if len(each) == 3 and each[::2] == ["ch", "head.json"]))


def check_area(area: str) -> str:
    """Return the area unchanged.

    Raises:
        Corrupt: it is misspelt.
    """
    if area:
        check_channel(area)
    return area
