"""Making one release of one channel: the files of it, in the order in which they must be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sync.head import HEAD_FORMAT, SKIPS_FORMAT, Head, Skips, encode_head, encode_skips
from sync.ids import sha256_hex
from sync.listing import Listing, NamedFile, listing_root, write_moment
from sync.publishing.cards import CardShelf
from sync.publishing.deltas import Deltas
from sync.publishing.history import NOTHING, Before, Era, History
from sync.publishing.index import Index
from sync.publishing.intake import Taken
from sync.publishing.reading import Current, release_path, skips_path, target_path
from sync.publishing.releases import Composer, plan
from sync.release import differing, encode_release

KIN_MAX = 4
"""Removed names with the same ending that a new name is compared with, when it shares no unit with anything."""


@dataclass(frozen=True)
class Issue:
    """A release that is made but not written."""

    listing: Listing
    head: bytes
    files: tuple[tuple[str, bytes], ...]
    """Name and content, in the order of writing; the head is the last."""
    keeps: tuple[str, ...]
    """Names of all release objects and skip lists that the head leads to, new or not."""
    befores: Mapping[str, Before]
    floor: int


def issue(
    area: str,
    previous: Current | None,
    era: Era,
    listing: Listing,
    taken: Mapping[str, Taken],
    *,
    index: Index,
    cards: CardShelf,
) -> Issue:
    """Make the release that leads from the previous one to this listing.

    Args:
        area: For the head.
        previous: What is published now.
        era: How far the history of the channel reaches.
        listing: Of seq one more; not the same as the previous.
        taken: By name, what was taken in for this release.
        index: Where history and patches are kept.
        cards: Of all objects in both listings.
    """
    channel, seq = listing.channel, listing.seq
    history, deltas = History(index, channel), Deltas(index, cards)
    old = previous.listing.files if previous else {}
    befores = {
        name: _before(old.get(name)) for name in sorted(differing(previous.listing if previous else None, listing))
    }
    floor = history.floor_after(seq, era.floor, len(befores)) if previous else seq
    planned = plan(seq, previous.skips.full[0] if previous else seq, floor)
    deltas.forget({before.recipe_sha256 for before in befores.values()} - _recipes(listing))
    composer = Composer(listing, cards, deltas, _relatives(old, listing, befores, taken))
    merged = history.befores(seq - 1, planned.bases)
    composer.look(history.names_after(planned.bases[-1] if planned.bases else seq).union(befores))
    files: dict[str, bytes] = {}

    def written(raw: bytes) -> tuple[str, int]:
        sha256 = sha256_hex(raw)
        files[release_path(sha256)] = raw
        return sha256, len(raw)

    release = written(encode_release(composer.plain(seq - 1, befores)))
    steps = []
    for base, held in merged:
        # What the names held at the base; this release's own only where no release since touched them.
        raw = encode_release(composer.merged(base, {**befores, **held}))
        steps.append((base, *written(raw)))
    if planned.full_seq < seq and previous:
        full = previous.skips.full
    else:
        full = (seq, *written(encode_release(composer.full())))
    skips = encode_skips(Skips(format=SKIPS_FORMAT, channel=channel, seq=seq, full=full, steps=steps))
    files[skips_path(sha256_hex(skips))] = skips
    head = encode_head(
        Head(
            format=HEAD_FORMAT,
            area=area,
            channel=channel,
            seq=seq,
            issued=write_moment(listing.issued),
            root=listing_root(listing),
            files=len(listing.files),
            release=release,
            skips=(sha256_hex(skips), len(skips)),
        )
    )
    files[target_path(channel, sha256_hex(head))] = head
    return Issue(listing, head, tuple(files.items()), (*files, release_path(full[1])), befores, floor)


def _before(file: NamedFile | None) -> Before:
    return Before(file.sha256, file.recipe_sha256) if file else NOTHING


def _recipes(listing: Listing) -> set[str]:
    return {file.recipe_sha256 for file in listing.files.values()}


def _relatives(
    old: Mapping[str, NamedFile], listing: Listing, befores: Mapping[str, Before], taken: Mapping[str, Taken]
) -> dict[str, tuple[Before, ...]]:
    """Return for each object the ones of the listing before that it may be an edition of, under another name."""
    nearest = {each for new in taken.values() for each in new.relatives}
    recipes = {file.sha256: file.recipe_sha256 for file in old.values() if file.sha256 in nearest}
    gone: dict[str, list[Before]] = {}
    for name, before in befores.items():
        if name not in listing.files:
            gone.setdefault(_ending(name), []).append(before)
    found: dict[str, tuple[Before, ...]] = {}
    for name, new in taken.items():
        if name in befores:
            near = tuple(Before(each, recipes[each]) for each in new.relatives if each in recipes)
            kin = () if near or name in old else tuple(gone.get(_ending(name), ())[:KIN_MAX])
            found[new.sha256] = (*found.get(new.sha256, ()), *near, *kin)
    return found


def _ending(name: str) -> str:
    return name.rpartition(".")[2]
