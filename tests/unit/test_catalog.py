"""The view of one snapshot, what expires from it, and the reader that follows the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from domain.courseware import (
    CATALOGUE_PATH,
    Asset,
    Catalogue,
    CatalogueError,
    Column,
    Courseware,
    ItemClass,
    MediaFamily,
    decode_catalogue,
    encode_catalogue,
)
from edge_server.catalog import CatalogReader, CatalogView
from edge_server.store import ActiveRelease, ActiveSnapshot, Store, StoredFile
from edge_server.store.judged import AHEAD_MAX, JudgedTime
from runtime.clock import FakeClock
from tests.sync_lab import NOW, Lab, catalogue_of
from tests.views import snapshot_of

FIRST, SECOND = Column(column_id="1", title="甲", order=1), Column(column_id="2", title="乙", order=2)


def lesson(item_id: str, column_id: str, **fields: object) -> Courseware:
    page = Asset(path=f"courseware/{item_id}/page", sha256="0" * 64, length_bytes=1, media_type="text/html")
    base: dict[str, object] = {
        "item_id": item_id,
        "title": f"第{item_id}课",
        "item_class": ItemClass.EDUCATION,
        "column_id": column_id,
        "family": MediaFamily.PICTURE_TEXT,
        "issued_at": "2026-01-01T00:00:00Z",
        "page": page,
    }
    return Courseware(**{**base, **fields})  # type: ignore[arg-type]


def release(*items: Courseware, column: Column) -> dict[str, bytes | Path]:
    pages: dict[str, bytes | Path] = {each.page.path: each.item_id.encode() for each in items if each.page is not None}
    return {**pages, CATALOGUE_PATH: catalogue_of(*items, column=column)}


async def test_the_reader_follows_what_another_process_syncs(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    reader = CatalogReader(Store(lab.root / "edge"), lab.judged)
    empty = reader.current()
    assert (empty.seq, empty.columns, empty.catalogue) == (0, (), Catalogue())
    assert (empty.item("11"), empty.items_in("1")) == (None, ())
    assert reader.current() is empty
    lab.publish(release(lesson("12", "2"), lesson("10", "2"), column=SECOND), column=SECOND)
    lab.publish(release(lesson("11", "1"), column=FIRST), column=FIRST)
    assert reader.current() is empty, "published is not synced"
    report = await lab.sync()  # a store object of its own, as another process has
    view = reader.current()
    assert view.seq == report.seq and reader.current() is view
    assert [column.title for column in view.columns] == ["甲", "乙"], "in the order of boxes, not of the channels"
    assert [item.item_id for item in view.items_in("2")] == ["12", "10"], "in catalogue order"
    assert view.items_in("9") == ()
    item = view.item("11")
    assert item is not None and item.title == "第11课" and view.item("99") is None
    stored = view.file("courseware/11/page")
    assert stored is not None and stored.file.read_bytes() == b"11" and view.file("courseware/13/page") is None

    lab.publish(release(column=FIRST), remove=["courseware/11/page"], column=FIRST)
    await lab.sync()
    after = reader.current()
    assert after.seq > view.seq and after.item("11") is None and after.file("courseware/11/page") is None
    assert after.mark != view.mark
    assert view.item("11") is item, "a session keeps the view that it began with"


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"format":2}', b'{"format":1,"news":1}', "{}".encode("utf-16")], ids=lambda raw: raw.hex()[:16]
)
async def test_a_catalogue_that_cannot_be_read_never_becomes_active(tmp_path: Path, raw: bytes) -> None:
    lab = Lab(tmp_path)
    lab.publish(release(lesson("11", "1"), column=FIRST), column=FIRST)
    await lab.sync()
    lab.publish({CATALOGUE_PATH: raw}, column=FIRST)
    with pytest.raises(CatalogueError):
        await lab.sync()
    view = CatalogReader(Store(lab.root / "edge"), lab.judged).current()
    assert [item.item_id for item in view.catalogue.courseware] == ["11"]


def view_at(now: datetime, contact: datetime, *items: Courseware, root: Path) -> CatalogView:
    file = root / "catalogue.json"
    file.write_bytes(catalogue_of(*items, column=FIRST))
    held = {CATALOGUE_PATH: StoredFile(CATALOGUE_PATH, "0" * 64, 1, str(file))}
    return CatalogView(snapshot_of(1, "col-1", NOW, held, listing=Catalogue(courseware=items)), now, contact)


DAY = timedelta(days=1)
FLAGGED = lesson("7", "1", offline_days=7)
ENDING = lesson("8", "1", expires_at="2026-03-05T00:00:00Z")
BOTH = lesson("9", "1", offline_days=45, expires_at="2026-03-09T08:00:00+08:00")
LASTING = lesson("6", "1")


@pytest.mark.parametrize(
    ("days", "offered", "next_day"),
    [
        (0, "6789", "2026-03-05T00:00:00Z"),
        (3.49, "6789", "2026-03-05T00:00:00Z"),
        (3.5, "679", "2026-03-08T12:00:00Z"),
        (6.99, "679", "2026-03-08T12:00:00Z"),
        (7, "69", "2026-03-09T00:00:00Z"),
        (7.5, "6", None),
        (400, "6", None),
    ],
)
def test_what_is_offered_without_contact(tmp_path: Path, days: float, offered: str, next_day: str | None) -> None:
    view = view_at(NOW + days * DAY, NOW, LASTING, FLAGGED, ENDING, BOTH, root=tmp_path)
    assert "".join(sorted(item.item_id for item in view.catalogue.courseware)) == offered
    assert view.columns == (FIRST,), "a column stays when nothing is left in it"
    expected = datetime.fromisoformat(next_day) if next_day else datetime(9999, 1, 1, tzinfo=UTC)
    assert view.good_until == expected
    for item in (LASTING, FLAGGED, ENDING, BOTH):
        assert (view.why_hidden(item) == "expired") == (item.item_id not in offered)


def test_an_item_whose_files_are_not_all_held_is_not_offered(tmp_path: Path) -> None:
    view = view_at(NOW, NOW, LASTING, root=tmp_path)
    (only,) = view.active.releases.values()
    assert view.item("6") is not None
    less = {path: each for path, each in only.files.items() if path == CATALOGUE_PATH}
    rest = ActiveRelease("col-1", 1, NOW, less, frozenset(only.files) - less.keys())
    gone = CatalogView(ActiveSnapshot(2, {"col-1": rest}))
    assert gone.item("6") is None and gone.why_hidden(LASTING) == "not_held"
    assert [item.item_id for item in gone.listed.courseware] == ["6"]


async def test_the_reader_hides_what_expires_while_it_serves(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    lab = Lab(tmp_path, clock=clock)
    lab.publish(release(FLAGGED, LASTING, column=FIRST), column=FIRST)
    await lab.sync()
    reader = CatalogReader(lab.store, lab.judged)
    first = reader.current()
    assert first.item("7") is not None
    await clock.advance(6.9 * 86400)
    assert reader.current() is first
    await clock.advance(0.1 * 86400)
    second = reader.current()
    assert second.item("7") is None and second.item("6") is not None and second.mark != first.mark
    assert first.item("7") is not None
    lab.publisher.refresh(clock.utc())
    await lab.sync(now=clock.utc())  # contact, though nothing new was published
    assert reader.current().item("7") is not None


# -- Judged time ------------------------------------------------------------------------------------------------------


async def test_a_clock_that_was_set_back_brings_nothing_to_light(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    judged = JudgedTime(tmp_path, clock)
    judged.met(NOW)
    await clock.advance(10 * 86400)
    judged.note()
    back = JudgedTime(tmp_path, FakeClock(NOW - 400 * DAY))
    assert back.now() == NOW + 10 * DAY and back.contact() == NOW
    assert JudgedTime(tmp_path, FakeClock(datetime(1970, 1, 1, tzinfo=UTC))).now() == NOW + 10 * DAY


def test_contact_is_what_was_signed_not_what_the_clock_says(tmp_path: Path) -> None:
    judged = JudgedTime(tmp_path, FakeClock(NOW + 3 * DAY))
    judged.met(NOW)
    judged.met(NOW - DAY)
    assert judged.contact() == NOW and judged.now() == NOW + 3 * DAY


def test_a_clock_that_once_ran_ahead_is_forgiven_at_the_next_contact(tmp_path: Path) -> None:
    wrong = JudgedTime(tmp_path, FakeClock(datetime(2038, 1, 1, tzinfo=UTC)))
    wrong.note()
    right = JudgedTime(tmp_path, FakeClock(NOW))
    assert right.now().year == 2038
    right.met(NOW - DAY)
    assert right.now() == NOW and right.contact() == NOW - DAY
    right.met(NOW + AHEAD_MAX)
    assert right.now() == NOW + AHEAD_MAX


def test_noting_writes_rarely_and_survives_a_damaged_file(tmp_path: Path) -> None:
    judged = JudgedTime(tmp_path, FakeClock(NOW))
    judged.note()
    before = (tmp_path / "judged.json").stat().st_mtime_ns
    judged.note()
    assert (tmp_path / "judged.json").stat().st_mtime_ns == before
    (tmp_path / "judged.json").write_bytes(b"\0" * 99)
    fresh = JudgedTime(tmp_path, FakeClock(NOW))
    assert fresh.now() == NOW and fresh.contact().year == 1970
    fresh.met(NOW)
    assert JudgedTime(tmp_path, FakeClock(NOW)).contact() == NOW


# -- Limits of the catalogue ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"offline_days": -1},
        {"offline_days": 3651},
        {"expires_at": "tomorrow"},
        {"expires_at": "2026-03-05T00:00:00"},
    ],
)
def test_a_catalogue_with_an_impossible_end_is_refused(fields: dict[str, object]) -> None:
    good = encode_catalogue(Catalogue(courseware=(lesson("1", "1"),)))
    assert decode_catalogue(good).courseware[0].offered_until(NOW) is None
    bad = Catalogue(courseware=(msgspec.structs.replace(lesson("1", "1"), **fields),))
    with pytest.raises(CatalogueError):
        decode_catalogue(encode_catalogue(bad))
