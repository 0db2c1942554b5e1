"""Keeping the small published files that came by, so that neighbours can have them from here."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sync import Missing, NoSpace
from sync.ids import sha256_hex
from sync.road import Received, Sink, Source, check_file_name
from sync.store.files import TEMPORARY_SUFFIX, write_disposable
from sync.store.threads import in_thread

RELAY_MAX_BYTES = 512 * 1024 * 1024
"""Of all kept files together, the oldest go first."""
SMALL_MAX_BYTES = 32 * 1024 * 1024
"""Of this, what metadata, heads and skip lists may take: without them the rest is of no use to anybody, so that
releases and cards must not push them out."""

TIMESTAMP = "metadata/timestamp.json"
_KEPT = re.compile(
    r"metadata/(timestamp|[0-9]{1,9}\.(root|snapshot|targets|ch-[0-9a-f]{1,4}))\.json"
    r"|targets/ch/[a-z0-9][a-z0-9_-]*/[0-9a-f]{64}\.head\.json"
    r"|(releases|skips)/[0-9a-f]{64}"
    r"|cards/[0-9a-f]{2}/[0-9a-f]{64}"
)
_LARGE = ("releases", "cards")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class _Entry:
    name: str
    size: int
    order: int
    """Nanoseconds; smaller came earlier."""

    @property
    def is_large(self) -> bool:
        return self.name.startswith(_LARGE)


class Keep:
    """A bounded folder of published files. Disposable; safe for several threads; one process at a time puts files."""

    def __init__(self, root: Path, *, most_bytes: int = RELAY_MAX_BYTES, small_bytes: int = SMALL_MAX_BYTES) -> None:
        """Nothing is read yet; the folder is made with the first file."""
        self._root, self._most = root, (most_bytes - small_bytes, small_bytes)
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] | None = None
        self._bytes = [0, 0]
        """Of large ones and of small ones."""

    def put(self, name: str, data: bytes) -> None:
        """Keep a file that came whole. What is named by its hash and has another is not kept, nor what is too long.

        A file that cannot change is written once; metadata and cards are replaced by what came last, since an edge
        fetches again only what was not good. What the disk does not take is not kept.
        """
        named = "" if name.startswith("cards/") else _hash_in(name)
        if not _KEPT.fullmatch(name) or (named and sha256_hex(data) != named):
            return
        kind = 0 if name.startswith(_LARGE) else 1
        if len(data) > self._most[kind]:
            return
        with self._lock:
            entries = self._listed()
            if name in entries and (named or self._is(name, data)):
                return
            with suppress(OSError, NoSpace):
                write_disposable(self._root / name, data)
                self._note(name)
                self._shrink(kind)

    def path(self, name: str) -> Path:
        """Return where a kept file lies.

        Raises:
            Missing: it is not kept, or nothing that ever is.
        """
        if not _KEPT.fullmatch(name):
            raise Missing(f"{name[:80]!r} is not kept")
        with self._lock:
            if name not in self._listed():
                self._note(name)  # another process may have put it there meanwhile
            if name not in self._listed():
                raise Missing(f"{name} is not kept")
        return self._root / name

    def drop(self, name: str) -> None:
        """Forget a file: it turned out to be wrong."""
        with self._lock:
            if name in self._listed():
                self._remove(name)

    def _listed(self) -> dict[str, _Entry]:
        if self._entries is None:
            self._entries = {}
            found = sorted(self._root.rglob("*")) if self._root.is_dir() else []
            for path in found:
                name = path.relative_to(self._root).as_posix()
                if _KEPT.fullmatch(name):
                    self._note(name)
                elif path.name.endswith(TEMPORARY_SUFFIX):
                    path.unlink(missing_ok=True)
        return self._entries

    def _note(self, name: str) -> None:
        entries = self._listed()
        with suppress(OSError):
            state = (self._root / name).stat()
            if not state.st_size:  # that is what a power cut leaves
                return
            old = entries.pop(name, None)
            entry = entries[name] = _Entry(name, state.st_size, state.st_mtime_ns)
            self._bytes[1 - entry.is_large] += entry.size - (old.size if old else 0)

    def _shrink(self, kind: int) -> None:
        """Remove the oldest of large (0) or small (1) files; the timestamp is never among them."""
        if self._bytes[kind] <= self._most[kind]:
            return
        mine = [each for each in self._listed().values() if each.is_large == (kind == 0) and each.name != TIMESTAMP]
        for each in sorted(mine, key=lambda each: each.order):
            if self._bytes[kind] <= self._most[kind]:
                return
            self._remove(each.name)

    def _remove(self, name: str) -> None:
        entry = self._listed().pop(name)
        self._bytes[1 - entry.is_large] -= entry.size
        with suppress(OSError):
            (self._root / name).unlink(missing_ok=True)

    def _is(self, name: str, data: bytes) -> bool:
        with suppress(OSError):
            return (self._root / name).read_bytes() == data
        return False


class Keeping:
    """A source around a source: what is fetched through it is kept."""

    def __init__(self, inner: Source, keep: Keep) -> None:
        """Keep in ``keep``."""
        self._inner, self._keep = inner, keep

    def __str__(self) -> str:
        """Name what is inside."""
        return str(self._inner)

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """See Source."""
        data = await self._inner.fetch(check_file_name(name), limit_bytes=limit_bytes, received=received)
        await in_thread(self._keep.put, name, data)
        return data

    async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
        """See Source."""
        await self._inner.read(name, start, stop, sink, received=received)

    def reject(self, name: str, start: int = 0, stop: int | None = None) -> bool:
        """Hear that something is wrong: it is not handed on either. Return what the inner source says, if it judges."""
        self._keep.drop(name)
        inner: Callable[..., bool] | None = getattr(self._inner, "reject", None)
        return inner(name, start, stop) if inner is not None else False

    def forgive(self) -> None:
        """Begin anew, if the inner source judges."""
        inner: Callable[[], None] | None = getattr(self._inner, "forgive", None)
        if inner is not None:
            inner()

    async def close(self) -> None:
        """See Source."""
        await self._inner.close()


def _hash_in(name: str) -> str:
    found = _HASH.findall(name)
    return found[-1] if found else ""
