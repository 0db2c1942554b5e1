"""The settings of the HTTP port, checked (docs/deploy.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from edge_server.config import EdgeConfig
from edge_server.plane.limits import Limits
from edge_server.plane.lookup import Accel
from edge_server.plane.workers import WORKERS_MAX_COUNT
from runtime.settings import ConfigError

_ORIGIN = re.compile(r"https?://[A-Za-z0-9._-]+(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How the port is served."""

    grace_s: float = 5.0
    limits: Limits = field(default_factory=Limits)
    access_log: Path | None = None
    accel: Accel | None = None
    tls: Tls | None = None
    """Everything goes through aiohttp then, and through Python byte by byte."""


def check_http(config: EdgeConfig) -> None:
    """Try the settings; touches no file.

    Raises:
        runtime.settings.ConfigError: one of them makes no sense; the message says what to write.
    """
    if not 1 <= config.workers <= WORKERS_MAX_COUNT:
        raise ConfigError(f"workers: {config.workers}; write 1 to {WORKERS_MAX_COUNT}, about one for each core")
    if config.http_max_connections < 1:
        raise ConfigError(f"http_max_connections: {config.http_max_connections}; write at least 1")
    if bool(config.tls_cert) != bool(config.tls_key):
        raise ConfigError("tls_cert, tls_key: write both (files in PEM) or none")
    if config.tls_cert and config.workers > 1:
        raise ConfigError("workers: HTTPS is served by the main process alone; write 1, or put a TLS proxy in front")
    if config.accel_prefix and not config.accel_prefix.startswith("/"):
        raise ConfigError(f"accel_prefix: {config.accel_prefix!r}; write a path that begins with /, e.g. /stored/")


def check_api_origin(config: EdgeConfig) -> None:
    """Try the setting.

    Raises:
        runtime.settings.ConfigError: it is no origin (RFC 6454 §7).
    """
    if config.api_origin not in ("", "*") and not _ORIGIN.fullmatch(config.api_origin):
        raise ConfigError(f"api_origin: {config.api_origin!r}; write e.g. http://school.lan, or * for all")


def make_http_settings(config: EdgeConfig, root: Path) -> HttpSettings:
    """Read the settings.

    Raises:
        runtime.settings.ConfigError: one of them makes no sense.
    """
    check_http(config)
    return HttpSettings(
        grace_s=config.grace_s,
        limits=Limits(connections_max_count=config.http_max_connections),
        access_log=root / config.access_log if config.access_log else None,
        accel=Accel(config.accel_prefix, root) if config.accel_prefix else None,
        tls=Tls(root / config.tls_cert, root / config.tls_key) if config.tls_cert else None,
    )
