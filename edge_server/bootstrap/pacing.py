"""The pacer of the process, as the settings say."""

from __future__ import annotations

from edge_server.config import EdgeConfig
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


def make_pacing(config: EdgeConfig, clock: Clock) -> Pacing:
    """Make the service that everything sent by the clock relies on."""
    return Pacing(
        clock,
        chunks_max_bytes=config.pacing_chunks_max_bytes,
        late_max_s=config.pacing_late_max_ms / 1000,
        priority=config.pacing_priority,
    )
