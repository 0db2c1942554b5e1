"""Names of the files of a bundle: which are ours, how long they may be, and whether a stick can hold them.

The names and lengths are those of ``docs/formats/sync.md`` §1; a bundle is a folder of such files with a label
(``sync.bundle.label``), and mostly lies on a FAT32 or exFAT stick.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sync import Corrupt
from sync.card import CARD_MAX_BYTES
from sync.head import HEAD_MAX_BYTES, SKIPS_MAX_BYTES
from sync.places import PACK_MAX_BYTES
from sync.release import RELEASE_MAX_BYTES
from sync.trust import ROOT_MAX_BYTES, SNAPSHOT_METADATA_MAX_BYTES, TARGETS_MAX_BYTES, TIMESTAMP_MAX_BYTES

LABEL_NAME = "bundle.json"
UNFINISHED_NAME = "bundle.unfinished"
"""There while a bundle is being written: then there is no label yet."""
RECEIPTS_FOLDER = "receipts"
TIMESTAMP = "metadata/timestamp.json"
OUR_FOLDERS = ("metadata", "targets", "releases", "skips", "cards", "packs")

PART_MAX_LETTERS = 255
"""Of one part of a name, on FAT32, exFAT and NTFS alike."""

_HASH = r"[0-9a-f]{64}"
_KINDS = tuple(
    (re.compile(pattern), most_bytes)
    for pattern, most_bytes in (
        (r"metadata/timestamp\.json", TIMESTAMP_MAX_BYTES),
        (r"metadata/[1-9][0-9]{0,15}\.snapshot\.json", SNAPSHOT_METADATA_MAX_BYTES),
        (r"metadata/[1-9][0-9]{0,15}\.(?:targets|ch-[0-9a-f]{1,8})\.json", TARGETS_MAX_BYTES),
        (r"metadata/[1-9][0-9]{0,15}\.root\.json", ROOT_MAX_BYTES),
        (rf"targets/ch/[a-z0-9][a-z0-9_-]{{0,63}}/{_HASH}\.head\.json", HEAD_MAX_BYTES),
        (rf"releases/{_HASH}", RELEASE_MAX_BYTES),
        (rf"skips/{_HASH}", SKIPS_MAX_BYTES),
        (r"cards/([0-9a-f]{2})/\1[0-9a-f]{62}", CARD_MAX_BYTES),
        (r"packs/([0-9a-f]{2})/\1[0-9a-f]{62}", PACK_MAX_BYTES),
    )
)
_NAMED_BY_HASH = re.compile(rf"(?:releases/|skips/|packs/../|targets/ch/[^/]+/)({_HASH})(?:\.head\.json)?")
_HEAD = re.compile(rf"targets/ch/([^/]+)/{_HASH}\.head\.json")
_NEEDED_METADATA = tuple(re.compile(rf"metadata/{name}") for name in (r"timestamp\.json", r"\d+\.root\.json"))
_NEEDED_METADATA += tuple(re.compile(rf"metadata/\d+\.{name}\.json") for name in ("snapshot", "targets"))

_UNPORTABLE = re.compile(r'[<>:"\\|?*\x00-\x1f\x7f]')
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|\Z)", re.IGNORECASE)


def longest_bytes(name: str) -> int | None:
    """Return how long a published file of that name may be; None when it is no name of ours."""
    return next((most_bytes for pattern, most_bytes in _KINDS if pattern.fullmatch(name)), None)


def hash_in(name: str) -> str | None:
    """Return the hash of the content that the name tells; None for names that tell none (cards, metadata)."""
    match = _NAMED_BY_HASH.fullmatch(name)
    return match[1] if match else None


def channel_of_head(name: str) -> str | None:
    """Return whose head it is; None when it is no head."""
    match = _HEAD.fullmatch(name)
    return match[1] if match else None


def is_pack(name: str) -> bool:
    """Tell whether it is the name of a pack."""
    return name.startswith("packs/")


def is_signature(name: str) -> bool:
    """Tell whether it is the name of signed metadata."""
    return name.startswith("metadata/")


def has_signatures(names: Iterable[str]) -> bool:
    """Tell whether there is a timestamp, and at least one root, snapshot and targets document."""
    signed = [name for name in names if is_signature(name)]
    return all(any(pattern.fullmatch(name) for name in signed) for pattern in _NEEDED_METADATA)


def check_portable(names: Iterable[str]) -> None:
    """Check that FAT32, exFAT and NTFS can hold all these names beside each other, and Windows can read them.

    Raises:
        Corrupt: a letter or word that they refuse, a part that is too long, or names that differ in case only.
    """
    spelt: dict[str, str] = {}
    for name in names:
        for part in name.split("/"):
            bad = not part or part[-1] in ". " or _UNPORTABLE.search(part) or _DEVICE.match(part)
            if bad or len(part.encode("utf-16-le")) // 2 > PART_MAX_LETTERS:
                raise Corrupt(f"a stick cannot hold the name {name[:200]!r}, because of {part[:80]!r}")
        # A folder counts as well: two spellings of it would become one.
        steps = name.split("/")
        for length in range(1, len(steps) + 1):
            path = "/".join(steps[:length])
            other = spelt.setdefault(path.casefold(), path)
            if other != path:
                raise Corrupt(f"a stick cannot tell {other[:200]!r} from {path[:200]!r}")
