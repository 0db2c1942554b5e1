"""Writing one stick of a plan.

The label is taken away first and written last, so that a stick is either a whole bundle or says that it is unfinished.
Going on after an interruption costs reading what is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from tuf.api.metadata import Metadata, Timestamp

from sync import Corrupt, NoSpace, Unreachable
from sync.bundle.label import Label, Listed, encode_label, make_label
from sync.bundle.names import (
    LABEL_NAME,
    OUR_FOLDERS,
    RECEIPTS_FOLDER,
    TIMESTAMP,
    UNFINISHED_NAME,
    check_portable,
    is_pack,
    longest_bytes,
)
from sync.bundle.plan import BundlePlan, pieces_of, plan_bundle
from sync.bundle.stick import NotPlain, Stick
from sync.ids import sha256_hex
from sync.listing import write_moment
from sync.publishing import Publisher, PublishError

__all__ = ["BundlePlan", "PartReport", "plan_bundle", "write_part"]

LEFT_OVER_MAX = 1_000_000
"""Files in one folder of a stick that is written again."""


@dataclass(frozen=True)
class PartReport:
    """What was written onto one stick."""

    bundle: str
    part: int
    parts: int
    files: int
    bytes: int
    """Of all files that the stick now carries."""
    written_bytes: int
    kept_bytes: int
    """Of files that were there already."""
    removed: int
    """Files of an earlier bundle."""


def write_part(publisher: Publisher, plan: BundlePlan, part: int, out: Path, now: datetime) -> PartReport:
    """Write one stick, or go on writing it: files that are there with the right content are left alone.

    Of a bundle that was there before, files with names like ours are removed; everything else on the stick stays.

    Args:
        publisher: The same as for the plan.
        plan: What to write.
        part: 1 … plan.parts.
        out: The stick, or a folder on it, which is made if need be.
        now: When; the stick is good for BUNDLE_EXPIRY_DAYS from then.

    Raises:
        ValueError: no such part.
        PublishError: something was published since the plan was made, or ``out`` is no place for a bundle.
        NoSpace: the stick is too small; it was not touched yet, or filled up meanwhile.
        Corrupt: a published file was damaged.
        KeyUnavailable: the timestamp key cannot be read.
        Unreachable: the stick is not there, or was pulled out.
        OSError: the stick cannot be written to.
    """
    if not 1 <= part <= plan.parts:
        raise ValueError(f"stick {part} of {plan.parts}")
    timestamp = publisher.bundle_timestamp(now)
    if Metadata[Timestamp].from_bytes(timestamp).signed.snapshot_meta.version != plan.snapshot:
        raise PublishError("something was published since this export was begun; begin it again")
    listed = Listed(TIMESTAMP, len(timestamp), sha256_hex(timestamp))
    label = make_label(plan.content, part, listed, write_moment(now))
    check_portable([LABEL_NAME, UNFINISHED_NAME, RECEIPTS_FOLDER, *(file.name for file in label.files)])
    stick = _stick_at(out, publisher.published)
    left_over = _left_over(stick, {file.name for file in label.files})
    _check_room(stick, label, left_over)
    stick.write(UNFINISHED_NAME, [plan.bundle.encode()], len(plan.bundle))
    stick.remove(LABEL_NAME)
    stick.settle()
    for name in left_over:
        stick.remove(name)
    written = _copy(stick, label, publisher.published, timestamp)
    stick.settle()
    raw = encode_label(label)
    stick.write(LABEL_NAME, [raw], len(raw))
    stick.settle()
    stick.remove(UNFINISHED_NAME)
    stick.settle()
    whole = sum(file.length_bytes for file in label.files)
    return PartReport(
        plan.bundle, part, plan.parts, len(label.files), whole + len(raw), written, whole - written, len(left_over)
    )


def _stick_at(out: Path, published: Path) -> Stick:
    """Return the stick when it is a place for a bundle."""
    here, there = out.resolve(), published.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise PublishError(f"{out} belongs to the publishing folder; choose a folder on a stick")
    try:
        out.mkdir(exist_ok=True)  # not its parents: where no stick is mounted they may be missing
    except FileNotFoundError as error:
        raise Unreachable(f"there is no folder {out.parent}; is the stick plugged in and mounted?") from error
    stick = Stick(out)
    try:
        begun = stick.length(LABEL_NAME) is not None or stick.length(UNFINISHED_NAME) is not None
    except NotPlain as error:
        raise PublishError(f"{out}: {error}; choose another stick") from error
    taken = {name for name, _ in stick.entries("", LEFT_OVER_MAX)}.intersection(OUR_FOLDERS)
    if taken and not begun:
        raise PublishError(f"{out} holds {', '.join(sorted(taken))} of something else; choose an empty folder")
    return stick


def _left_over(stick: Stick, wanted: Collection[str]) -> list[str]:
    """Return the files with names like ours that do not belong to this bundle."""
    found = []
    folders = list(OUR_FOLDERS)
    while folders:
        folder = folders.pop()
        for name, is_folder in stick.entries(folder, LEFT_OVER_MAX):
            path = f"{folder}/{name}"
            if is_folder and path.count("/") < 3:
                folders.append(path)
            elif not is_folder and path not in wanted and longest_bytes(path) is not None:
                found.append(path)
    return sorted(found)


def _check_room(stick: Stick, label: Label, left_over: Collection[str]) -> None:
    """Find out before anything is touched whether all of it will fit."""
    needed = stick.on_disk_bytes(len(msgspec.json.encode(label)))
    for file in label.files:
        there = _length(stick, file.name)
        if there != file.length_bytes:
            needed += stick.on_disk_bytes(file.length_bytes) - stick.on_disk_bytes(there or 0)
    free = stick.free_bytes() + sum(stick.on_disk_bytes(_length(stick, name) or 0) for name in left_over)
    if needed > free:
        raise NoSpace(needed, free)


def _length(stick: Stick, name: str) -> int | None:
    try:
        return stick.length(name)
    except NotPlain:
        return None


def _copy(stick: Stick, label: Label, published: Path, timestamp: bytes) -> int:
    """Copy what is not there; packs first, then the small files, the timestamp last. Returns the bytes written."""
    written = 0
    for file in sorted(label.files, key=lambda file: (not is_pack(file.name), file.name == TIMESTAMP)):
        if stick.holds(file.name, file.length_bytes, file.sha256):
            continue
        pieces = iter([timestamp]) if file.name == TIMESTAMP else _proven(published, file)
        stick.write(file.name, pieces, file.length_bytes)
        written += file.length_bytes
    return written


def _proven(published: Path, file: Listed) -> Iterator[bytes]:
    """Yield a published file; raises instead of ending when it was not the planned one."""
    digest, length = hashlib.sha256(), 0
    for piece in pieces_of(published / file.name):
        digest.update(piece)
        length += len(piece)
        yield piece
    if (length, digest.hexdigest()) != (file.length_bytes, file.sha256):
        raise Corrupt(f"{published / file.name} was damaged, or replaced since the plan was made")
