"""Deciding what goes onto which stick: the same for the same publisher, edge and size, whenever it is asked.

Every stick carries all small files (metadata, heads, releases, skip lists, cards) and as many whole packs as fit, the
urgent ones first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sync import Corrupt, TooLong
from sync.bundle.label import Content, Listed, bundle_id, label_most_bytes
from sync.bundle.names import TIMESTAMP, check_portable, hash_in, is_signature, longest_bytes
from sync.bundle.split import by_urgency, split
from sync.bundle.stick import PIECE_BYTES
from sync.card import card_path
from sync.head import decode_head
from sync.listing import NamedFile
from sync.publishing import ExportSet, Publisher, PublishError
from sync.publishing.cards import CardShelf
from sync.publishing.packs import pack_path
from sync.trust import TIMESTAMP_MAX_BYTES

_ATTEMPTS_MAX = 5
"""To read a state that no publishing changes meanwhile."""


@dataclass(frozen=True)
class BundlePlan:
    """What goes onto which stick."""

    content: Content
    bundle: str
    """Names the set; the same plan made again has the same name."""
    snapshot: int
    """Version of the snapshot metadata that the timestamp must name."""
    max_bytes: int | None

    @property
    def parts(self) -> int:
        """How many sticks."""
        return len(self.content.packs)

    @property
    def is_empty(self) -> bool:
        """Whether it brings nothing to edges that hold what they were said to hold."""
        return all(since == seq for since, seq in self.content.channels.values())

    def part_bytes(self, part: int) -> int:
        """Return how many bytes of files are on stick 1 … parts, without timestamp and label."""
        return sum(file.length_bytes for file in (*self.content.small, *self.content.packs[part - 1]))


def plan_bundle(
    publisher: Publisher,
    since: Mapping[str, int],
    *,
    max_bytes: int | None = None,
    channels: Collection[str] | None = None,
) -> BundlePlan:
    """Decide what goes onto which stick; writes nothing.

    Args:
        publisher: Whose newest releases.
        since: By channel: the release that every edge concerned holds. 0 or absent: everything. Greater than the
            newest release: not believed, everything.
        max_bytes: Of all files on one stick; None: all on one.
        channels: Only these; None: all.

    Raises:
        PublishError: there is no such channel, or no channel at all, or the publisher is publishing all the time.
        TooSmall: a stick cannot hold the small files and one pack.
        Corrupt: the published files were damaged, or a name is one that sticks cannot hold.
    """
    for _ in range(_ATTEMPTS_MAX):
        plan = _plan(publisher, since, max_bytes, channels)
        if plan is not None:
            return plan
    raise PublishError("releases are being published all the time; export again when that is done")


def _plan(
    publisher: Publisher, since: Mapping[str, int], max_bytes: int | None, channels: Collection[str] | None
) -> BundlePlan | None:
    """Return a plan, None when something was published meanwhile."""
    wanted = sorted(set(publisher.channels() if channels is None else channels))
    if not wanted:
        raise PublishError("nothing was published yet")
    published = publisher.published
    small: dict[str, None] = {}
    packs: dict[str, tuple[int, int, int]] = {}
    lengths: dict[str, int] = {}
    spans: dict[str, tuple[int, int]] = {}
    signed: set[tuple[str, ...]] = set()
    for number, channel in enumerate(wanted):
        listing = publisher.listing(channel)
        if listing is None:
            raise PublishError(f"nothing was published on {channel}")
        begin = since.get(channel, 0)
        begin = begin if 0 <= begin <= listing.seq else 0
        exported = publisher.export_set(channel, begin)
        if _seq_of(published, exported, channel) != listing.seq:
            return None
        spans[channel] = (begin, listing.seq)
        signed.add(tuple(name for name in exported.files if is_signature(name)))
        objects = _objects(exported, listing.files.values())
        small.update(dict.fromkeys(name for name in exported.files if not name.startswith("cards/")))
        lengths.update(exported.packs)
        shelf = CardShelf(published)
        for order, file in enumerate(objects):
            small[card_path(file.sha256)] = None
            for pack in shelf.card(file.sha256, file.recipe_sha256).packs:
                if pack_path(pack) not in lengths:
                    continue  # it has nothing that the edge lacks
                urgency = (file.priority, number, order)
                packs[pack_path(pack)] = min(urgency, packs.get(pack_path(pack), urgency))
    if len(signed) != 1:
        return None
    small.pop(TIMESTAMP)
    check_portable([*small, *packs])
    files = tuple(_listed(published, name) for name in sorted(small, key=_order))
    ordered = [Listed(name, lengths[name], hash_in(name) or "") for name in by_urgency(packs)]
    most = label_most_bytes([*files, *ordered], len(spans))
    small_bytes = sum(file.length_bytes for file in files) + TIMESTAMP_MAX_BYTES + most
    content = Content(publisher.area, spans, files, split(ordered, small_bytes, max_bytes))
    return BundlePlan(content, bundle_id(content), _snapshot_of(files), max_bytes)


def _objects(exported: ExportSet, files: Collection[NamedFile]) -> list[NamedFile]:
    """Return the objects of the newest listing that the edge may lack, each once, with its most urgent file."""
    cards, found = set(exported.files), dict[str, NamedFile]()
    for file in files:
        if card_path(file.sha256) in cards:
            other = found.setdefault(file.sha256, file)
            if file.priority < other.priority:
                found[file.sha256] = file
    return list(found.values())


def _seq_of(published: Path, exported: ExportSet, channel: str) -> int:
    name = next(name for name in exported.files if name.startswith(f"targets/ch/{channel}/"))
    return decode_head((published / name).read_bytes()).seq


def _snapshot_of(files: Collection[Listed]) -> int:
    name = next(file.name for file in files if file.name.endswith(".snapshot.json"))
    return int(name.removeprefix("metadata/").partition(".")[0])


def _order(name: str) -> tuple[int, str]:
    """What is signed last comes last."""
    return ("cards", "releases", "skips", "targets", "metadata").index(name.partition("/")[0]), name


def _listed(published: Path, name: str) -> Listed:
    digest, length, most_bytes = hashlib.sha256(), 0, longest_bytes(name)
    if most_bytes is None:
        raise Corrupt(f"{name} is no published file that a bundle can carry")
    for piece in pieces_of(published / name):
        digest.update(piece)
        length += len(piece)
    if length > most_bytes:
        raise TooLong(f"{name} has {length} bytes; at most {most_bytes}")
    if hash_in(name) not in (None, digest.hexdigest()):
        raise Corrupt(f"{name} was damaged")
    return Listed(name, length, digest.hexdigest())


def pieces_of(path: Path) -> Iterator[bytes]:
    """Yield the content of a published file.

    Raises:
        Corrupt: it is missing.
    """
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except FileNotFoundError as error:
        raise Corrupt(f"{path} is missing") from error
