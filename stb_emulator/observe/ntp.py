"""Asking a time server as a box does: the first answer that may be followed counts (RFC 5905 §14)."""

from __future__ import annotations

import asyncio
from datetime import datetime

from stb_emulator.observe import PlayError, Stage
from stb_emulator.observe.line import Line
from wire.sntp import CLIENT, SERVER, UNSYNCHRONISED, Packet, SntpError, parse, read_moment, write_moment

DEFAULT_PORT = 123
TRIES = 2
ANSWER_S = 2.0


class _Answer(asyncio.DatagramProtocol):
    def __init__(self, came: asyncio.Future[bytes]) -> None:
        self._came = came

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        if not self._came.done():
            self._came.set_result(data)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there; then nothing comes."""


async def ask_time(server: str, line: Line, own: datetime) -> datetime | None:
    """Return the time of ``host`` or ``host:port``; None when it says nothing that may be followed.

    Raises:
        PlayError: the host is not permitted.
    """
    host, _, port = server.partition(":")
    if port and not port.isdecimal():
        raise PlayError(Stage.LOGIN, "时间服务器地址有误", f"bad address of a time server: {server[:40]!r}")
    line.guard.check(f"udp://{host}", Stage.LOGIN)
    for _ in range(TRIES):
        asked = write_moment(own)
        request = Packet(leap=UNSYNCHRONISED, version=4, mode=CLIENT, stratum=0, poll=6, precision=-6, transmit=asked)
        loop = asyncio.get_running_loop()
        came: asyncio.Future[bytes] = loop.create_future()
        try:
            transport, _protocol = await loop.create_datagram_endpoint(
                lambda came=came: _Answer(came),  # type: ignore[misc]
                remote_addr=(host, int(port or DEFAULT_PORT)),
            )
        except OSError:
            return None
        try:
            transport.sendto(request.write())
            async with asyncio.timeout(ANSWER_S):
                told = parse(await came)
        except (TimeoutError, SntpError):
            continue
        finally:
            transport.close()
        if told.mode == SERVER and told.origin == asked and told.stratum and told.leap != UNSYNCHRONISED:
            return read_moment(told.transmit, own)
    return None
