"""RTSP video on demand, the old boxes' way: MPEG-TS over RTP or bare, by UDP or inside the connection."""

from stb_emulator.players.rtsp.driver import RtspPlayer

PLAYER = RtspPlayer()

__all__ = ["PLAYER", "RtspPlayer"]
