"""WHEP: a lesson in a browser by WebRTC, sent as it is stored; no picture is decoded or encoded here."""

from __future__ import annotations

from edge_server.egress.whep.on_demand import WhepOnDemand

__all__ = ["WhepOnDemand"]
