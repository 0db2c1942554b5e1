"""Fetching what is signed, or hashed by what is signed: head, skip list, release objects, cards.

What is named by its hash is kept in ``staging/meta`` until the release it belongs to has arrived, so that a pull that
was cut off does not fetch it twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.ngclient import TargetFile

from sync import Corrupt, TooLong
from sync.card import CARD_MAX_BYTES, card_path
from sync.head import HEAD_MAX_BYTES, Head, NeedSkips, Step, decode_head, decode_skips, head_path, route
from sync.ids import sha256_hex
from sync.listing import Listing, NamedFile, listing_root, read_moment
from sync.pull.ways import Way, way_by_card
from sync.release import Release, apply_release, decode_release
from sync.road import NoRanges, Source
from sync.store.files import write_disposable
from sync.store.threads import in_thread

CARD_SUFFIX = ".card"
RESUMED_MIN_BYTES = 256 * 1024
"""Longer files are read as a range, which goes on where a line that breaks left off."""
ATTEMPTS_MAX = 8
"""Of one file that comes wrong from one mirror after the other."""


@runtime_checkable
class Judged(Protocol):
    """A source that has several roads inside and can be told which bytes were wrong."""

    def reject(self, name: str, start: int = 0, stop: int | None = None) -> bool:
        """Hear that what was served of ``[start, stop)`` is wrong; return whether asking again is of use."""

    def forgive(self) -> None:
        """Begin anew."""


class Astray(Corrupt):
    """Releases that are signed do not lead from the held listing to the signed one: they begin at another."""


class Documents:
    """The small files of one publisher."""

    def __init__(self, source: Source, judge: Judged | None, meta: Path) -> None:
        """Fetch from ``source``, tell ``judge`` of what was wrong, keep in ``meta``."""
        self._source, self._judge, self._meta = source, judge, meta

    async def head(self, channel: str, target: TargetFile) -> tuple[bytes, Head]:
        """Fetch the head that the signed metadata names.

        Raises:
            Corrupt: other bytes, or not a head.
        """
        if target.length > HEAD_MAX_BYTES:
            raise TooLong(f"the head of {channel} has {target.length} bytes; at most {HEAD_MAX_BYTES}")
        folder, _, name = head_path(channel).rpartition("/")
        where = f"targets/{folder}/{target.hashes['sha256']}.{name}"
        raw = await self._signed(where, target.length, lambda raw: _matches(target, raw))
        return raw, decode_head(raw)

    async def advance(self, held: Listing | None, head: Head) -> tuple[Listing, list[Release]]:
        """Return the listing that the head names, and the releases that led from the held one there.

        Raises:
            Untrusted: the head is older than what is held.
            Astray: the releases do not lead to the listing whose hash was signed.
            Corrupt: the source does not have what was signed.
        """
        held_seq = held.seq if held else 0
        try:
            steps = route(held_seq, head, None)
        except NeedSkips:
            raw = await self._hashed("skips", *head.skips)
            steps = route(held_seq, head, decode_skips(raw))
        releases = [await self._release(step, head.channel) for step in steps]
        return await asyncio.to_thread(_arrive, held, releases, head), releases

    async def way_by_card(self, file: NamedFile, *, fresh: bool = False) -> Way:
        """Fetch the card of an object and return the way that it tells; with ``fresh`` not the card that is kept.

        Raises:
            Corrupt: no card of that object and recipe could be had.
        """
        kept = self._kept_card(file)
        raw = None if fresh else await asyncio.to_thread(_read, kept, CARD_MAX_BYTES)
        if raw is not None:
            with suppress(Corrupt):
                return await asyncio.to_thread(way_by_card, file, raw)
        name = card_path(file.sha256)
        for _ in range(ATTEMPTS_MAX):
            raw = await self._source.fetch(name, limit_bytes=CARD_MAX_BYTES, received=_uncounted)
            try:
                way = await asyncio.to_thread(way_by_card, file, raw)
            except Corrupt:
                if self._judge is None or not self._judge.reject(name):
                    raise
            else:
                await in_thread(write_disposable, kept, raw)
                return way
        raise Corrupt(f"{name} came wrong {ATTEMPTS_MAX} times")

    async def have_card(self, file: NamedFile) -> None:
        """Fetch the card of an object for later, unless it is kept; what it says is looked at then."""
        kept = self._kept_card(file)
        if not await asyncio.to_thread(kept.exists):
            raw = await self._source.fetch(card_path(file.sha256), limit_bytes=CARD_MAX_BYTES, received=_uncounted)
            await in_thread(write_disposable, kept, raw)

    def _kept_card(self, file: NamedFile) -> Path:
        return self._meta / (file.sha256 + CARD_SUFFIX)

    async def _release(self, step: Step, channel: str) -> Release:
        raw = await self._hashed("releases", step.sha256, step.length_bytes)
        release = await asyncio.to_thread(decode_release, raw)
        if (release.channel, release.base, release.seq) != (channel, step.base, step.seq):
            raise Corrupt(f"the release object {step.sha256} is of another release")
        return release

    async def _hashed(self, folder: str, sha256: str, length: int) -> bytes:
        kept = self._meta / sha256
        raw = await asyncio.to_thread(_read, kept, length)
        if raw is not None and await asyncio.to_thread(sha256_hex, raw) == sha256:
            return raw
        name = f"{folder}/{sha256}"
        raw = await self._signed(name, length, lambda raw: len(raw) == length and sha256_hex(raw) == sha256)
        await in_thread(write_disposable, kept, raw)
        return raw

    async def _signed(self, name: str, length: int, fits: Callable[[bytes], bool]) -> bytes:
        """Fetch a file until it is the right one, or no other mirror is left."""
        for _ in range(ATTEMPTS_MAX):
            raw = await self._fetch(name, length)
            if await asyncio.to_thread(fits, raw):
                return raw
            if self._judge is None or not self._judge.reject(name):
                break
        raise Corrupt(f"{name} is not the signed file")

    async def _fetch(self, name: str, length: int) -> bytes:
        if length >= RESUMED_MIN_BYTES:
            parts: list[bytes] = []
            with suppress(NoRanges):
                await self._source.read(name, 0, length, parts.append)
                return b"".join(parts)
        try:
            return await self._source.fetch(name, limit_bytes=length, received=_uncounted)
        except TooLong as error:
            raise Corrupt(f"{name} is longer than the {length} bytes that were signed") from error


def _arrive(held: Listing | None, releases: list[Release], head: Head) -> Listing:
    listing = held
    try:
        for release in releases:
            listing = apply_release(listing, release)
    except Corrupt as error:
        raise Astray(f"the releases up to {head.seq} of {head.channel} do not apply: {error}") from error
    if listing is None or listing.seq != head.seq or len(listing.files) != head.files:
        raise Astray(f"the releases do not lead to release {head.seq} of {head.channel}")
    if listing.issued != read_moment(head.issued) or listing_root(listing) != head.root:
        raise Astray(f"the releases lead to another listing than the signed one of release {head.seq}")
    return listing


def _matches(target: TargetFile, raw: bytes) -> bool:
    try:
        target.verify_length_and_hashes(raw)
    except LengthOrHashMismatchError:
        return False
    return True


def _read(path: Path, most: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError:
        return None


def _uncounted(_: int) -> None:
    pass
