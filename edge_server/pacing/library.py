"""Finds the transport stream of an item in the active snapshot."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_server.catalog import CatalogView
from edge_server.pacing.chunks import Chunks, Source
from edge_server.pacing.joined import Airtime
from edge_server.pacing.timeline import Timeline
from edge_server.pacing.winding import Wound
from edge_server.packager import NotPackaged, Shelf
from media.ts_index import TsIndex
from media.ts_winding import Winding
from wire.mpegts import PTS_HZ, PTS_MODULO, discontinuity_preamble

TIMELINES_MAX_COUNT = 256
"""Files whose division into packets is remembered, some 200 kB each."""


@dataclass(frozen=True, slots=True)
class Shelved:
    """A playable title (``egress.rtsp.words.Title``), and where its file lies."""

    item_id: str
    name: str
    timeline: Timeline
    file: Path
    index: TsIndex

    @property
    def zero_s(self) -> float:
        """Presentation time inside the stream at which the lesson begins, in seconds."""
        last = self.index.keyframes[-1]  # the time of the first is 0 even when its picture is shown later
        return (last.pts_90khz / PTS_HZ - last.time_s) % (PTS_MODULO / PTS_HZ)

    def seek(self, npt_s: float) -> tuple[float, int]:
        """Return npt and byte of the last key frame not after this second."""
        return self.index.seek(npt_s)

    @property
    def airtime(self) -> Airtime | None:
        """None: a lesson has no time of its own."""
        return None

    def source(self, chunks: Chunks) -> Source:
        """Open it for one flow.

        Raises:
            OSError: it cannot be opened.
        """
        return chunks.open(self.file, self.timeline.packets)

    def wind(self, from_s: float, scale: float, until_s: float | None = None) -> Wound:
        """Return the key pictures from about this second on, at this speed; a lesson is there to its end."""
        return Wound(Winding(self.index, from_s, scale))

    def preamble(self, offset_bytes: int) -> bytes:
        """Return the packets that make a jump to this byte legal; empty where nobody may jump to."""
        point = next((each for each in self.index.keyframes if each.offset_bytes == offset_bytes), None)
        if point is None:
            return b""
        return discontinuity_preamble(point.next_cc, pcr_pid=self.index.pcr_pid, pcr=point.pcr_27mhz)


class Library:
    """Looks titles up, and remembers how their files are divided."""

    def __init__(self, view: Callable[[], CatalogView], shelf: Shelf, chunks: Chunks) -> None:
        """Look into the active snapshot, which ``view`` gives afresh each time."""
        self._view, self._shelf, self._chunks = view, shelf, chunks
        self._timelines: OrderedDict[Path, tuple[TsIndex, Timeline]] = OrderedDict()

    def look(self, item_id: str, rendition_name: str) -> Shelved | None:
        """Return the title; None when it is unknown, withdrawn, no video, or not packaged."""
        view = self._view()
        item = view.item(item_id)
        rendition = None if item is None else item.rendition(rendition_name)
        stored = None if rendition is None else view.file(rendition.path)
        if item is None or stored is None:
            return None
        try:
            packaged = self._shelf.packaged(stored)
        except NotPackaged:
            return None
        index = packaged.ts_index
        return Shelved(item_id, item.title, self._timeline(packaged.ts, index), packaged.ts, index)

    def _timeline(self, file: Path, index: TsIndex) -> Timeline:
        known = self._timelines.get(file)
        if known is not None and known[0] is index:
            self._timelines.move_to_end(file)
            return known[1]
        timeline = Timeline(
            index.pacing.offset_bytes,
            index.pacing.time_s,
            index.length_bytes,
            index.duration_s,
            index.presentation_delay_s,
            cuts=tuple(each.offset_bytes for each in index.keyframes),
            numbers=self._chunks.numbers(file),
        )
        self._timelines[file] = (index, timeline)
        if len(self._timelines) > TIMELINES_MAX_COUNT:
            self._timelines.popitem(last=False)
        return timeline
