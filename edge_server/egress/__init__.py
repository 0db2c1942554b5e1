"""One way out a module: files (progressive, HLS), RTSP. They do not know each other.

HTTP egresses offer routes for the one aiohttp application that ``bootstrap`` builds; egresses with sockets of their
own are services (``runtime.service.Service``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from edge_server.catalog import CatalogView
from edge_server.packager import Shelf
from runtime.clock import Clock

SERVER_BANNER = "EdgeServer"


@dataclass(frozen=True, slots=True)
class EgressContext:
    """What an egress may ask for."""

    view: Callable[[], CatalogView]
    """The catalogue view of the active snapshot, looked up afresh for each request (cheap)."""
    shelf: Shelf
    clock: Clock


Routes = Callable[[EgressContext], Sequence[web.RouteDef]]
"""Each HTTP egress module has one function ``routes`` of this type."""
