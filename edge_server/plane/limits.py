"""Every bound of the plane."""

from __future__ import annotations

from dataclasses import dataclass

SEND_MAX_BYTES = 4 * 1024 * 1024
"""One call of ``sendfile``: some 200 µs; then the next connection has its turn."""
TURN_MAX_BYTES = 16 * 1024 * 1024
"""Sent in one turn of the event loop, some 1 ms; then everything else in this process has its turn."""
ROUNDS_MAX_COUNT = 8
"""Looks at the sockets in one turn."""
EVENTS_MAX_COUNT = 64
"""Sockets looked at in one round."""
ACCEPTS_MAX_COUNT = 64
"""Connections taken in one turn."""
RECV_MAX_BYTES = 16 * 1024
REST_MAX_BYTES = 64 * 1024
"""Input that waits behind a request that aiohttp is answering."""
REPEATED_MADE_MAX_BYTES = 8192
"""Bytes of an answer that is kept as it was written, apart from the range of a file: the head of an fMP4 segment."""
REPEATED_MAX_COUNT = 1024
"""Ranges, of all resources together, whose answer is kept; players of one kind ask alike."""
FIELDS_KNOWN_MAX_COUNT = 1024
FIELDS_KNOWN_MAX_BYTES = 512
"""Of one field section that is remembered as read; a box sends the same one again and again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that a configuration may want to change."""

    connections_max_count: int = 4096
    """Of all processes of the port together."""
    idle_timeout_s: float = 75.0
    """Between two requests."""
    head_timeout_s: float = 10.0
    """From a connection, or from the first byte of a head, to the end of the head."""
    stuck_timeout_s: float = 60.0
    """Without one byte taken by the client."""
    linger_timeout_s: float = 2.0
    """For the client to read the last answer and close."""
    lingering_max_count: int = 256
    files_max_count: int = 512
    """Files held open for what is played now."""
    found_max_count: int = 8192
    """Answers of the catalogue that are remembered."""
    found_max_bytes: int = 16 * 1024 * 1024
    readers_max_count: int = 4
    """Threads that wait for the disk."""
