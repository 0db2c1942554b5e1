"""Which boxes are on the local segment: what old boxes' portals ask before they answer (SEC-07)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runtime.networks import Network, is_within, parse_networks
from runtime.settings import ConfigError

_PASSED_ON = ("Forwarded", "Via")
"""A proxy was there and names no address that we read."""
_ADDRESSES = ("X-Real-IP", "X-Forwarded-For")


@dataclass(frozen=True, slots=True)
class Segment:
    """The networks of ``legacy_networks``."""

    networks: tuple[Network, ...]

    def holds(self, remote: str, headers: Mapping[str, str]) -> bool:
        """Tell whether a request comes from the segment, through no proxy or one that says for whom it asks.

        What a proxy says can only take leave away: it must itself be on the segment.
        """
        told = [headers[name] for name in _ADDRESSES if name in headers]
        if not told and any(name in headers for name in _PASSED_ON):
            return False
        # A proxy appends whom it heard; what stands before may be invented, so all of it must be local.
        peers = [remote, *(each.strip() for line in told for each in line.split(","))]
        return all(is_within(each, self.networks) for each in peers)


def make_segment(networks: str) -> Segment:
    """Read the setting ``legacy_networks``.

    Raises:
        runtime.settings.ConfigError: it names what is no network.
    """
    try:
        return Segment(parse_networks(networks))
    except ValueError as error:
        raise ConfigError(f"legacy_networks: {error}; write addresses or networks, e.g. 192.168.1.0/24") from error
