"""Channels by multicast: bare transport stream or RTP, mended by parity, begun by a burst (stb_protocols §4.11)."""

from stb_emulator.players.multicast.driver import MulticastPlayer

__all__ = ["PLAYER"]

PLAYER = MulticastPlayer()
