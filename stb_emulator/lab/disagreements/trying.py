"""What all rows share: the seat, the box that asks for no tolerance, and the lesson that is played."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from stb_emulator.boxes import Account, Box, Caps
from stb_emulator.observe import Offer, PlayError, Reason, Stage
from stb_emulator.seat import Seat

UTF8_ACCOUNT = Account(user="edu001@itv", password="123456")
MD5_ACCOUNT = Account(user="edu002@itv", password="100001")
"""A password whose MD5 has bytes below 16: with and without leading zeros it makes two keys (D1)."""
GBK_ACCOUNT = Account(user="edu003@itv", password="123456")
"""The edge knows that its boxes read GBK (D6)."""
LOCAL_ACCOUNT = Account(user="edu004@itv", password="123456")
"""The edge knows that its boxes mean local time (D12)."""
WATCH_S = 0.4
PLAIN_CAPS = Caps(
    video=("h264", "mpeg2video"),
    audio=("aac", "mp2"),
    max_width=1920,
    max_height=1920,
    max_level=52,
    max_bit_rate_bps=40_000_000,
)
TRACES = ("bare-header", "key-order", "key-unknown", "padding")


class NotShown(Exception):
    """This edge is not set up so that anything could be shown; ``reason`` says what it lacks."""

    def __init__(self, zh: str, en: str) -> None:
        """In a few words."""
        super().__init__(en)
        self.reason = Reason(zh, en)


@dataclass(frozen=True, slots=True)
class Lab:
    """One run."""

    seat: Seat
    boxes: Mapping[str, Box]
    plays: bool = True
    """Portal rows also play the first moment of a lesson; without, they only list."""
    strict: frozenset[str] = frozenset()
    """Rows whose tolerance is switched off on the box's side."""
    crowded: tuple[str, ...] = ()
    """Addresses ``rtsp://host:port`` of edges that have no place left and a neighbour (D18)."""
    group: str = ""
    """Address ``igmp://group:port?fcc=host:port`` of a channel, where the list tells of none (D8)."""
    patience_s: float = 10.0
    """Longest session time-out that is waited for (D15)."""
    guide_zone_min: int = 480
    """Minutes east of UTC in which the portal writes its programme guide."""
    item_id: str = ""
    url: str = ""
    """RTSP address of the lesson that is played."""
    timeout_s: float = 0.0
    """After which the edge ends a silent RTSP session."""
    duration_s: float = 0.0
    began: datetime = field(default=datetime(1970, 1, 1, tzinfo=UTC))

    def quick(self, seconds: float = WATCH_S) -> Seat:
        """Return a seat that watches only the first moment."""
        return replace(self.seat, seconds=seconds)


def plain_box(lab: Lab) -> Box:
    """Return the box that asks for no tolerance: strict in what it sends, and it takes whatever comes.

    It is the old Telecom box with a large decoder, so that each row shows nothing but its own fields.
    """
    box = lab.boxes["ctc_hw_old"]
    assert box.huawei is not None and box.rtsp is not None, "ctc_hw_old is of this kind"
    return msgspec.structs.replace(
        box,
        account=UTF8_ACCOUNT,
        caps=PLAIN_CAPS,
        tolerates=TRACES,
        huawei=msgspec.structs.replace(box.huawei, parser="quote-scan"),
        rtsp=msgspec.structs.replace(box.rtsp, sniff=False, user_agent="CTC/2.0", keep_alive_s=alive_every_s(lab)),
    )


def but(box: Box, table: str = "", /, **fields: Any) -> Box:
    """Return the box with these fields of one of its tables changed, and nothing else."""
    if not table:
        return msgspec.structs.replace(box, **fields)
    part = getattr(box, table)
    return msgspec.structs.replace(box, **{table: msgspec.structs.replace(part, **fields)})


def alive_every_s(lab: Lab) -> float:
    """Return how often a box says that it is there: often enough for an edge with a short time-out."""
    return max(0.1, min(30.0, lab.timeout_s / 4)) if lab.timeout_s else 30.0


async def listing(lab: Lab, box: Box) -> dict[str, Any]:
    """Log in and list; and play, where that is wanted.

    Raises:
        PlayError: the box could not.
    """
    offers = await lab.seat.list(box)
    facts: dict[str, Any] = {"lessons": lessons_of(offers)}
    return facts | await watching(lab, box, offers) if lab.plays else facts


async def watching(lab: Lab, box: Box, offers: tuple[Offer, ...] = ()) -> dict[str, Any]:
    """Play the first moment of the lesson.

    Raises:
        PlayError: the box could not, or its judge found a fault.
    """
    row = await lab.quick().watch(box, lab.item_id)
    if not row.ok:
        raise PlayError(row.stage, *_both(row.reason))
    return {"duration_s": row.announced_s}


def lessons_of(offers: tuple[Offer, ...]) -> list[tuple[str, str]]:
    """Return ids and titles of the lessons, without what runs by itself."""
    return sorted((each.item_id, each.title) for each in offers)


def at(url: str, authority: str) -> str:
    """Return the address on another server."""
    parts = urlsplit(url)
    return parts._replace(netloc=urlsplit(authority).netloc).geturl()


def wrong(stage: Stage, zh: str, en: str) -> PlayError:
    """Make the error of a claim that does not hold."""
    return PlayError(stage, zh, en)


def _both(reason: str) -> tuple[str, str]:
    zh, _, en = reason.partition(" / ")
    return zh, en or zh
