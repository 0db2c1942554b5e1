"""RTSP (RFC 2326) in the dialects of IPTV boxes, and plain enough for strangers; docs/protocols/rtsp.md."""

from __future__ import annotations

from edge_server.egress.rtsp.rules import Rules
from edge_server.egress.rtsp.service import RtspService

__all__ = ["RtspService", "Rules"]
