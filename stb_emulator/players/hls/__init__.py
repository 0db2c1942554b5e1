"""HLS (RFC 8216), on demand and live: master, the best variant that the box can decode, then segment by segment."""

from stb_emulator.players.hls.choosing import check_playlist, choose_variant
from stb_emulator.players.hls.player import Hls

__all__ = ["PLAYER", "check_playlist", "choose_variant"]

PLAYER = Hls()
