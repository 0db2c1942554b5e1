"""New boxes, phones and PCs, and the browsers of old boxes: pages that need no script. Pure.

Media, posters and picture-text pages are files; ``egress`` serves those.
"""

from __future__ import annotations

from edge_server.portal.web.dialect import WebDialect

DIALECT = WebDialect()
