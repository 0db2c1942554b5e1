"""The pulling side of sync format 2: brings a channel up to date, unit by unit, into a ``sync.holding.Holding``.

::

    puller = Puller(trust_dir=…, source=Mirrors([HttpSource(url), …], clock), holding=Holding(root), anchor=raw)
    pulled = await puller.pull("main", now=clock.utc(), on_removed=hide, make_room=collect)

Afterwards the caller makes ``pulled.listing`` the active one, then ``holding.prune_staged``, ``prune_meta`` and
``prune_recipes``. A newer head that appears meanwhile waits for the next pull. Format: ``docs/formats/sync.md``.
"""

from __future__ import annotations

from sync.pull.puller import SPARE_BYTES, Coming, Look, MakeRoom, Progress, Pulled, Puller, Seen

__all__ = ["SPARE_BYTES", "Coming", "Look", "MakeRoom", "Progress", "Pulled", "Puller", "Seen"]
