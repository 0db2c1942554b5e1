"""One way out a module: files (progressive, pages), HLS, RTSP. They do not know each other.

HTTP egresses of media are look-ups from path to `Resource`, which ``edge_server.plane`` sends; egresses with sockets
of their own are services (``runtime.service.Service``). Here is what HTTP egresses share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from domain.courseware import Courseware
from edge_server.catalog import CatalogView
from edge_server.packager import Shelf
from runtime.clock import Clock

SERVER_BANNER = "EdgeServer"
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
NO_LESSON = "没有这个课件，可能已下架 / no such lesson; it may have been withdrawn\n"
"""What a 404 says: unknown, withdrawn or not yet packaged."""


@dataclass(frozen=True, slots=True)
class EgressContext:
    """What an egress may ask for."""

    view: Callable[[], CatalogView]
    """The catalogue view of the active snapshot, looked up afresh for each request (cheap)."""
    shelf: Shelf
    clock: Clock


@dataclass(frozen=True, slots=True)
class FileRange:
    """Bytes of a stored file that go to the socket without passing through Python."""

    file: Path
    offset_bytes: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class Resource:
    """One HTTP representation: bytes made for it, and ranges of stored files, in order."""

    parts: tuple[bytes | FileRange, ...]
    length_bytes: int
    """Of all parts together."""
    etag: str
    """Strong validator, with quotes; at most 60 characters that a multipart boundary may have (RFC 2046 §5.1.1)."""
    modified: datetime
    media_type: str
    cache_control: str
    headers: tuple[tuple[str, str], ...] = ()


def from_file(head: bytes, file: Path, ranges: Iterable[tuple[int, int]]) -> tuple[bytes | FileRange, ...]:
    """Put bytes in front of ranges (position, length in bytes) of a file."""
    return (head, *(FileRange(file, at, length_bytes) for at, length_bytes in ranges))


@dataclass(frozen=True, slots=True)
class Screens:
    """Names of the first screens of a picture-text lesson, beside its page."""

    old: str
    """640 by 530, GBK."""
    television: str
    """1280 by 720."""


FIRST_SCREENS = Screens("gbk-1.html", "tv-1.html")


def screens_of(item: Courseware) -> Screens | None:
    """Tell whether a picture-text lesson was cut into screens; those ingested before there were screens were not."""
    if item.page is None:
        return None
    folder = item.page.path.rpartition("/")[0]
    names = {asset.path for asset in item.page_assets}
    wanted = (FIRST_SCREENS.old, FIRST_SCREENS.television)
    return FIRST_SCREENS if all(f"{folder}/{name}" in names for name in wanted) else None


Find = Callable[[str], Resource | None]
"""Looks a decoded URL path (no query) up in the active snapshot; None: no such thing. Does no file I/O beyond what
finding it needs, so that it may run on the event loop."""


def first_of(*finds: Find) -> Find:
    """Ask one after the other."""

    def look(path: str) -> Resource | None:
        return next((found for find in finds if (found := find(path)) is not None), None)

    return look


def etag_of(sha256: str, part: str = "") -> str:
    """Make a strong validator from the hash of the stored object and the part of it that is sent."""
    return f'"{sha256[:32]}{"-" if part else ""}{part}"'


def moment(rfc3339: str) -> datetime:
    """Read ``issued_at`` of a courseware; the epoch when it is no date."""
    try:
        return datetime.fromisoformat(rfc3339).astimezone(UTC)
    except ValueError:
        return datetime(1970, 1, 1, tzinfo=UTC)
