"""Who may fetch media over HTTP: the key of this edge's tickets, and the count of who watches (docs/deploy.md)."""

from __future__ import annotations

import mmap
import secrets
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edge_server.config import EdgeConfig
from edge_server.sessions.tickets import Allowed, Refused, Tickets
from edge_server.sessions.watching import TABLE_BYTES, Watching
from runtime.clock import Clock
from runtime.settings import ConfigError
from sync.store.files import write_file

KEY_NAME = "tickets.key"
KEY_BYTES = 32
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Names the boot that monotonic times belong to (random(4))."""
_WAYS = ("open", "ticket")


@dataclass(frozen=True, slots=True)
class Admission:
    """What decides over HTTP media in one process; the table is shared by all that were given the same memory."""

    tickets: Tickets
    watching: Watching
    max_count: int
    clock: Clock
    counters: Counter[str] = field(default_factory=Counter)

    def door(self, path: str) -> Allowed | Refused:
        """Look at the path of a request."""
        return self.tickets.door(path, self.clock.monotonic())

    def viewers(self) -> int:
        """Count who watches over HTTP now."""
        return self.watching.count(self.clock.monotonic())

    def ticket(self, item_id: str) -> str | None:
        """Give a ticket for an item as a path prefix, empty when none is needed; None when as many watch as may."""
        if not self.tickets.required:
            return ""
        now_s = self.clock.monotonic()
        if self.watching.count(now_s) >= self.max_count:
            self.counters["refused 503"] += 1
            return None
        return self.tickets.prefix(item_id, secrets.randbits(63) + 1, now_s)


def check_admission(config: EdgeConfig) -> None:
    """Try the settings; touches no file.

    Raises:
        runtime.settings.ConfigError: one of them makes no sense; the message says what to write.
    """
    if config.media_access not in _WAYS:
        raise ConfigError(f"media_access: {config.media_access!r}; write `open` or `ticket`")
    if config.ticket_life_s < 1:
        raise ConfigError(f"ticket_life_s: {config.ticket_life_s:g}; write at least 1")


def make_admission(
    config: EdgeConfig, root: Path, clock: Clock, *, memory: memoryview | bytearray | None = None
) -> Admission:
    """Read the settings, and the key, which is made at the first start.

    Args:
        config: the settings.
        root: folder of the edge.
        clock: monotonic time of this boot.
        memory: table of who watches, shared with other processes; by default one of this process alone.

    Raises:
        runtime.settings.ConfigError: a setting makes no sense.
        OSError: the key cannot be read or written.
    """
    check_admission(config)
    boot = b""
    with suppress(OSError):  # without it tickets outlive a reboot, which only makes them last longer
        boot = BOOT_ID.read_bytes().strip()
    tickets = Tickets(_key(root), boot=boot, required=config.media_access == "ticket", life_s=config.ticket_life_s)
    table = memory if memory is not None else memoryview(mmap.mmap(-1, TABLE_BYTES))
    return Admission(tickets, Watching(table), config.http_max_viewings, clock)


def _key(root: Path) -> bytes:
    path = root / KEY_NAME
    with suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) == KEY_BYTES:
            return key  # a damaged one is made anew: links given out before stop working, nothing else is lost
    write_file(path, secrets.token_bytes(KEY_BYTES), mode=0o600)
    return path.read_bytes()
