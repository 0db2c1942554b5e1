"""A library of thousands of small lessons, signed and published by the real publisher; one made lesson under many ids.

    python -m benchmarks.serve.many CENTRAL COUNT        CENTRAL holds one published lesson; prints one line of JSON

Their files share objects by content, so disk and time stay small; the catalogue, the lists of names and the signatures
are those of a library of that size.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs

from central_platform.publish.desk import Desk
from domain.courseware import (
    CATALOGUE_PATH,
    INDEX_CHANNEL,
    Asset,
    Catalogue,
    Column,
    Courseware,
    Rendition,
    column_channel,
    encode_catalogue,
)
from sync.publishing import Change, Publisher

IN_A_COLUMN = 150
FIRST_COLUMN, FIRST_ITEM = 901, 20000001


def copied(item: Courseware, item_id: str, column_id: str, number: int) -> tuple[Courseware, dict[str, str]]:
    """The same lesson under another id; and the names of its files by the names they are copies of."""
    names = {path: path.replace(f"courseware/{item.item_id}/", f"courseware/{item_id}/") for path in item.paths()}
    poster: Asset | None = item.poster and structs.replace(item.poster, path=names[item.poster.path])
    renditions: tuple[Rendition, ...] = tuple(structs.replace(r, path=names[r.path]) for r in item.renditions)
    fields = {"item_id": item_id, "column_id": column_id, "title": f"农村实用技术第{number}课"}
    return structs.replace(item, poster=poster, renditions=renditions, **fields), names


def publish(central: Path, count: int) -> dict[str, float]:
    """Publish ``count`` copies of the first lesson there, in as many columns as they need, at once."""
    began = time.monotonic()
    desk, publisher = Desk(central), Publisher.open(central)
    catalogue = desk.catalogue()
    item, columns, changes = catalogue.courseware[0], list(catalogue.columns), {}
    channel = column_channel(item.column_id)
    content = {path: publisher.read(channel, path) for path in item.paths()}
    for first in range(0, count, IN_A_COLUMN):
        order = len(columns) + 1
        column = Column(column_id=str(FIRST_COLUMN + first // IN_A_COLUMN), title=f"专栏 {order}", order=order)
        columns.append(column)
        items, add = [], {}
        for number in range(first, min(first + IN_A_COLUMN, count)):
            made, names = copied(item, str(FIRST_ITEM + number), column.column_id, number + 1)
            items.append(made)
            add |= {name: content[path] for path, name in names.items()}
        text = encode_catalogue(Catalogue(columns=(column,), courseware=tuple(items)))
        changes[column_channel(column.column_id)] = Change(add={**add, CATALOGUE_PATH: text})
    index = encode_catalogue(Catalogue(columns=tuple(columns)))
    changes[INDEX_CHANNEL] = Change(add={CATALOGUE_PATH: index})
    publisher.publish_many(changes, datetime.now(UTC))
    return {"lessons": float(count), "columns": float(len(columns)), "seconds": time.monotonic() - began}


def main() -> None:
    """Command line."""
    print(json.dumps(publish(Path(sys.argv[1]), int(sys.argv[2]))))


if __name__ == "__main__":
    main()
