"""A linear channel of real packaged lessons, without a server: one has no sound, so that the streams change."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import msgspec

from domain.courseware import (
    CATALOGUE_PATH,
    Catalogue,
    Column,
    Courseware,
    ItemClass,
    MediaFamily,
    Rendition,
    encode_catalogue,
)
from edge_server.catalog import CatalogView
from edge_server.linear import LinearChannel
from edge_server.linear.following import FollowingChannels
from edge_server.linear.plan import parse_channels
from edge_server.linear.round import Round
from edge_server.packager import Offered, Shelf, load, offered_version
from edge_server.store import StoredFile
from fixtures.lessons import make_counted_lesson
from runtime.clock import FakeClock
from tests.views import snapshot_of

NOW = datetime(2026, 11, 24, 8, 0, 3, tzinfo=UTC)
FRAMES = {"1001": 260, "1002": 320, "1003": 205}
SILENT = "1003"


def courseware(item_id: str, sha256: str = "0" * 64, length_bytes: int = 1, **more: object) -> Courseware:
    rendition = Rendition(
        name="R12",
        path=f"courseware/{item_id}/R12.mp4",
        sha256=sha256,
        length_bytes=length_bytes,
        duration_s=60.0,
        width=640,
        height=360,
        display_width=640,
        frame_rate=25.0,
        frames=1500,
        video_codec="avc1.4D401E",
        audio_codec=None,
        peak_bps=1,
        average_bps=1,
    )
    fields: dict[str, object] = {
        "item_id": item_id,
        "title": f"第{item_id}课",
        "item_class": ItemClass.EDUCATION,
        "column_id": "12",
        "family": MediaFamily.VIDEO,
        "issued_at": "2026-01-01T00:00:00Z",
        "renditions": (rendition,),
    }
    return Courseware(**(fields | more))  # type: ignore[arg-type]


def view_of(folder: Path, *items: Courseware, files: tuple[StoredFile, ...] = ()) -> CatalogView:
    listing = Catalogue(columns=(Column(column_id="12", title="农技", order=1),), courseware=items)
    raw = encode_catalogue(listing)
    (folder / "catalogue").write_bytes(raw)
    stored = StoredFile(CATALOGUE_PATH, hashlib.sha256(raw).hexdigest(), len(raw), str(folder / "catalogue"))
    held = {CATALOGUE_PATH: stored, **{each.path: each for each in files}}
    return CatalogView(snapshot_of(1, "library", NOW, held, listing=listing), NOW, NOW)


@dataclass(frozen=True)
class LinearLab:
    view: CatalogView
    shelf: Shelf
    channels: tuple[LinearChannel, ...]
    following: FollowingChannels

    @property
    def round(self) -> Round:
        return Round(self.channels[0])

    def look(self, item_id: str, version: str) -> Offered | None:
        return self.find(item_id, "R12", version)

    def find(self, item_id: str, name: str, version: str) -> Offered | None:
        return offered_version(self.view, self.shelf, item_id, name, version)

    def ts(self, item_id: str) -> Path:
        stored = self.view.file(f"courseware/{item_id}/R12.mp4")
        assert stored is not None
        return self.shelf.packaged(stored).ts


def make_linear_lab(
    folder: Path, frames_of: Mapping[str, int] = MappingProxyType(FRAMES), *, large: tuple[str, ...] = ()
) -> LinearLab:
    """Three lessons; those of ``large`` have an R40, too, with a key picture every four seconds instead of two."""
    files, items = [], []
    for item_id, frames in frames_of.items():
        mp4 = folder / f"{item_id}.mp4"
        make_counted_lesson(mp4, frames=frames, title=item_id, seed=int(item_id))
        if item_id == SILENT:
            command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(mp4), "-an", "-c", "copy"]
            subprocess.run([*command, "-movflags", "+faststart", str(folder / "silent.mp4")], check=True, timeout=30)
            mp4 = folder / "silent.mp4"
        raw = mp4.read_bytes()
        sha256 = hashlib.sha256(raw).hexdigest()
        files.append(StoredFile(f"courseware/{item_id}/R12.mp4", sha256, len(raw), str(mp4)))
        items.append(courseware(item_id, sha256, len(raw)))
        if item_id in large:
            mp4 = folder / f"{item_id}-R40.mp4"
            make_counted_lesson(mp4, frames=frames, title=item_id, seed=int(item_id), x264="keyint=100")
            raw = mp4.read_bytes()
            sha256, path = hashlib.sha256(raw).hexdigest(), f"courseware/{item_id}/R40.mp4"
            files.append(StoredFile(path, sha256, len(raw), str(mp4)))
            first = items[-1].renditions[0]
            more = msgspec.structs.replace(
                first, name="R40", path=path, sha256=sha256, length_bytes=len(raw), audio_codec="mp4a.40.2"
            )
            items[-1] = msgspec.structs.replace(items[-1], renditions=(first, more))
    view = view_of(folder, *items, files=tuple(files))
    derived = folder / "derived"
    derived.mkdir()
    shelf = Shelf(derived)
    shelf.prepare(view, lambda _: None)
    plans = parse_channels("教育频道=" + ",".join(FRAMES))
    following = FollowingChannels(
        plans, lambda: replace(view), lambda stored: load(stored.file, stored.sha256, derived), FakeClock(NOW)
    )
    following.look()
    following.wait()
    following.look()
    return LinearLab(view, shelf, following.current(), following)
