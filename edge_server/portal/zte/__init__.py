"""ZTE-style portal of old boxes (``/iptvepg``), and the doors of UTStarcom's (``/iptv3a``); stb_protocols §3, §2.9."""

from __future__ import annotations

from edge_server.portal.zte.dialect import ZteDialect

DIALECT = ZteDialect()
