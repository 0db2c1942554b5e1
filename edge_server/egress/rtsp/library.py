"""Finds the transport stream of an item in the active snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_server.egress import EgressContext
from edge_server.egress.rtsp.timeline import Timeline
from edge_server.packager import NotPackaged
from media.ts_index import TsIndex
from wire.mpegts import discontinuity_preamble


@dataclass(frozen=True, slots=True)
class Shelved:
    """A playable title (``words.Title``), and where its file lies."""

    item_id: str
    name: str
    timeline: Timeline
    file: Path
    index: TsIndex

    def seek(self, npt_s: float) -> tuple[float, int]:
        """See Title."""
        return self.index.seek(npt_s)

    def preamble(self, offset_bytes: int) -> bytes:
        """Return the packets that make a jump to this byte legal; empty where nobody may jump to."""
        point = next((each for each in self.index.keyframes if each.offset_bytes == offset_bytes), None)
        if point is None:
            return b""
        return discontinuity_preamble(point.next_cc, pcr_pid=self.index.pcr_pid, pcr=point.pcr_27mhz)


def look(ctx: EgressContext, item_id: str, rendition_name: str) -> Shelved | None:
    """Return the title; None when it is unknown, withdrawn, no video, or not packaged."""
    view = ctx.view()
    item = view.item(item_id)
    rendition = None if item is None else item.rendition(rendition_name)
    stored = None if rendition is None else view.file(rendition.path)
    if item is None or stored is None:
        return None
    try:
        packaged = ctx.shelf.packaged(stored)
    except NotPackaged:
        return None
    index = packaged.ts_index
    timeline = Timeline(
        index.pacing.offset_bytes,
        index.pacing.time_s,
        index.length_bytes,
        index.duration_s,
        index.presentation_delay_s,
    )
    return Shelved(item_id, item.title, timeline, packaged.ts, index)
