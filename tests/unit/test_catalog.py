"""The view of one snapshot, and the reader that follows the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.courseware import (
    CATALOGUE_PATH,
    Catalogue,
    CatalogueError,
    Column,
    Courseware,
    ItemClass,
    MediaFamily,
    encode_catalogue,
)
from edge_server.catalog import CatalogReader
from edge_server.store import Store
from tests.sync_lab import Lab


def lesson(item_id: str, column_id: str) -> Courseware:
    return Courseware(
        item_id=item_id,
        title=f"第{item_id}课",
        item_class=ItemClass.EDUCATION,
        column_id=column_id,
        family=MediaFamily.VIDEO,
        issued_at="2026-01-01T00:00:00Z",
    )


CATALOGUE = Catalogue(
    columns=(Column(column_id="2", title="乙", order=2), Column(column_id="1", title="甲", order=1)),
    courseware=(lesson("12", "2"), lesson("11", "1"), lesson("10", "2")),
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


async def test_the_reader_follows_what_another_process_syncs(lab: Lab) -> None:
    reader = CatalogReader(Store(lab.root / "edge"))
    empty = reader.current()
    assert (empty.seq, empty.columns, empty.catalogue, empty.item("11"), empty.items_in("1")) == (
        0,
        (),
        Catalogue(),
        None,
        (),
    )
    assert reader.current() is empty
    seq = lab.publish({CATALOGUE_PATH: encode_catalogue(CATALOGUE), "courseware/11/R12.mp4": b"eleven"})
    assert reader.current() is empty, "published is not synced"
    await lab.sync()  # a store object of its own, as another process has
    view = reader.current()
    assert view.seq == seq and reader.current() is view
    assert [column.title for column in view.columns] == ["甲", "乙"], "in the order of boxes, not of the file"
    assert [item.item_id for item in view.items_in("2")] == ["12", "10"], "in catalogue order"
    assert view.items_in("9") == ()
    item = view.item("11")
    assert item is not None and item.title == "第11课" and view.item("99") is None
    stored = view.file("courseware/11/R12.mp4")
    assert stored is not None and stored.file.read_bytes() == b"eleven" and view.file("courseware/12/R12.mp4") is None

    left = Catalogue(columns=CATALOGUE.columns, courseware=CATALOGUE.courseware[:1])
    lab.publish({CATALOGUE_PATH: encode_catalogue(left)}, remove=("courseware/11/R12.mp4",))
    await lab.sync()
    after = reader.current()
    assert after.seq == seq + 1 and after.item("11") is None and after.file("courseware/11/R12.mp4") is None
    assert view.item("11") is item, "a session keeps the view that it began with"


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"format":2}', b'{"format":1,"news":1}', "{}".encode("utf-16")], ids=lambda raw: raw.hex()[:16]
)
async def test_a_catalogue_that_cannot_be_read_never_becomes_active(tmp_path: Path, raw: bytes) -> None:
    lab = Lab(tmp_path)
    lab.publish({CATALOGUE_PATH: encode_catalogue(CATALOGUE)})
    await lab.sync()
    lab.publish({CATALOGUE_PATH: raw})
    with pytest.raises(CatalogueError):
        await lab.sync()
    assert CatalogReader(Store(lab.root / "edge")).current().catalogue == CATALOGUE
