"""Signed metadata (The Update Framework, python-tuf 7): keys, what the publisher signs, what an edge believes.

Roles: *root* and *targets* are signed by two of three keys that are kept off line; *snapshot*, *timestamp* and
*channels* have one key each, on line. The targets metadata names no target itself: it delegates every name to 16 hash
bins (TAP 15), which the channels key signs, so that a new channel needs no offline key and a release costs the same
with one channel or a thousand. Expiry stops *updating*, never *serving* (``docs/formats/sync.md`` §3).

For the publisher (``keys``, ``signing``, ``rotation``; all values, nothing here writes into the published folder)::

    keys = Keys(folder, offline=None)            # folder/online, folder/offline (or the given, wherever it is mounted)
    keys.generate()                              # new keys for all roles; files 0600, folders 0700, durable
    ledger = Ledger.first(keys, now)             # version 1 of everything, no target; needs the offline keys
    ledger = Ledger.read(read)                   # read(name) -> bytes of metadata/<name>, FileNotFoundError when absent
    ledger.target(path) -> TargetFile | None     # .hashes["sha256"], .length
    ledger.paths() -> tuple[str, ...]
    ledger = ledger.naming({path: data, ...}, keys, now, taken)     # one new version of the bins concerned
    ledger = ledger.without([path, ...], keys, now, taken)          # unknown paths are ignored
    ledger = ledger.refreshed(keys, now, taken)                     # new timestamp, and what would run out too soon
    ledger = rotated(ledger, ["timestamp", "snapshot"], keys, now, taken)    # new keys for these; needs offline keys
    for name, data in ledger.files(): ...        # write in this order, each durable before the next; write-once, only
                                                 # timestamp.json is ever replaced
    ledger.bundle_timestamp(keys, now) -> bytes  # goes into a bundle as metadata/timestamp.json, in place of the other
    ledger.offline_due -> datetime               # by then the offline keys must be brought back (run ``refreshed``)

``taken(name) -> bool`` tells whether ``metadata/<name>`` exists. A ledger is immutable: several steps may be chained
and written once. ``naming``, ``without`` and ``refreshed`` raise ``ClockDoubtful`` when ``now`` is before the last
signing, or more than 30 days after it; ``sure=True`` lifts the second. ``KeyUnavailable`` says which key files are
missing and where they were looked for.

For the edge (``refresh``, ``memory``)::

    memory = ChannelMemory(folder, channel, anchor)              # folder/1.root.json, folder/channels/<channel>.head
    memory.anchor, memory.head -> Remembered | None              # .raw .seq .issued .era
    trusted = await trusted_target(path, anchor=memory.anchor, folder=folder, source=source, now=clock.utc(),
                                   received=count, road="network")   # or road="bundle"
    trusted.target -> TargetFile | None; trusted.era -> str
    memory.keep_head(raw, head, era=trusted.era)                 # durable; refuses rollback, other channel; before
                                                                 # anything is fetched that the head names

``head`` is anything with ``channel``, ``seq`` and ``issued`` (text): ``sync.head.Head`` is. The floor of the clock
(newest ``issued`` of any channel's head in ``folder/channels``) is applied inside ``trusted_target``.
"""

from __future__ import annotations

from typing import Literal

Road = Literal["network", "bundle"]
"""How metadata comes: over the line, or on a disk or one-way link that may be long under way. A timestamp is good for
one road only, so that the long-lived one of a bundle cannot be replayed over the line to freeze an edge."""

KEYS_PER_OFFLINE_ROLE = 3
OFFLINE_THRESHOLD = 2

BIN_PREFIX = "ch"
BIN_BITS = 4
"""16 hash bins: with 60 channels, four in a bin."""

ROOT_EXPIRY_DAYS = 3650
TARGETS_EXPIRY_DAYS = 365
BIN_EXPIRY_DAYS = 365
SNAPSHOT_EXPIRY_DAYS = 365
TIMESTAMP_EXPIRY_DAYS = 14
"""The publisher must refresh at least this often, or edges refuse to update (*freeze*)."""
BUNDLE_EXPIRY_DAYS = 120
"""Of the timestamp in a bundle. All that lies under a timestamp outlives this, or is renewed in time."""

ROOT_MAX_BYTES = 64 * 1024
TIMESTAMP_MAX_BYTES = 16 * 1024
SNAPSHOT_METADATA_MAX_BYTES = 256 * 1024
TARGETS_MAX_BYTES = 1024 * 1024
ROOT_ROTATIONS_MAX = 256

ANCHOR_NAME = "1.root.json"
