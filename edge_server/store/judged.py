"""What time it is for matters of trust, on a machine whose clock may be wrong or missing (SEC-16).

Two moments are kept in ``judged.json``: ``seen``, the latest time that was ever believed here, and ``contact``, when
the newest metadata that was verified here had been signed. Time never runs back below ``seen``; so a clock that was set
back brings no expired item to light. A clock that once ran ahead is forgiven at the next contact, whose signed time
says within the metadata's lifetime what time it really is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from runtime.clock import Clock
from sync.store.files import write_file

NOTE_EVERY = timedelta(minutes=10)
"""``seen`` is written so often at most: an edge must not wear out its disk by looking at the clock."""
AHEAD_MAX = timedelta(days=150)
"""Longer than the longest lifetime of freshness metadata (120 days, on bundles): later than that after a contact, the
clock must have been wrong."""
FILE_MAX_BYTES = 1024
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Moments(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``judged.json``."""

    seen: datetime = _LONG_AGO
    contact: datetime = _LONG_AGO


class JudgedTime:
    """Time for one edge folder; what another process writes is seen at once."""

    def __init__(self, root: Path, clock: Clock) -> None:
        """Nothing is read yet."""
        self._file, self._clock = root / "judged.json", clock
        self._mark: tuple[int, int] | None = None
        self._moments = Moments()

    def now(self) -> datetime:
        """Return the later of the clock and the latest time that was believed here."""
        return max(self._clock.utc(), self._read().seen)

    def contact(self) -> datetime:
        """Return when the newest verified metadata had been signed; the epoch before the first."""
        return self._read().contact

    def moments(self) -> tuple[datetime, datetime]:
        """Return `now` and `contact` at the price of one look at the disk."""
        moments = self._read()
        return max(self._clock.utc(), moments.seen), moments.contact

    def note(self) -> None:
        """Remember what time it is; call it every now and then."""
        moments, now = self._read(), self.now()
        if now - moments.seen >= NOTE_EVERY:
            self._write(msgspec.structs.replace(moments, seen=now))

    def met(self, signed_at: datetime) -> None:
        """Remember a contact: verified metadata that was signed at that time."""
        moments = self._read()
        contact = max(moments.contact, signed_at)
        seen = moments.seen if moments.seen <= signed_at + AHEAD_MAX else signed_at
        after = Moments(seen=max(seen, contact), contact=contact)
        if after != moments:
            self._write(after)

    def _read(self) -> Moments:
        try:
            state = self._file.stat()
        except FileNotFoundError:
            return self._moments
        mark = (state.st_mtime_ns, state.st_ino)
        if mark != self._mark:
            try:
                raw = self._file.read_bytes()[:FILE_MAX_BYTES]
                self._moments = msgspec.json.decode(raw, type=Moments)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self._moments = Moments()  # a damaged file costs the memory of time, not the service
            self._mark = mark
        return self._moments

    def _write(self, moments: Moments) -> None:
        write_file(self._file, msgspec.json.encode(moments))
        self._moments, self._mark = moments, None
