"""JSON for new boxes, phones and other programs, described by ``schema.json``; docs/protocols/json_api.md."""

from __future__ import annotations

from edge_server.portal.json_api.dialect import JsonApiDialect

DIALECT = JsonApiDialect()
