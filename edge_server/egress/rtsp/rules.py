"""What one RTSP service is told about its conversations, and where it sends those whom it has no place for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from edge_server.egress.rtsp.profiles import Profile

ANY_VENDOR = "ZMSS_ChinaTelcom2.2"
IDLE_S = 60.0
"""A connection without a session is closed after this silence."""
SENT_ON = "sent_on=1"
"""In the query of an address to which a neighbour sent a box: it is not sent on again, so that there is no loop."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What one service is told about its conversations."""

    banner: str
    """``Server:`` of every answer. Boxes choose their dialect by it (reference/stb_protocols §4.1)."""
    sdp_profile: str = "RTP/AVP"
    """Profile of the ``m=`` line. Boxes look at the Transport answer instead; others understand only RTP/AVP."""
    continuous: bool = True
    """RTP numbers go on over a jump (RFC 2326 appendix B). Clients that read RTP-Info can do without; then viewers that
    have jumped get the shared packets of the file, too."""
    vendor_banners: bool = False
    """Boxes that have a banner of their own in ``profiles`` get that one."""
    neighbour: str = ""
    """``rtsp://host:port`` of the edge that takes those for whom there is no place here; empty: they are refused."""
    address_max_count: int = 0
    """Sessions of one address at the same time; 0: as many as there are places."""
    idle_s: float = IDLE_S
    intolerant: frozenset[str] = frozenset()
    """Disagreements that are not lived with, D9 to D24 (docs/protocols/disagreements.md); for laboratories."""

    def banner_for(self, profile: Profile) -> str:
        """Return ``Server:`` for a box of this family; without D17 the same vendor's for all."""
        if "D17" in self.intolerant:
            return ANY_VENDOR
        return (self.vendor_banners and profile.banner) or self.banner

    def is_life(self, how: str) -> bool:
        """Tell whether what was heard keeps a session: everything does, without D15 only GET_PARAMETER."""
        return how == "GET_PARAMETER" or "D15" not in self.intolerant

    def elsewhere(self, url: str) -> str | None:
        """Return the address of the same title on the neighbour; None when there is none, or the box comes from one.

        Without D18 nobody looks where a box comes from.
        """
        if not self.neighbour:
            return None
        parts = urlsplit(url)
        name, _, value = SENT_ON.partition("=")
        if value in parse_qs(parts.query).get(name, ()) and "D18" not in self.intolerant:
            return None
        query = f"{parts.query}&{SENT_ON}" if parts.query else SENT_ON
        return f"{self.neighbour.rstrip('/')}{parts.path}?{query}"
