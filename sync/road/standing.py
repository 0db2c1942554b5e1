"""What edges on one LAN tell each other: what they hold, what is coming, and what they are fetching this moment.

``docs/formats/sync.md``, section on neighbours. Nothing of it is believed further than it takes to decide whom to ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from sync import Corrupt, TooLong

STANDING_NAME = "standing"
STANDING_FORMAT = 1
STANDING_MAX_BYTES = 64 * 1024
CHANNELS_MAX = 512
FETCHING_MAX = 16
_SEQ_MAX = 2**53 - 1

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Short = Annotated[str, Meta(max_length=64)]
Seq = Annotated[int, Meta(ge=0, le=_SEQ_MAX)]
Position = Annotated[int, Meta(ge=0, le=1 << 40)]


class Errand(msgspec.Struct, frozen=True, array_like=True):
    """A part of a pack that an edge brings over its own uplink."""

    pack: Annotated[str, Meta(max_length=80)]
    """Name of the published file."""
    start: Position
    stop: Position
    begun: bool
    """Whether it is on the line; before that it is only meant to be, and whoever is nearer may still take it."""

    def overlaps(self, pack: str, start: int, stop: int) -> bool:
        """Tell whether it brings some of those bytes."""
        return self.pack == pack and self.start < stop and start < self.stop


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to ``standing``. Unknown members are ignored."""

    format: int
    id: Id
    area: Short
    channels: Annotated[dict[Short, tuple[Seq, Seq]], Meta(max_length=CHANNELS_MAX)]
    """Seq that is held in full and seq that is coming, by channel; 0 = none."""
    moved: Seq
    """Bytes that came since the edge was started: as long as it grows, waiting is of use."""
    fetching: Annotated[list[Errand], Meta(max_length=FETCHING_MAX)]


def encode_standing(standing: Standing) -> bytes:
    """Write it as JSON."""
    return msgspec.json.encode(standing)


def decode_standing(raw: bytes) -> Standing:
    """Read what a neighbour says.

    Raises:
        TooLong: more than STANDING_MAX_BYTES.
        Corrupt: not JSON of this shape, another format, or a field out of bounds.
    """
    if len(raw) > STANDING_MAX_BYTES:
        raise TooLong(f"a standing of {len(raw)} bytes; at most {STANDING_MAX_BYTES}")
    try:
        standing = msgspec.json.decode(raw, type=Standing)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"not a standing: {error}") from error
    if standing.format != STANDING_FORMAT:
        raise Corrupt(f"a standing of format {standing.format}; this version reads {STANDING_FORMAT}")
    return standing


@dataclass(eq=False)
class Claim:
    """An errand of our own while it lasts."""

    pack: str
    start: int
    stop: int
    begun: bool = False


@dataclass(eq=False)
class Bulletin:
    """What this edge has to tell; whoever learns something writes it here. For one event loop."""

    edge_id: str
    area: str = ""
    moved: int = 0
    """See Standing."""
    _held: dict[str, int] = field(default_factory=dict)
    _coming: dict[str, int] = field(default_factory=dict)
    _claims: list[Claim] = field(default_factory=list)

    def is_held(self, channel: str, seq: int) -> None:
        """Tell that every object of that release is here; it is not coming any more."""
        self._held[channel] = seq
        self._coming.pop(channel, None)

    def is_coming(self, channel: str, seq: int) -> None:
        """Tell that objects of that release are about to be fetched."""
        self._coming[channel] = seq

    def is_given_up(self, channel: str) -> None:
        """Tell that nothing is coming until further notice."""
        self._coming.pop(channel, None)

    @property
    def coming(self) -> dict[str, int]:
        """Seq by channel."""
        return dict(self._coming)

    @contextmanager
    def claim(self, pack: str, start: int, stop: int) -> Iterator[Claim]:
        """Tell, as long as the block lasts, that this edge means to bring that part."""
        claim = Claim(pack, start, stop)
        self._claims.append(claim)
        try:
            yield claim
        finally:
            self._claims.remove(claim)

    def standing(self) -> Standing:
        """Return all of it, as of now; what exceeds the bounds is left out."""
        names = sorted(set(self._held) | set(self._coming), key=lambda name: (name not in self._coming, name))
        return Standing(
            format=STANDING_FORMAT,
            id=self.edge_id,
            area=self.area,
            channels={name: (self._held.get(name, 0), self._coming.get(name, 0)) for name in names[:CHANNELS_MAX]},
            moved=self.moved,
            fetching=[Errand(each.pack, each.start, each.stop, each.begun) for each in self._claims[:FETCHING_MAX]],
        )
