"""What a stick must carry for an edge that holds a certain release."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sync import Corrupt
from sync.card import card_path
from sync.head import Head, Skips, Step, route
from sync.listing import NamedFile
from sync.publishing.cards import CardShelf, raw_recipe, recipe_in, spots
from sync.publishing.history import Before
from sync.publishing.packs import pack_path
from sync.publishing.reading import all_steps, read_head, read_release, release_path, skips_path, target_path
from sync.recipe import decode_recipe
from sync.trust.signing import Ledger


@dataclass(frozen=True)
class ExportSet:
    """Names of files to copy. Packs first, then the small files in their order: what is signed last comes last."""

    files: tuple[str, ...]
    """Small files; ``metadata/timestamp.json`` is the last (a bundle has its own in that place)."""
    packs: tuple[tuple[str, int], ...]
    """Name and length in bytes."""


def export_set(
    published: Path,
    ledger: Ledger,
    channel: str,
    head_sha256: str,
    since_seq: int,
    *,
    held: Iterable[Before] = (),
) -> ExportSet:
    """Return what an edge needs that holds release ``since_seq`` or a later one; 0: nothing.

    Args:
        published: The published folder.
        ledger: What is signed.
        channel: Whose release.
        head_sha256: Of the newest head.
        since_seq: Release that the edge holds.
        held: Objects of that release; packs that have only units of these stay behind.

    Raises:
        Corrupt: something of it is missing or damaged.
    """
    head, skips = read_head(published, channel, head_sha256)
    touched: dict[str, NamedFile] = {}
    needed = _steps(since_seq, head, skips)
    for step in needed:
        touched.update((file.sha256, file) for file in read_release(published, step).add)
    cards, packs = CardShelf(published), dict[str, int]()
    known = _units(cards, held)
    for file in touched.values():
        card = cards.card(file.sha256, file.recipe_sha256)
        for digest, pack, *_ in spots(card, recipe_in(card, file.length_bytes)):
            if digest not in known:
                packs[pack_path(pack)] = 0
    for name in packs:
        try:
            packs[name] = (published / name).stat().st_size
        except FileNotFoundError as error:
            raise Corrupt(f"{name} is missing") from error
    metadata = dict.fromkeys(
        [*(f"{version}.root.json" for version in range(1, ledger.root.version + 1)), *(n for n, _ in ledger.files())]
    )
    files = (
        *(card_path(sha256) for sha256 in touched),
        *dict.fromkeys(release_path(step.sha256) for step in needed),
        skips_path(head.skips[0]),
        target_path(channel, head_sha256),
        *(f"metadata/{name}" for name in metadata),
    )
    return ExportSet(files, tuple(packs.items()))


def _units(cards: CardShelf, held: Iterable[Before]) -> set[bytes]:
    """Return the hashes of all units of these objects, as far as their cards are still there."""
    known: set[bytes] = set()
    for each in held:
        if not each.sha256:
            continue
        try:
            card = cards.card(each.sha256, each.recipe_sha256)
            raw = raw_recipe(card)
            recipe = decode_recipe(raw, sha256=each.sha256, length_bytes=int.from_bytes(raw[4:12], "big"))  # §7
        except Corrupt:
            continue  # pruned or damaged: then the bundle carries more than it must
        known.update(recipe.unit_hash(ordinal) for ordinal in range(recipe.units))
    return known


def _steps(since_seq: int, head: Head, skips: Skips) -> list[Step]:
    """Return the release objects for every edge that holds ``since_seq`` or more."""
    if since_seq >= head.seq:
        return []
    way = route(since_seq, head, skips)
    # An edge that is further on than the stick was made for takes a step from a later base.
    later = [step for step in all_steps(head, skips) if step.base > way[-1].base]
    return [*later, *way]
