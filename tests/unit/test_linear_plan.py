"""From the setting to channels."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

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
from edge_server.linear.plan import ChannelPlan, make_channel, parse_channels
from edge_server.store import StoredFile
from tests.views import snapshot_of

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)


def lesson(
    item_id: str, column_id: str = "12", *, family: MediaFamily = MediaFamily.VIDEO, ends: str = ""
) -> Courseware:
    rendition = Rendition(
        name="R12",
        path=f"courseware/{item_id}/R12.mp4",
        sha256=item_id.zfill(64),
        length_bytes=1,
        duration_s=60.0,
        width=720,
        height=576,
        display_width=720,
        frame_rate=25.0,
        frames=1500,
        video_codec="avc1.4D401E",
        audio_codec=None,
        peak_bps=1,
        average_bps=1,
    )
    return Courseware(
        item_id=item_id,
        title=f"第{item_id}课",
        item_class=ItemClass.EDUCATION,
        column_id=column_id,
        family=family,
        issued_at="2026-01-01T00:00:00Z",
        renditions=(rendition,),
        expires_at=ends,
    )


def view_of(folder: Path, *items: Courseware) -> CatalogView:
    listing = Catalogue(columns=(Column(column_id="12", title="农技", order=1),), courseware=items)
    raw = encode_catalogue(listing)
    (folder / "catalogue").write_bytes(raw)
    stored = StoredFile(CATALOGUE_PATH, hashlib.sha256(raw).hexdigest(), len(raw), str(folder / "catalogue"))
    return CatalogView(snapshot_of(1, "library", NOW, {CATALOGUE_PATH: stored}, listing=listing), NOW, NOW)


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
    channel = make_channel(plan, view, lambda item: lengths[item.item_id])
    assert channel is not None
    assert [(slot.item_id, slot.duration_s) for slot in channel.slots] == [("3", 10.0), ("1", 60.0), ("2", 30.0)]
    later = replace(view, now=NOW + timedelta(hours=2))
    channel = make_channel(plan, later, lambda item: lengths[item.item_id])
    assert channel is not None
    assert [slot.item_id for slot in channel.slots] == ["3", "1"]


def test_a_channel_without_lessons_or_with_the_id_of_one_is_not_offered(tmp_path: Path) -> None:
    view = view_of(tmp_path, lesson("1"), lesson("900001"))
    (plan,) = parse_channels("教育频道=404")
    assert make_channel(plan, view, lambda _: 60.0) is None
    (plan,) = parse_channels("教育频道=1")
    assert make_channel(plan, view, lambda _: 60.0) is None
    assert make_channel(replace(plan, channel_id="9"), view, lambda _: 60.0) is not None
