"""The pacer of the process and what it sends to multicast groups, as the settings say."""

from __future__ import annotations

from ipaddress import IPv4Address

from edge_server.config import EdgeConfig
from edge_server.egress import EgressContext
from edge_server.egress.multicast import Group, MulticastService, Wire, parse_groups
from edge_server.pacing.limits import PRIORITIES
from edge_server.pacing.repair import Shape, parse_shape
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
    _shape(config)
    if not 0 <= config.fcc_port < 65536:
        raise ConfigError(f"fcc_port: {config.fcc_port}; write a UDP port, or 0 for none")
    if not 1.1 <= config.fcc_rate <= 2.0:
        raise ConfigError(f"fcc_rate: {config.fcc_rate:g}; write 1.1 to 2")
    if config.fcc_max_bursts < 1:
        raise ConfigError(f"fcc_max_bursts: {config.fcc_max_bursts}; write 1 or more")


def make_pacing(config: EdgeConfig, clock: Clock) -> Pacing:
    """Make the service that everything sent by the clock relies on."""
    return Pacing(
        clock,
        chunks_max_bytes=config.pacing_chunks_max_bytes,
        late_max_s=config.pacing_late_max_ms / 1000,
        priority=config.pacing_priority,
    )


def make_wire(config: EdgeConfig) -> Wire:
    """Make what all groups have in common."""
    return Wire(config.multicast_ttl, config.multicast_interface, _shape(config), {} if config.fcc_port else None)


def make_multicast(config: EdgeConfig, ctx: EgressContext, pacing: Pacing, wire: Wire) -> MulticastService:
    """Make the service of the multicast groups."""
    return MulticastService(_groups(config), ctx, pacing, wire)


def _groups(config: EdgeConfig) -> tuple[Group, ...]:
    try:
        return parse_groups(config.multicast)
    except ValueError as error:
        raise ConfigError(f"multicast: {error}") from error


def _shape(config: EdgeConfig) -> Shape | None:
    try:
        return parse_shape(config.multicast_fec)
    except ValueError as error:
        raise ConfigError(f"multicast_fec: {error}") from error
