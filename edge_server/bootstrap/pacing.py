"""The pacer of the process and what it sends to multicast groups, as the settings say."""

from __future__ import annotations

from ipaddress import IPv4Address

from edge_server.config import EdgeConfig
from edge_server.egress import EgressContext
from edge_server.egress.multicast import Group, LinearMulticast, MulticastService, parse_groups
from edge_server.linear.following import FollowingChannels
from edge_server.pacing.joined import Windows
from edge_server.pacing.limits import PRIORITIES
from edge_server.pacing.service import Pacing
from edge_server.pacing.timeline import BLOCK_MAX_BYTES
from runtime.clock import Clock
from runtime.settings import ConfigError


def check_pacing(config: EdgeConfig) -> None:
    """Try the settings.

    Raises:
        runtime.settings.ConfigError: one of them makes no sense; the message says what to write.
    """
    if config.pacing_priority not in PRIORITIES:
        raise ConfigError(f"pacing_priority: {config.pacing_priority!r}; write one of {', '.join(PRIORITIES)}")
    if config.pacing_chunks_max_bytes < 8 * BLOCK_MAX_BYTES:
        raise ConfigError(f"pacing_chunks_max_bytes: {config.pacing_chunks_max_bytes}; write {8 * BLOCK_MAX_BYTES} up")
    if config.pacing_late_max_ms <= 0:
        raise ConfigError(f"pacing_late_max_ms: {config.pacing_late_max_ms:g}; write more than 0")
    if not 0 < config.multicast_ttl < 256:
        raise ConfigError(f"multicast_ttl: {config.multicast_ttl}; write 1 to 255")
    if config.multicast_interface:
        try:
            IPv4Address(config.multicast_interface)
        except ValueError as error:
            raise ConfigError(f"multicast_interface: {error}") from error
    _groups(config)


def make_pacing(config: EdgeConfig, clock: Clock) -> Pacing:
    """Make the service that everything sent by the clock relies on."""
    return Pacing(
        clock,
        chunks_max_bytes=config.pacing_chunks_max_bytes,
        late_max_s=config.pacing_late_max_ms / 1000,
        priority=config.pacing_priority,
    )


def make_multicast(config: EdgeConfig, ctx: EgressContext, pacing: Pacing) -> MulticastService:
    """Make the service of the multicast groups."""
    ttl, interface = config.multicast_ttl, config.multicast_interface
    return MulticastService(_groups(config), ctx, pacing, ttl=ttl, interface=interface)


def make_linear_multicast(
    config: EdgeConfig, channels: FollowingChannels, windows: Windows, pacing: Pacing, clock: Clock
) -> LinearMulticast:
    """Make the service of the linear channels' groups."""
    ttl, interface = config.multicast_ttl, config.multicast_interface
    return LinearMulticast(channels.current, windows, clock, pacing, ttl=ttl, interface=interface)


def _groups(config: EdgeConfig) -> tuple[Group, ...]:
    try:
        return parse_groups(config.multicast)
    except ValueError as error:
        raise ConfigError(f"multicast: {error}") from error
