"""An edge as a mirror for edges on its LAN: it hands on what it fetched and what it holds, as published.

``Keeping`` stands around the edge's source and keeps the small files that come through it; ``PackWindow`` gives parts
of packs out of the objects that the edge holds or that are just coming. Whoever gets something checks it himself, as
with any mirror; yet units are hashed before they leave, so that a disk that rots here does not trouble others.
"""

from __future__ import annotations

from sync.relay.keeping import Keep, Keeping
from sync.relay.window import PackWindow

__all__ = ["Keep", "Keeping", "PackWindow"]
