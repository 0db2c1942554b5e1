"""Xtream-style API of IPTV apps: ``player_api.php``, ``get.php``, ``xmltv.php`` and its media addresses."""

from __future__ import annotations

from edge_server.portal.xtream.dialect import XtreamDialect

DIALECT = XtreamDialect()
