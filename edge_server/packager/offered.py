"""Which packaged rendition a media address names, for every egress that cuts renditions into segments."""

from __future__ import annotations

from dataclasses import dataclass

from domain.courseware import Courseware, Rendition
from edge_server.catalog import CatalogView
from edge_server.packager.package import PACKAGER_VERSION, NotPackaged, Packaged
from edge_server.packager.shelf import Shelf

LADDER = ("R40", "R12")
"""Best first: many old players begin with the first variant that they can play."""


@dataclass(frozen=True, slots=True)
class Offered:
    """One packaged rendition of an item."""

    item: Courseware
    rendition: Rendition
    sha256: str
    packaged: Packaged

    @property
    def version(self) -> str:
        """What a segment's address carries, so that it never changes its meaning.

        8 hexadecimal digits of the rendition's hash, and the packager's version.
        """
        return version_of(self.sha256)


def version_of(sha256: str) -> str:
    """Return the version of a rendition with this hash."""
    return f"{sha256[:8]}-{PACKAGER_VERSION}"


def offered(view: CatalogView, shelf: Shelf, item_id: str, name: str) -> Offered | None:
    """Look a rendition up; None when it is unknown, withdrawn, or not packaged."""
    item = view.item(item_id)
    rendition = item.rendition(name) if item else None
    stored = view.file(rendition.path) if rendition else None
    if item is None or rendition is None or stored is None:
        return None
    try:
        return Offered(item, rendition, stored.sha256, shelf.packaged(stored))
    except NotPackaged:
        return None


def ladder(view: CatalogView, shelf: Shelf, item_id: str) -> list[Offered]:
    """Return the renditions of an item, best first."""
    found = (offered(view, shelf, item_id, name) for name in LADDER)
    return [each for each in found if each is not None]


def offered_version(view: CatalogView, shelf: Shelf, item_id: str, name: str, version: str) -> Offered | None:
    """Look a version of a rendition up; one that was replaced plays on, a withdrawn item ends."""
    for each in (view, *view.earlier) if view.item(item_id) else ():
        found = offered(each, shelf, item_id, name)
        if found is not None and found.version == version:
            return found
    return None
