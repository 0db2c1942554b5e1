"""Rendition → playable files and indexes, made when content arrives and never at first play."""

from __future__ import annotations

from edge_server.packager.offered import LADDER, Offered, ladder, offered, offered_version, version_of
from edge_server.packager.package import PACKAGER_VERSION, NotPackaged, Packaged, PackagingFailed, load, package
from edge_server.packager.shelf import Shelf

__all__ = [
    "LADDER",
    "PACKAGER_VERSION",
    "NotPackaged",
    "Offered",
    "Packaged",
    "PackagingFailed",
    "Shelf",
    "ladder",
    "load",
    "offered",
    "offered_version",
    "package",
    "version_of",
]
