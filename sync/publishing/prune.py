"""Making room: what belongs to no release that is kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sync.card import card_path
from sync.ids import is_sha256
from sync.publishing.cards import CardShelf
from sync.publishing.history import Before, History
from sync.publishing.index import Index
from sync.publishing.packs import pack_path
from sync.publishing.reading import Current, all_steps, release_path, skips_path, target_path
from sync.trust.signing import Ledger

METADATA_VERSIONS_KEPT = 16
_METADATA = re.compile(r"([1-9][0-9]*)\.([a-z0-9-]+)\.json")


@dataclass(frozen=True)
class Pruned:
    """What was removed."""

    cards: int = 0
    packs: int = 0
    others: int = 0
    """Release objects, skip lists, heads and signed metadata."""
    freed_bytes: int = 0


def kept_objects(index: Index, current: Current, keep_releases: int) -> dict[str, Before] | None:
    """Return the objects of the current listing of a channel and of those before it; None when they are not known."""
    objects = {file.sha256: Before(file.sha256, file.recipe_sha256) for file in current.listing.files.values()}
    before = History(index, current.listing.channel).objects_before(current.listing.seq, keep_releases)
    if before is None:
        return None
    return {**{each.sha256: each for each in before}, **objects}


def kept_names(index: Index, current: Current) -> set[str]:
    """Return the small files to which the current release of a channel leads, or the one before."""
    head, skips = current.head, current.skips
    names = {target_path(head.channel, current.head_sha256), skips_path(head.skips[0]), release_path(skips.full[1])}
    names.update(release_path(step.sha256) for step in all_steps(head, skips))
    with index.reading() as database:
        rows = database.execute(
            "select path from litter where channel = ? and seq >= ?", (head.channel, head.seq - 1)
        ).fetchall()
    return names.union(row[0] for row in rows)


def prune(
    published: Path, index: Index, cards: CardShelf, ledger: Ledger, objects: Mapping[str, Before], names: set[str]
) -> Pruned:
    """Remove everything but these objects, what they are made of, and these small files.

    The index forgets first, so that it never speaks of a pack that is gone.

    Raises:
        Corrupt: a card that is kept is missing or damaged, so that nobody knows which packs it needs. Nothing was
            removed.
    """
    keep = {card_path(sha256) for sha256 in objects}
    for each in objects.values():
        keep.update(pack_path(pack) for pack in cards.card(each.sha256, each.recipe_sha256).packs)
    stale_cards = _others(published, "cards/*/*", keep)
    stale_packs = _others(published, "packs/*/*", keep)
    others = [*_others(published, "releases/*", names), *_others(published, "skips/*", names)]
    others += [*_others(published, "targets/ch/*/*", names), *_old_metadata(published, ledger)]
    for path in stale_cards:
        index.remove_object(path.name)
    for path in stale_packs:
        index.remove_pack(path.name)
    with index.reading() as database:
        rows = ((str(path.relative_to(published)),) for path in others)
        database.executemany("delete from litter where path = ?", rows)
    index.commit()
    freed = 0
    for path in [*stale_cards, *stale_packs, *others]:
        freed += path.stat().st_size
        path.unlink()
    return Pruned(len(stale_cards), len(stale_packs), len(others), freed)


def _others(published: Path, pattern: str, keep: Iterable[str]) -> list[Path]:
    kept = {published / name for name in keep}
    return [
        path
        for path in published.glob(pattern)
        if path not in kept and (is_sha256(path.name) or path.name.endswith(".head.json")) and path.is_file()
    ]


def _old_metadata(published: Path, ledger: Ledger) -> list[Path]:
    newest = {}
    for name, _ in ledger.files():
        if match := _METADATA.fullmatch(name):
            newest[match[2]] = int(match[1])
    newest.pop("root")
    return [
        path
        for path in (published / "metadata").iterdir()
        if (match := _METADATA.fullmatch(path.name))
        and int(match[1]) <= newest.get(match[2], 0) - METADATA_VERSIONS_KEPT
    ]
