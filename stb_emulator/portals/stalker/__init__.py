"""Stalker (Ministra) portals, as MAG boxes and Kodi speak to them (stb_protocols §5)."""

from __future__ import annotations

from stb_emulator.portals import OpenPortal
from stb_emulator.portals.stalker.portal import StalkerPortal

PORTAL: OpenPortal = StalkerPortal
