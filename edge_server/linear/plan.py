"""From a setting to linear channels: which lessons, in which order, on which number, to which group. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from domain.courseware import Courseware, MediaFamily
from edge_server.catalog import CatalogView
from edge_server.linear import LinearChannel, Slot

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Every channel's first round began here: all numbers that count from it are at least 0, even on an edge that was
switched on with a wrong clock, and none has to be kept anywhere."""
CHANNELS_MAX_COUNT = 32
SLOTS_MAX_COUNT = 500
"""Of one round; 500 lessons of 40 minutes are two weeks."""
FIRST_ID = 900001
COLUMN = "column:"

_CHANNEL = re.compile(
    r"(?:(?P<id>[0-9]{1,12}) )?(?P<name>[^=;@]{1,64})=(?P<members>[0-9a-z:, ]+)"
    r"(?:@(?P<rtp>rtp:)?(?P<group>[0-9.]+):(?P<port>[0-9]{1,5}))?\Z"
)


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """One channel as the setting names it."""

    channel_id: str
    number: int
    name: str
    members: tuple[str, ...]
    """Ids of items, and ``column:ID`` for all videos of a column, in order."""
    multicast: str = ""
    rtp: bool = False
    fcc_port: int = 0
    fec_port: int = 0

    def aided(self, *, fcc_port: int, fec: bool) -> ChannelPlan:
        """Return it with what goes on beside RTP groups: fast channel change, and repair on the port below."""
        if not self.rtp:
            return self
        port = int(self.multicast.rsplit(":", 1)[1])
        return replace(self, fcc_port=fcc_port, fec_port=port - 1 if fec else 0)


def parse_channels(text: str) -> tuple[ChannelPlan, ...]:
    """Read ``教育频道=1001,1002@239.1.1.1:5000; 900007 农技=column:12@rtp:239.1.1.2:5000``.

    The number on the remote control is the place in the list; the id is ``FIRST_ID`` and on unless it stands before
    the name. RTP ports are even (RFC 3550 §11).

    Raises:
        ValueError: the words say what is wrong with which channel.
    """
    plans: list[ChannelPlan] = []
    for word in filter(None, (each.strip() for each in text.split(";"))):
        plans.append(_channel(word, len(plans) + 1))
    if len(plans) > CHANNELS_MAX_COUNT:
        raise ValueError(f"{len(plans)} channels; at most {CHANNELS_MAX_COUNT}")
    _once((each.channel_id for each in plans), "id")
    _once((each.name for each in plans), "name")
    _once((each.multicast for each in plans if each.multicast), "group")
    return tuple(plans)


def _once(values: Iterable[str], what: str) -> None:
    found = list(values)
    for each in found:
        if found.count(each) > 1:
            raise ValueError(f"two channels have the {what} {each!r}")


def _channel(word: str, number: int) -> ChannelPlan:
    match = _CHANNEL.match(word)
    if match is None:
        raise ValueError(f"{word!r} is not like 教育频道=1001,1002@239.1.1.1:5000 or 900007 农技=column:12")
    members = tuple(each.strip() for each in match["members"].split(",") if each.strip())
    for each in members:
        digits = each.removeprefix(COLUMN)
        if not digits.isdigit() or len(digits) > 12:
            raise ValueError(f"{word!r}: {each!r} is neither the id of a lesson nor column:ID")
    if not members:
        raise ValueError(f"{word!r}: no lessons")
    group, port = match["group"], match["port"]
    if group is not None:
        _check_group(word, group, int(port), rtp=match["rtp"] is not None)
    return ChannelPlan(
        match["id"] or str(FIRST_ID + number - 1),
        number,
        match["name"].strip(),
        members,
        "" if group is None else f"{group}:{int(port)}",
        match["rtp"] is not None,
    )


def _check_group(word: str, group: str, port: int, *, rtp: bool) -> None:
    try:
        multicast = ipaddress.IPv4Address(group).is_multicast
    except ValueError:
        multicast = False
    if not multicast:
        raise ValueError(f"{word!r}: {group} is no IPv4 multicast address")
    if not 0 < port < 65535 or (rtp and port % 2):
        raise ValueError(f"{word!r}: port {port}; write 1 to 65534, an even one for RTP")


def lessons_of(plan: ChannelPlan, view: CatalogView) -> Iterator[Courseware]:
    """Yield the videos of a channel that are offered now, in order, none twice; at most ``SLOTS_MAX_COUNT``."""
    seen: set[str] = set()
    for member in plan.members:
        if member.startswith(COLUMN):
            items: tuple[Courseware | None, ...] = view.items_in(member.removeprefix(COLUMN))
        else:
            items = (view.item(member),)
        for item in items:
            if item is None or item.family is not MediaFamily.VIDEO or item.item_id in seen:
                continue
            if len(seen) == SLOTS_MAX_COUNT:
                return
            seen.add(item.item_id)
            yield item


def make_channel(
    plan: ChannelPlan, view: CatalogView, slot_of: Callable[[Courseware], Slot | None]
) -> LinearChannel | None:
    """Make a channel of the lessons that can be played now.

    Args:
        plan: the channel.
        view: what is offered.
        slot_of: makes a slot of a lesson as it is packaged; None when it cannot be played.

    Returns:
        None when nothing is left to play, or a lesson has the channel's id.
    """
    if view.item(plan.channel_id) is not None:
        return None
    slots = tuple(slot for item in lessons_of(plan, view) if (slot := slot_of(item)) is not None)
    if not slots:
        return None
    return LinearChannel(
        plan.channel_id,
        plan.number,
        plan.name,
        EPOCH,
        slots,
        plan.multicast,
        plan.rtp,
        fcc_port=plan.fcc_port,
        fec_port=plan.fec_port,
    )
