"""The publishing side of sync: takes files in, writes releases (``docs/formats/sync.md``), signs them.

``Publisher`` is all that others need. One folder holds ``published/`` (hand it out as it is), ``keys/``,
``index.sqlite`` (disposable) and ``incoming/`` (what is being written).
"""

from __future__ import annotations

from sync.publishing.change import Change
from sync.publishing.errors import AlreadyThere, PublishError
from sync.publishing.export import ExportSet
from sync.publishing.prune import Pruned
from sync.publishing.publisher import Publisher

__all__ = ["AlreadyThere", "Change", "ExportSet", "Pruned", "PublishError", "Publisher"]
