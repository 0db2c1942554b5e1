"""All doors, by name. Made when asked for: some need a published library or a coded lesson."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tests.fuzz import Door
from tests.fuzz.media_doors import MEDIA
from tests.fuzz.portal_doors import PORTALS
from tests.fuzz.sync_doors import SYNC
from tests.fuzz.wire_doors import WIRE

FOUND_MAX_COUNT = 2000
"""Messages taken from a corpus."""


def _with_corpus(name: str, make: Callable[[], Door]) -> Callable[[Path], Door]:
    def made(corpus: Path) -> Door:
        door = make()
        folder = corpus / name
        found = sorted(folder.iterdir())[:FOUND_MAX_COUNT] if folder.is_dir() else []
        return replace(door, seeds=(*door.seeds, *(each.read_bytes()[: door.most_bytes] for each in found)))

    return made


DOORS: Mapping[str, Callable[[Path], Door]] = {
    name: _with_corpus(name, make) for name, make in sorted({**WIRE, **PORTALS, **SYNC, **MEDIA}.items())
}
