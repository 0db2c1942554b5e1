"""Time for boxes without a clock: a simple server of NTP (RFC 5905 §14), on the local segment only (disagreement D21).

It tells the machine's own time and sets nothing. Who asks is told not to follow as long as nothing has shown that the
machine's clock is about right: signed metadata of the central platform does, by the day on which it was made.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

from runtime.clock import Clock
from wire.sntp import CLIENT, SERVER, UNSYNCHRONISED, Packet, SntpError, parse, write_moment

STRATUM = 10
"""A machine whose clock nobody disciplines for certain: every other server is to be preferred."""
PRECISION = -20
"""About a microsecond."""
DISPERSION_S = 1.0
"""How wrong a clock that is about right may be; what follows it is a box that shows the time of day."""
CONTACT_AGE_MAX = timedelta(days=45)
"""For so long metadata are fresh; a clock that ran ahead is told until then."""
LOCAL, WAITING = b"LOCL", b"INIT"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

Moments = Callable[[], tuple[datetime, datetime]]
"""The latest time that was believed here or the clock's, and when the newest metadata had been signed."""


def answer(data: bytes, received: datetime, sent: datetime, *, proved: bool) -> bytes | None:
    """Answer one datagram; None when it is no request. The answer is never longer than what was asked."""
    try:
        asked = parse(data)
    except SntpError:
        return None
    if asked.mode != CLIENT:
        return None
    return Packet(
        leap=0 if proved else UNSYNCHRONISED,
        version=asked.version,
        mode=SERVER,
        stratum=STRATUM if proved else 0,
        poll=asked.poll,
        precision=PRECISION,
        root_dispersion=round(DISPERSION_S * 65536),
        reference_id=LOCAL if proved else WAITING,
        reference=write_moment(received) if proved else 0,
        origin=asked.transmit,
        receive=write_moment(received),
        transmit=write_moment(sent),
    ).write()


def is_proved(clock_says: datetime, believed: datetime, contact: datetime) -> bool:
    """Tell whether the machine's clock may be told to others: no earlier than what was believed, near a contact."""
    return contact > _LONG_AGO and max(contact, believed) <= clock_says <= contact + CONTACT_AGE_MAX


class NtpService:
    """A ``runtime.service.Service``."""

    def __init__(
        self,
        host: str,
        port: int,
        clock: Clock,
        moments: Moments,
        *,
        is_local: Callable[[str], bool],
        mute: bool = False,
    ) -> None:
        """Prepare; nothing listens yet. ``mute``: nobody is answered, for laboratories."""
        self.host, self.port = host, port
        self.counters: Counter[str] = Counter()
        self._clock, self._moments, self._is_local, self._mute = clock, moments, is_local, mute

    async def run(self, ready: Callable[[], None]) -> None:
        """Listen until cancelled.

        Raises:
            OSError: the port is taken.
        """
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Port(self), local_addr=(self.host, self.port))
        try:
            self.port = int(transport.get_extra_info("sockname")[1])
            ready()
            await asyncio.Event().wait()
        finally:
            transport.close()

    async def drain(self) -> None:
        """Nothing to finish."""

    def reply(self, data: bytes, address: str) -> bytes | None:
        """Return what a datagram is answered."""
        received = self._clock.utc()
        if self._mute or not self._is_local(address):
            self.counters["not answered"] += 1
            return None
        believed, contact = self._moments()
        sent = self._clock.utc()  # after what was believed, which is the clock's own word as a rule
        proved = is_proved(sent, believed, contact)
        told = answer(data, received, sent, proved=proved)
        self.counters["not answered" if told is None else "answered" if proved else "not to be followed"] += 1
        return told


class _Port(asyncio.DatagramProtocol):
    def __init__(self, service: NtpService) -> None:
        self._service = service
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        told = self._service.reply(data, str(addr[0]))
        if told is not None and self._transport is not None:
            self._transport.sendto(told, addr)

    def error_received(self, exc: Exception) -> None:
        """Who asked is gone."""
