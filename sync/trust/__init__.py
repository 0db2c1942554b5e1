"""Signed metadata (The Update Framework, python-tuf 7): keys, what the publisher signs, what an edge believes.

Expiry stops *updating*, never *serving*: an edge that hears nothing keeps playing what it holds (sync.md C.1).
"""

from __future__ import annotations

ROOT_EXPIRY_DAYS = 3650
TARGETS_EXPIRY_DAYS = 365
SNAPSHOT_EXPIRY_DAYS = 45
TIMESTAMP_EXPIRY_DAYS = 14
"""The publisher must refresh at least this often, or edges refuse to update (*freeze*)."""

ROOT_MAX_BYTES = 64 * 1024
TIMESTAMP_MAX_BYTES = 16 * 1024
SNAPSHOT_METADATA_MAX_BYTES = 256 * 1024
TARGETS_MAX_BYTES = 1024 * 1024
ROOT_ROTATIONS_MAX = 256

ANCHOR_NAME = "1.root.json"
