"""Stalker/Ministra portal of MAG boxes and Kodi (docs/protocols/stalker.md; stb_protocols §5)."""

from __future__ import annotations

from edge_server.portal.stalker.dialect import StalkerDialect

DIALECT = StalkerDialect()
