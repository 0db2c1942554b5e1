"""What a stick must carry for an edge that holds a certain release."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sync import Corrupt
from sync.card import card_path
from sync.head import Head, Skips, Step, route
from sync.listing import NamedFile
from sync.publishing.cards import CardShelf
from sync.publishing.packs import pack_path
from sync.publishing.reading import all_steps, read_head, read_release, release_path, skips_path, target_path
from sync.trust.signing import Ledger


@dataclass(frozen=True)
class ExportSet:
    """Names of files to copy. Packs first, then the small files in their order: what is signed last comes last."""

    files: tuple[str, ...]
    """Small files; ``metadata/timestamp.json`` is the last (a bundle has its own in that place)."""
    packs: tuple[tuple[str, int], ...]
    """Name and length in bytes."""


def export_set(published: Path, ledger: Ledger, channel: str, head_sha256: str, since_seq: int) -> ExportSet:
    """Return what an edge needs that holds release ``since_seq`` or a later one; 0: nothing.

    Raises:
        Corrupt: something of it is missing or damaged.
    """
    head, skips = read_head(published, channel, head_sha256)
    touched: dict[str, NamedFile] = {}
    needed = _steps(since_seq, head, skips)
    for step in needed:
        touched.update((file.sha256, file) for file in read_release(published, step).add)
    cards, packs = CardShelf(published), dict[str, int]()
    for file in touched.values():
        for pack in cards.card(file.sha256, file.recipe_sha256).packs:
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


def _steps(since_seq: int, head: Head, skips: Skips) -> list[Step]:
    """Return the release objects for every edge that holds ``since_seq`` or more."""
    if since_seq >= head.seq:
        return []
    way = route(since_seq, head, skips)
    # An edge that is further on than the stick was made for takes a step from a later base.
    later = [step for step in all_steps(head, skips) if step.base > way[-1].base]
    return [*later, *way]
