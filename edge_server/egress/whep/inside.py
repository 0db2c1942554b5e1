"""The one place that looks inside aiortc: ICE and DTLS are aiortc's, the media packets go past it.

aiortc makes, encrypts and sends each packet for each viewer on its own; the packets of a lesson are shared here, so
only its keys and its socket are wanted. ``lacking`` tells which of the private parts that this needs are gone; a test
asks it, so that a new version of aiortc fails there and not in a village.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import aioice
from aiortc import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCIceGatherer,
    RTCIceParameters,
    RTCIceTransport,
)
from aiortc.exceptions import InvalidStateError

from edge_server.egress.whep.datagrams import Datagrams
from edge_server.egress.whep.negotiate import Credentials

Protect = Callable[[bytes], bytes]


class NoConnection(ConnectionError):
    """ICE or DTLS did not come about, or has ended."""


class _OneAddress(aioice.Connection):
    """Offers the one address at which the viewer has already reached us; asks nobody else for more."""

    host = "127.0.0.1"

    async def get_component_candidates(
        self,
        component: int,
        addresses: list[str],
        timeout: int = 5,  # noqa: ASYNC109 - aioice's signature
    ) -> list[aioice.Candidate]:
        return await super().get_component_candidates(component, [self.host], timeout)


class Peer:
    """One viewer's transport."""

    def __init__(
        self,
        host: str,
        feedback: Callable[[bytes], None],
        gone: Callable[[], None],
        media: Callable[[bytes], None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            host: local address to offer; loopback or private.
            feedback: gets each RTCP datagram of the viewer, decrypted.
            gone: called once or more when the connection has ended from there.
            media: gets each RTP packet, decrypted, of somebody who publishes.

        Raises:
            ValueError: the address is neither loopback nor private.
        """
        if not ipaddress.ip_address(host).is_private:
            raise ValueError(f"{host} is neither a loopback nor a private address")
        gatherer = RTCIceGatherer(iceServers=[])
        connection = _OneAddress(ice_controlling=False)
        connection.host = host
        gatherer._connection = connection
        self._gatherer = gatherer
        self._ice = RTCIceTransport(gatherer)
        self._dtls = RTCDtlsTransport(self._ice, [RTCCertificate.generateCertificate()])
        self._datagrams: Datagrams | None = None
        dtls: Any = self._dtls

        async def received(data: bytes) -> None:
            feedback(data)

        def changed() -> None:
            if self._dtls.state in ("closed", "failed"):
                gone()

        dtls._handle_rtcp_data = received
        if media is not None:

            async def played(data: bytes, arrival_time_ms: int) -> None:
                media(data)

            dtls._handle_rtp_data = played
        self._dtls.on("statechange", changed)

    async def gather(self, *, active: bool) -> tuple[Credentials, aioice.Candidate]:
        """Open the port; return what to tell the viewer. ``active``: we begin the DTLS handshake.

        Raises:
            NoConnection: there is no such local address.
        """
        await self._gatherer.gather()
        self._dtls._set_role("client" if active else "server")
        candidates = self._gatherer._connection.local_candidates
        if not candidates:
            raise NoConnection("no port at that address")
        mine = self._gatherer.getLocalParameters()
        prints = tuple((each.algorithm, each.value) for each in self._dtls.getLocalParameters().fingerprints)
        return Credentials(mine.usernameFragment or "", mine.password or "", prints, active), candidates[0]

    async def connect(self, theirs: Credentials) -> None:
        """Wait for the viewer's checks and shake hands; the caller bounds the time.

        The viewer's candidates are of no use: its checks come to the one address it was told, from wherever it is.

        Raises:
            NoConnection: it did not come about.
        """
        prints = [RTCDtlsFingerprint(algorithm=name, value=value) for name, value in theirs.fingerprints]
        try:
            await self._ice.start(RTCIceParameters(usernameFragment=theirs.username, password=theirs.password))
            if self._ice.state != "completed":
                raise NoConnection("ICE failed")
            await self._dtls.start(RTCDtlsParameters(fingerprints=prints))
        except InvalidStateError as error:
            raise NoConnection("closed meanwhile") from error
        if self._dtls.state != "connected":
            raise NoConnection("DTLS failed")
        pair = self._gatherer._connection._nominated[1]
        descriptor = pair.protocol.transport.get_extra_info("socket").fileno()
        self._datagrams = Datagrams(descriptor, pair.remote_addr)

    @property
    def datagrams(self) -> Datagrams:
        """The way to the viewer, once connected."""
        if self._datagrams is None:
            raise NoConnection("not connected")
        return self._datagrams

    @property
    def protect(self) -> Protect:
        """Encrypts an RTP packet (RFC 3711), once connected."""
        protect: Protect = self._dtls._tx_srtp.protect
        return protect

    @property
    def protect_rtcp(self) -> Protect:
        """Encrypts an RTCP datagram."""
        protect: Protect = self._dtls._tx_srtp.protect_rtcp
        return protect

    async def close(self) -> None:
        """Say goodbye (DTLS close) and give everything back; may be called in any state."""
        self._dtls.remove_all_listeners()
        if self._datagrams is not None:
            self._datagrams.close()
        await self._dtls.stop()
        await self._ice.stop()
        await self._gatherer._connection.close()


def lacking() -> list[str]:
    """Name the private parts of aiortc and aioice that are not there any more."""
    gatherer = RTCIceGatherer(iceServers=[])
    dtls = RTCDtlsTransport(RTCIceTransport(gatherer), [RTCCertificate.generateCertificate()])
    wanted: list[tuple[object, str]] = [
        (gatherer, "_connection"),
        (dtls, "_tx_srtp"),
        (dtls, "_set_role"),
        (dtls, "_handle_rtcp_data"),
        (dtls, "_handle_rtp_data"),
        (aioice.Connection, "get_component_candidates"),
        (getattr(gatherer, "_connection", None), "_nominated"),
        (getattr(gatherer, "_connection", None), "local_candidates"),
    ]
    return [f"{type(owner).__name__}.{name}" for owner, name in wanted if not hasattr(owner, name)]
