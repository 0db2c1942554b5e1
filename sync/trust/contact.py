"""When the publisher last said that what an edge has seen is the newest there is."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from tuf.api.metadata import Metadata, Timestamp

from sync.trust import BUNDLE_EXPIRY_DAYS, TIMESTAMP_EXPIRY_DAYS, Road

_LIFETIME_DAYS = {"network": TIMESTAMP_EXPIRY_DAYS, "bundle": BUNDLE_EXPIRY_DAYS}


def signed_at(folder: Path, road: Road) -> datetime:
    """Return when the timestamp that was verified last on that road had been signed, by the publisher's clock.

    Call it after a refresh; ``folder`` is the trust folder. A publisher that gave another lifetime than usual only
    moves this moment by the difference.
    """
    timestamp = Metadata[Timestamp].from_file(str(folder / road / "timestamp.json")).signed
    return timestamp.expires - timedelta(days=_LIFETIME_DAYS[road])
