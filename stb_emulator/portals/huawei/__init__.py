"""The Huawei-style portal as a box sees it (stb_protocols §2), both operator faces."""

from stb_emulator.portals import OpenPortal
from stb_emulator.portals.huawei.portal import HuaweiPortal

PORTAL: OpenPortal = HuaweiPortal

__all__ = ["PORTAL", "HuaweiPortal"]
