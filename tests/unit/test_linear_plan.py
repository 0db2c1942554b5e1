"""From the setting to channels."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from domain.courseware import Courseware, MediaFamily
from edge_server.linear import Slot
from edge_server.linear.plan import ChannelPlan, make_channel, parse_channels
from tests.linear_lab import NOW, courseware, view_of


def lesson(
    item_id: str, column_id: str = "12", *, family: MediaFamily = MediaFamily.VIDEO, ends: str = ""
) -> Courseware:
    return courseware(item_id, column_id=column_id, family=family, expires_at=ends)


def test_the_setting_is_read() -> None:
    assert parse_channels("") == ()
    assert parse_channels("教育频道=1001, 1002@239.1.1.1:5000; 900007 农技=column:12,7@rtp:239.1.1.2:5002;") == (
        ChannelPlan("900001", 1, "教育频道", ("1001", "1002"), "239.1.1.1:5000"),
        ChannelPlan("900007", 2, "农技", ("column:12", "7"), "239.1.1.2:5002", True),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1001,1002", "is not like"),
        ("教育频道=", "is not like"),
        ("教育频道=,", "no lessons"),
        ("教育频道=1001,x", "neither the id"),
        ("教育频道=columns:7", "neither the id"),
        ("教育频道=1001@192.0.2.1:5000", "no IPv4 multicast"),
        ("教育频道=1001@239.1.1.1:0", "port 0"),
        ("教育频道=1001@rtp:239.1.1.1:5001", "an even one"),
        ("一=1;一=2", "name"),
        ("7 一=1;7 二=2", "id"),
        ("一=1@239.1.1.1:5000;二=2@239.1.1.1:5000", "group"),
        (";".join(f"c{n}=1" for n in range(33)), "at most 32"),
    ],
)
def test_nonsense_is_told(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_channels(text)


def test_a_round_is_what_can_be_played_now(tmp_path: Path) -> None:
    (plan,) = parse_channels("教育频道=3,404,column:12,5")
    items = (
        lesson("1"),
        lesson("2", ends=(NOW + timedelta(hours=1)).isoformat()),
        lesson("3", "7"),
        lesson("4", family=MediaFamily.PICTURE_TEXT),
        lesson("5"),
    )
    lengths = {"1": 60.0, "2": 30.0, "3": 10.0, "5": None}
    view = view_of(tmp_path, *items)

    def slot_of(item: Courseware) -> Slot | None:
        long_s = lengths[item.item_id]
        return None if long_s is None else Slot(item.item_id, item.title, long_s)

    channel = make_channel(plan, view, slot_of)
    assert channel is not None
    assert [(slot.item_id, slot.duration_s) for slot in channel.slots] == [("3", 10.0), ("1", 60.0), ("2", 30.0)]
    later = replace(view, now=NOW + timedelta(hours=2))
    channel = make_channel(plan, later, slot_of)
    assert channel is not None
    assert [slot.item_id for slot in channel.slots] == ["3", "1"]


def test_a_channel_without_lessons_or_with_the_id_of_one_is_not_offered(tmp_path: Path) -> None:
    view = view_of(tmp_path, lesson("1"), lesson("900001"))
    (plan,) = parse_channels("教育频道=404")
    assert make_channel(plan, view, lambda item: Slot(item.item_id, item.title, 60.0)) is None
    (plan,) = parse_channels("教育频道=1")
    assert make_channel(plan, view, lambda item: Slot(item.item_id, item.title, 60.0)) is None
    assert (
        make_channel(replace(plan, channel_id="9"), view, lambda item: Slot(item.item_id, item.title, 60.0)) is not None
    )


def test_what_goes_on_beside_a_group_is_for_rtp_only(tmp_path: Path) -> None:
    plans = parse_channels("一=1001@rtp:239.1.1.1:5000;二=1001@239.1.1.2:5000;三=1001")
    first, *others = (each.aided(fcc_port=15970, fec=True) for each in plans)
    assert (first.fcc_port, first.fec_port) == (15970, 4999)
    assert others == list(plans[1:])
    assert plans[0].aided(fcc_port=0, fec=False) == plans[0]
    made = make_channel(first, view_of(tmp_path, lesson("1001")), lambda item: Slot(item.item_id, "", 60.0))
    assert made is not None
    assert (made.fcc_port, made.fec_port) == (15970, 4999)
