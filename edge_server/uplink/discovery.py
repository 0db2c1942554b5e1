"""Finding other edges on the LAN: a static list, and DNS-SD over multicast DNS (RFC 6762, RFC 6763).

What is found is only an address to ask: the neighbour says itself who it is, and nothing that it gives is believed. A
missing, late or changing network is normal here, so nothing of it is an error and nothing is logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import ifaddr
import zeroconf
from zeroconf import IPVersion, ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from edge_server.uplink.relay import PREFIX, is_on_lan
from runtime.clock import Clock
from sync.road.neighbours import Peer

SERVICE = "_rural-edge._tcp.local."
PEERS_MAX = 32
"""Found ones beyond are not asked; those of the static list come first."""
PENDING_MAX = 64
"""Names that were announced and not resolved yet."""
RECHECK_S = 30.0
"""So often it is looked whether this machine has other addresses than before, or a network at all."""
SOON_S = 1.0
RESOLVE_MS = 3000
CLOSE_S = 3.0
TEXT_MAX_CHARACTERS = 128

Addresses = Callable[[], Sequence[str]]


def own_addresses() -> tuple[str, ...]:
    """Return this machine's IPv4 addresses in LANs, sorted; loopback is none."""
    try:
        adapters = list(ifaddr.get_adapters())
    except OSError:
        return ()
    found = {each.ip for adapter in adapters for each in adapter.ips if isinstance(each.ip, str)}
    return tuple(sorted(each for each in found if is_on_lan(each) and not ipaddress.ip_address(each).is_loopback))


def static_peer(text: str) -> Peer:
    """Read one entry of the static list.

    Raises:
        ValueError: not ``http://host:port`` or ``https://host:port``.
    """
    base = text.strip().rstrip("/")
    if not base.startswith(("http://", "https://")) or base.count("/") != 2 or any(each in base for each in "?#@ "):
        raise ValueError(f"{text!r}: write a neighbour as http://host:port")
    return Peer(base + PREFIX)


class Discovery:
    """A ``runtime.service.Service`` that knows who may be there; ``peers`` may be called before it runs."""

    def __init__(
        self,
        edge_id: str,
        area: str,
        *,
        port: Callable[[], int],
        clock: Clock,
        static: Sequence[str] = (),
        multicast: bool = True,
        addresses: Addresses = own_addresses,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            edge_id: Of this edge, 1 to TEXT_MAX_CHARACTERS.
            area: Of this edge; edges of others are not asked.
            port: Tells the port of the relay once it listens; 0: not yet, nothing is announced.
            clock: For looking again.
            static: ``http://host:port`` of neighbours that are asked in any case.
            multicast: Whether to look for others, and to be found.
            addresses: Where to announce and to listen.

        Raises:
            ValueError: an entry of the list that is no address, or an id that is too long.
        """
        if not 1 <= len(edge_id) <= TEXT_MAX_CHARACTERS or len(area) > TEXT_MAX_CHARACTERS:
            raise ValueError(f"an edge's id has 1 to {TEXT_MAX_CHARACTERS} characters, not {len(edge_id)}")
        self._edge_id, self._area, self._port, self._clock = edge_id, area, port, clock
        self._static = [static_peer(each) for each in static]
        self._multicast, self._addresses = multicast, addresses
        self._found: dict[str, Peer] = {}
        """By the name of the service."""
        self._pending: dict[str, bool] = {}
        """Name, and whether it is there (still)."""
        self._news = asyncio.Event()

    def peers(self) -> tuple[Peer, ...]:
        """Return who may be there now; quick, without any I/O."""
        return tuple(dict.fromkeys([*self._static, *self._found.values()]))[:PEERS_MAX]

    async def run(self, ready: Callable[[], None]) -> None:
        """Look for others until cancelled."""
        logging.getLogger("zeroconf").setLevel(logging.CRITICAL)
        ready()
        while self._multicast:
            addresses = await asyncio.to_thread(self._usable)
            pause_s = RECHECK_S
            if addresses and (port := self._port()):
                try:
                    await self._meet(addresses, port)
                    pause_s = SOON_S
                except* (OSError, zeroconf.Error, TimeoutError):
                    pass  # no multicast here, or not yet
            elif addresses:
                pause_s = SOON_S
            self._found.clear()
            await self._clock.sleep_until(self._clock.monotonic() + pause_s)
        await asyncio.Event().wait()

    async def drain(self) -> None:
        """Nothing to finish."""

    async def _meet(self, addresses: tuple[str, ...], port: int) -> None:
        """Announce and listen until this machine's addresses change."""
        async with _multicast(addresses) as network, asyncio.TaskGroup() as group:
            browser = AsyncServiceBrowser(network.zeroconf, SERVICE, handlers=[self._hear])
            resolving = group.create_task(self._resolve(network))
            try:
                await (await network.async_register_service(self._card(addresses, port), allow_name_change=True))
                while await asyncio.to_thread(self._usable) == addresses and self._port() == port:
                    await self._clock.sleep_until(self._clock.monotonic() + RECHECK_S)
            finally:
                resolving.cancel()
                await browser.async_cancel()

    def _usable(self) -> tuple[str, ...]:
        return tuple(each for each in self._addresses() if _is_mine(each))

    def _card(self, addresses: Sequence[str], port: int) -> AsyncServiceInfo:
        name = f"edge-{hashlib.sha256(self._edge_id.encode()).hexdigest()[:16]}"
        return AsyncServiceInfo(
            SERVICE,
            f"{name}.{SERVICE}",
            port=port,
            properties={"id": self._edge_id, "area": self._area},
            server=f"{name}.local.",
            parsed_addresses=list(addresses),
        )

    def _hear(
        self, zeroconf: zeroconf.Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if name in self._pending or len(self._pending) < PENDING_MAX:
            self._pending[name] = state_change is not ServiceStateChange.Removed
            self._news.set()

    async def _resolve(self, network: AsyncZeroconf) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._pending:
                name, is_there = next(iter(self._pending.items()))
                del self._pending[name]
                peer = None
                if is_there:
                    with suppress(OSError, zeroconf.Error, ValueError, UnicodeDecodeError):
                        peer = await self._peer(network, name)
                if peer is None:
                    self._found.pop(name, None)
                elif name in self._found or len(self._found) < PEERS_MAX:
                    self._found[name] = peer

    async def _peer(self, network: AsyncZeroconf, name: str) -> Peer | None:
        """Ask where a service is; None when it is this edge, of another area, or not on the LAN."""
        info = AsyncServiceInfo(SERVICE, name)
        if not await info.async_request(network.zeroconf, RESOLVE_MS) or not info.port:
            return None
        said = info.decoded_properties
        if said.get("id") in (None, "", self._edge_id) or (said.get("area") or "") != self._area:
            return None
        for address in info.parsed_addresses(IPVersion.V4Only):
            if is_on_lan(address):
                return Peer(f"http://{address}:{info.port}{PREFIX}")
        return None


def _is_mine(address: str) -> bool:
    """Tell whether an address can be used at this moment: it may have gone since it was listed."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


@asynccontextmanager
async def _multicast(addresses: Sequence[str]) -> AsyncIterator[AsyncZeroconf]:
    network = AsyncZeroconf(interfaces=list(addresses), ip_version=IPVersion.V4Only)
    try:
        yield network
    finally:
        with suppress(OSError, zeroconf.Error, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await network.async_close()
