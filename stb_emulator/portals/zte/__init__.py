"""The ZTE-style portal as a box sees it (stb_protocols §3), with the older doors that lead into it (§2.9)."""

from stb_emulator.portals import OpenPortal
from stb_emulator.portals.zte.portal import ZtePortal

PORTAL: OpenPortal = ZtePortal

__all__ = ["PORTAL", "ZtePortal"]
