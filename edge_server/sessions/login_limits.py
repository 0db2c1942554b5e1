"""Bounds of the table of logins."""

from __future__ import annotations

from dataclasses import dataclass

from edge_server.sessions.failures import ThrottleLimits


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """Bounds of the table. The rates follow SEC-08 (dictionary login is throttled)."""

    tokens_max: int = 4096
    tokens_per_remote_max: int = 128
    """One address that asks for more loses its own oldest tokens, nobody else's."""
    token_lifetime_s: float = 300.0
    logins_max: int = 16384
    logins_per_user_max: int = 512
    login_idle_s: float = 2700.0
    """Three heartbeats of the slowest kind (900 s) may be missed."""
    user_token_lifetime_s: float = 86400.0
    """For so long after a login its UserToken gives a new session when the old one ran out (stb_protocols §3.3)."""
    failures_per_user_max: int = 5
    """By boxes that are not known (``failures``)."""
    failures_per_remote_max: int = 20
    """More than for a user, since several stations may come through one translated address."""
    failure_window_s: float = 60.0
    failure_keys_max: int = 8192

    @property
    def throttle(self) -> ThrottleLimits:
        """Bounds of guessing."""
        return ThrottleLimits(
            account_max=self.failures_per_user_max,
            remote_max=self.failures_per_remote_max,
            window_s=self.failure_window_s,
            keys_max=self.failure_keys_max,
        )
