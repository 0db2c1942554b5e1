"""Names of published files that the pulling side builds itself."""

from __future__ import annotations


def pack_path(sha256: str) -> str:
    """Return the name of a pack, relative to the base."""
    return f"packs/{sha256[:2]}/{sha256}"
