"""Fast forward and rewind for one viewer: packets made from the key pictures of a file that is open anyway."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_server.pacing.chunks import Hands, Source
from edge_server.pacing.framing import RAW, Frame
from edge_server.pacing.timeline import Packets, Timeline
from media.ts_winding import Restamper, Winding


@dataclass(frozen=True, eq=False)
class Wound:
    """One winding as a stream plays it (``egress.rtsp.words.Wind``)."""

    winding: Winding
    timeline: Timeline = field(init=False)
    """In the winding's own bytes and seconds."""

    def __post_init__(self) -> None:
        """Make the timeline."""
        winding = self.winding
        timeline = Timeline(
            winding.offset_bytes,
            winding.time_s,
            winding.length_bytes,
            winding.end_s,
            winding.delay_s,
            cuts=tuple(each.offset_bytes for each in winding.slots),
            private=True,
        )
        object.__setattr__(self, "timeline", timeline)

    @property
    def scale(self) -> float:
        """Seconds of the lesson a second."""
        return self.winding.scale

    @property
    def start_s(self) -> float:
        """Return npt of the first picture."""
        return self.winding.start_s

    @property
    def end_s(self) -> float:
        """Return npt of where it leads to."""
        return self.winding.end_npt_s

    def npt_at(self, shown_s: float) -> float:
        """Return npt of the picture that is on the screen so many seconds after the first one came there."""
        return self.winding.npt_at(shown_s)

    def preamble(self, offset_bytes: int) -> bytes:
        """Return the packets that make the change to the winding legal; it begins at its first byte only."""
        return b"" if offset_bytes else self.winding.preamble()


class WoundSource:
    """Blocks of a winding, one after the other; the disk is read by other hands, never two at a time."""

    def __init__(self, wound: Wound, source: Source, hands: Hands) -> None:
        """Read the file that ``source`` holds open."""
        self.packets: Packets = wound.timeline.packets
        self._winding, self._source, self._hands = wound.winding, source, hands
        reader = source.reader
        self._made = Restamper(wound.winding, lambda length, offset: reader.read(offset, length))
        self._ready: dict[int, memoryview] = {}
        self._loading: int | None = None
        self._failed: OSError | None = None

    def chunk(self, block: int, kind: Frame) -> memoryview | None:
        """Return the bytes of a block; None when they are not here yet. The next one is made ready meanwhile.

        Raises:
            OSError: the file cannot be read.
        """
        if kind != RAW:
            raise ValueError("a winding is framed by its viewer")
        if self._failed is not None:
            raise self._failed
        for old in [each for each in self._ready if each < block]:
            del self._ready[old]
        wanted = block if block not in self._ready else block + 1
        if self._loading is None and wanted not in self._ready and wanted < len(self.packets.strides):
            self._load(wanted)
        return self._ready.get(block)

    def _load(self, block: int) -> None:
        self._loading = block
        self._source.users += 1  # the file stays open until it is read

        def done(found: memoryview | OSError) -> None:
            self._loading = None
            if isinstance(found, OSError):
                self._failed = found
            else:
                self._ready[block] = found
            self._source.close()

        self._hands(lambda: self._read(block), done)

    def _read(self, block: int) -> memoryview:
        begin, end = self.packets.starts[block], self.packets.starts[block + 1]
        number = self._winding.slot_at(begin)
        first = self._winding.slots[number].offset_bytes
        return memoryview(self._made.slot(number))[begin - first : end - first]
