"""Fetches one channel from its address, for as long as the edge runs: a process of its own, begun anew when it ends."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress

import msgspec
import structlog

from edge_server.live import Kind, Sample
from edge_server.live.channel import LiveChannel
from edge_server.live.records import HEAD, NotARecord, read_head
from runtime.clock import Clock

AGAIN_FIRST_S, AGAIN_MAX_S = 0.5, 30.0
"""Between two tries; doubled each time that nothing came."""
END_WAIT_S = 2.0
PIPE_MAX_BYTES = 1 << 20

log = structlog.get_logger()


class Reading:
    """The process that speaks to a source."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Hold it."""
        assert process.stdin is not None and process.stdout is not None
        self.process, self.stdin, self.stdout = process, process.stdin, process.stdout

    async def sample(self) -> Sample | None:
        """Return the next sample; None when the process has ended.

        Raises:
            NotARecord: it writes nonsense.
        """
        try:
            kind, pts, dts, length = read_head(await self.stdout.readexactly(HEAD.size))
            return Sample(kind, pts, dts, await self.stdout.readexactly(length))
        except asyncio.IncompleteReadError:
            return None

    async def close(self) -> None:
        """End it."""
        self.stdin.close()
        try:
            async with asyncio.timeout(END_WAIT_S):
                while await self.stdout.read(PIPE_MAX_BYTES):
                    pass
                await self.process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


async def start_reading(url: str) -> Reading:
    """Start the process; an empty address is for sound that comes by its standard input.

    Raises:
        OSError: no process can be started.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edge_server.live.reader",
        stdin=pipe,
        stdout=pipe,
        limit=PIPE_MAX_BYTES,
        start_new_session=True,
    )
    reading = Reading(process)
    reading.stdin.write(msgspec.json.encode(url) + b"\n")  # not as an argument: it may have a password
    return reading


class Ingest:
    """A ``runtime.service.Service``."""

    def __init__(self, channel: LiveChannel, clock: Clock) -> None:
        """Nothing is fetched yet."""
        self._channel, self._clock = channel, clock

    async def run(self, ready: Callable[[], None]) -> None:
        """Fetch until cancelled."""
        ready()
        clock, again_s = self._clock, AGAIN_FIRST_S
        while True:
            try:
                heard = await self._read()
            except (OSError, NotARecord) as error:
                heard = False
                log.warning("live source failed", channel=self._channel.plan.channel_id, why=str(error))
            except Exception:
                # The outermost edge of one source: a fault of ours must not end the other channels.
                heard = False
                self._channel.counters["sources failed"] += 1
                log.exception("live source failed", channel=self._channel.plan.channel_id)
            again_s = AGAIN_FIRST_S if heard else min(AGAIN_MAX_S, 2 * again_s)
            self._channel.counters["tries"] += 1
            await clock.sleep_until(clock.monotonic() + again_s)

    async def drain(self) -> None:
        """Nothing to finish: a source has no end."""

    async def _read(self) -> bool:
        """Read the source until it ends; tell whether pictures came."""
        channel, clock, heard = self._channel, self._clock, False
        reading = await start_reading(channel.plan.source)
        try:
            while (sample := await reading.sample()) is not None:
                now_s = clock.monotonic()
                if sample.kind is Kind.WORDS:
                    words = sample.data.decode("utf-8", "replace")
                    channel.refuse(words)
                    log.warning("live source not taken", channel=channel.plan.channel_id, why=words)
                elif sample.kind is Kind.BEGIN:
                    channel.begin(sound=bool(sample.data), now_s=now_s)
                    log.info("live source came", channel=channel.plan.channel_id)
                elif channel.is_given:
                    heard = True
                    channel.take(sample, now_s, clock.utc())
        finally:
            if channel.is_given:
                log.info("live source gone", channel=channel.plan.channel_id)
            channel.leave(clock.monotonic())
            await reading.close()
        return heard
