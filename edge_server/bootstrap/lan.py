"""Makes what an edge needs to be a neighbour on its LAN, as its configuration says (docs/formats/sync.md §15)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_server.config import EdgeConfig
from edge_server.uplink.discovery import Discovery
from edge_server.uplink.relay import Relay
from runtime.clock import Clock
from runtime.settings import ConfigError
from sync.holding import Holding
from sync.pull.watch import Watch
from sync.relay import Keep, Keeping, PackWindow
from sync.road import OPEN, Source
from sync.road.neighbours import Neighbourly
from sync.road.standing import Bulletin
from sync.road.throttle import Throttle

FOLDER = "relay"


@dataclass(frozen=True)
class Lan:
    """What is shared with neighbours, and who they are."""

    bulletin: Bulletin
    discovery: Discovery
    relay: Relay | None
    """What is handed on; None when nothing is."""

    @property
    def watch(self) -> Watch | None:
        """Who has to hear what a pull brings."""
        return self.relay.window if self.relay else None

    def around(self, uplink: Source, clock: Clock) -> Source:
        """Return a source that asks neighbours where that spares the uplink, and keeps what may be handed on."""
        shared = Neighbourly(self.bulletin, uplink, self.discovery.peers, clock)
        return Keeping(shared, self.relay.keep) if self.relay else shared


def make_lan(config: EdgeConfig, root: Path, holding: Holding, clock: Clock, port: Callable[[], int]) -> Lan:
    """Read the settings of the LAN; ``port`` tells the HTTP port once it listens.

    Raises:
        runtime.settings.ConfigError: one of them makes no sense; the message says what to write.
    """
    discovery = _discovery(config, clock, port)
    bulletin = Bulletin(config.edge_id, config.area)
    if not config.lan_share:
        return Lan(bulletin, discovery, None)
    gate = Throttle(clock, lambda: config.lan_share_bps) if config.lan_share_bps > 0 else OPEN
    return Lan(bulletin, discovery, Relay(bulletin, Keep(root / FOLDER), PackWindow(holding), gate))


def check_lan(config: EdgeConfig, clock: Clock) -> None:
    """Try the settings of the LAN; touches no file.

    Raises:
        runtime.settings.ConfigError: one of them makes no sense; the message says what to write.
    """
    _discovery(config, clock, lambda: 0)


def _discovery(config: EdgeConfig, clock: Clock, port: Callable[[], int]) -> Discovery:
    static = [each.strip() for each in config.lan_edges.split(",") if each.strip()]
    try:
        return Discovery(config.edge_id, config.area, port=port, clock=clock, static=static, multicast=config.lan_find)
    except ValueError as error:
        raise ConfigError(f"lan_edges or edge_id: {error}") from error
