"""Records that come on a USB stick: ``records/<edge>.rec`` in, ``records/<edge>.held.json`` out. Blocking."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from central_platform.intake.ledger import Ledger, Taken
from central_platform.roster import Roster
from sync import SyncError
from sync.bundle.stick import NotPlain, Stick
from wire.records import Held, encode_held

FOLDER = "records"
FILES_MAX_COUNT = 4096
FILE_MAX_BYTES = 128 * 1024 * 1024
_SUFFIX = ".rec"


def take_in(ledger: Ledger, roster: Roster, stick: Path, now: datetime) -> Iterator[tuple[str, Taken, str]]:
    """Yield for each file its name, what became of it, and a warning when the stick could not be noted on.

    Raises:
        sync.SyncError: the stick is gone, or holds too many files or too long ones.
        central_platform.roster.RosterError: the roster is damaged.
        OSError: a disk fails.
    """
    disk = Stick(stick)
    for name, is_folder in disk.entries(FOLDER, FILES_MAX_COUNT):
        if is_folder or not name.endswith(_SUFFIX) or name.startswith("."):
            continue
        raw = disk.read(f"{FOLDER}/{name}", FILE_MAX_BYTES)
        taken = ledger.take(raw, roster.keys_of, now=now, road="usb")
        yield name, taken, _note(disk, taken.held)


def _note(disk: Stick, held: tuple[Held, ...]) -> str:
    try:
        for edge in {each.edge for each in held}:
            raw = encode_held([each for each in held if each.edge == edge])
            disk.write(f"{FOLDER}/{edge}.held.json", [raw], len(raw))
        disk.settle()
    except (OSError, SyncError, NotPlain) as error:
        return (
            f"已收下，但没能在 U 盘上注明；下次会再送，不会重复计数 / taken, but the stick could not be written "
            f"({error}); the edge delivers once more, which counts nothing twice"
        )
    return ""
