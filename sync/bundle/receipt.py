"""Receipts: what an edge writes onto a stick after an import, and what a publisher makes of them when it comes back.

``receipts/<edge id>.json``; nobody signs them. A publisher believes of them no more than from which release on the
next stick should begin: a lie makes that stick too long or of no use for that edge, and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from sync import Corrupt, NoSpace, SyncError
from sync.bundle.label import CHANNELS_MAX, PARTS_MAX
from sync.bundle.names import LABEL_NAME, RECEIPTS_FOLDER, check_portable
from sync.bundle.stick import NotPlain, Stick
from sync.ids import CHANNEL_MAX_BYTES, check_channel
from sync.listing import SEQ_MAX, check_format, decode_json, read_moment, write_moment

RECEIPT_FORMAT = 1
RECEIPT_MAX_BYTES = 512 * 1024
RECEIPTS_MAX = 4096
"""In one folder."""
TEXT_MAX_LETTERS = 200
_SUFFIX = ".json"
_BYTES_MAX = 1 << 60

Text = Annotated[str, Meta(max_length=TEXT_MAX_LETTERS, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
Channels = Annotated[dict[str, Annotated[int, Meta(ge=0, le=SEQ_MAX)]], Meta(max_length=CHANNELS_MAX)]
Bytes = Annotated[int, Meta(ge=0, le=_BYTES_MAX)]


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken from the stick."""

    bundle: Text
    part: Annotated[int, Meta(ge=1, le=PARTS_MAX)]
    parts: Annotated[int, Meta(ge=1, le=PARTS_MAX)]
    channels: Channels
    """Release of each channel that was completed or begun with it."""
    bytes: Bytes
    """That were read from it for the import."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What an edge says of itself. Unknown members are ignored."""

    format: int = RECEIPT_FORMAT
    edge: Text
    time: str
    """By the edge's clock, which may be wrong, UTC."""
    channels: Channels
    """Release that is held in full; 0 for nothing."""
    missing_bytes: Bytes
    """Of objects that the newest known releases need and that are not here."""
    imported: Imported | None = None
    program: Text = ""
    """Version."""


@dataclass(frozen=True)
class Receipts:
    """What lay in a folder of receipts."""

    found: tuple[Receipt, ...]
    """By the name of the edge."""
    refused: tuple[tuple[str, str], ...]
    """Name of the file and why, for people."""


def make_receipt(
    edge: str,
    now: datetime,
    channels: dict[str, int],
    *,
    missing_bytes: int = 0,
    imported: Imported | None = None,
    program: str = "",
) -> Receipt:
    """Return a receipt.

    Raises:
        Corrupt: the edge's name cannot name a file (1 to 64 of ``a-z 0-9 _ -``), or a field is out of bounds.
    """
    receipt = Receipt(
        edge=edge,
        time=write_moment(now),
        channels=channels,
        missing_bytes=missing_bytes,
        imported=imported,
        program=program,
    )
    return decode_receipt(encode_receipt(receipt))


def encode_receipt(receipt: Receipt) -> bytes:
    """Write a receipt."""
    return msgspec.json.format(msgspec.json.encode(receipt), indent=1) + b"\n"


def decode_receipt(raw: bytes) -> Receipt:
    """Read a receipt.

    Raises:
        Corrupt: too long, not JSON of this shape, another format, or a field out of bounds.
    """
    if len(raw) > RECEIPT_MAX_BYTES:
        raise Corrupt(f"receipt of {len(raw)} bytes; at most {RECEIPT_MAX_BYTES}")
    receipt = decode_json(raw, Receipt, "receipt")
    check_format(receipt.format, RECEIPT_FORMAT)
    _file_name(receipt.edge)
    read_moment(receipt.time)
    for channel in [*receipt.channels, *(receipt.imported.channels if receipt.imported else ())]:
        check_channel(channel)
    return receipt


def write_receipt(stick: Path, receipt: Receipt) -> str | None:
    """Put the receipt onto the stick, in one step. Blocking.

    Returns:
        None, or a warning for people when that did not work: the import counts all the same.
    """
    disk, raw = Stick(stick), encode_receipt(receipt)
    try:
        disk.write(f"{RECEIPTS_FOLDER}/{_file_name(receipt.edge)}", [raw], len(raw))
        disk.settle()
    except (OSError, SyncError) as error:
        full = isinstance(error, NoSpace)
        return (
            f"导入不受影响，但回执没有写到U盘上（{'U盘已满' if full else 'U盘不可写'}）；请另外告诉中心平台本站的版本。"
            f" The import is not affected, but no receipt could be written onto the disk ({error}); tell the centre in "
            "another way which release this station has."
        )
    return None


def read_receipts(folder: Path) -> Receipts:
    """Read all receipts of a stick, or of a folder that holds copies of them. Blocking.

    Args:
        folder: The stick with ``receipts/``, or the folder with the files themselves.

    Raises:
        Unreachable: there is no such folder, or it was pulled out.
        TooLong: more than RECEIPTS_MAX files.
    """
    disk = Stick(folder)
    entries = disk.entries(RECEIPTS_FOLDER, RECEIPTS_MAX)
    prefix = f"{RECEIPTS_FOLDER}/"
    if not entries and not _is_bundle(disk):
        entries, prefix = disk.entries("", RECEIPTS_MAX), ""
    found: list[Receipt] = []
    refused: list[tuple[str, str]] = []
    for name, is_folder in entries:
        if is_folder or not name.endswith(_SUFFIX) or name.startswith("."):
            continue
        try:
            receipt = decode_receipt(disk.read(prefix + name, RECEIPT_MAX_BYTES))
            if name != _file_name(receipt.edge):
                raise Corrupt(f"it is the receipt of {receipt.edge}")
        except (Corrupt, NotPlain, OSError) as error:
            refused.append((name, str(error)[:300]))
        else:
            found.append(receipt)
    return Receipts(tuple(found), tuple(refused))


def since_of(receipts: Collection[Receipt]) -> dict[str, int]:
    """Return from which release on a stick must begin so that all these edges can use it; 0: with everything.

    Of several receipts of one edge the latest counts.
    """
    latest: dict[str, Receipt] = {}
    for receipt in receipts:
        other = latest.get(receipt.edge)
        if other is None or receipt.time > other.time:
            latest[receipt.edge] = receipt
    channels = {channel for receipt in latest.values() for channel in receipt.channels}
    return {
        channel: min(receipt.channels.get(channel, 0) for receipt in latest.values()) for channel in sorted(channels)
    }


def _is_bundle(disk: Stick) -> bool:
    try:
        return disk.length(LABEL_NAME) is not None
    except NotPlain:
        return True


def _file_name(edge: str) -> str:
    try:
        name = check_channel(edge) + _SUFFIX
        check_portable([name])
    except Corrupt as error:
        raise Corrupt(f"edge {edge[:80]!r}: use 1 to {CHANNEL_MAX_BYTES} of a-z 0-9 _ -") from error
    return name
