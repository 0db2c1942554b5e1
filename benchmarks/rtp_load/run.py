"""Play and measure."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rtp_load.ledger import Ledger
from benchmarks.rtp_load.session import Refused, Session
from benchmarks.rtp_load.tcp import TcpReader
from benchmarks.rtp_load.udp import UdpReader, dropped
from benchmarks.rtp_load.whole import Whole

BUSY_MAX = 0.90
"""Share of the client's core above which the client was the limit."""
CYCLE_S = 0.010
TIMED_MAX_COUNT = 256
SETUPS_COUNT = 8
"""Sessions that are set up at the same time, so that the round trips do not add up."""
SETUP_DRAIN_S = 0.1


def run(
    host: str,
    port: int,
    path: str,
    sessions: int,
    seconds: float,
    transport: str,
    *,
    ts: Path | None = None,
    compared_share: float = 0.02,
    warm_s: float = 3.0,
    on_measure: Callable[[bool], None] = lambda begins: None,
) -> dict[str, Any]:
    """Play and measure.

    Args:
        host: the server's address.
        port: the server's RTSP port.
        path: of the URL, from the slash on.
        sessions: how many play at the same time.
        seconds: length of the measurement, after all have been set up and ``warm_s`` has passed.
        transport: ``udp`` or ``tcp``.
        ts: the file that must come out, byte by byte.
        compared_share: share of the sessions whose bytes are compared with ``ts``.
        warm_s: seconds between the last PLAY and the measurement.
        on_measure: called with True when the measurement begins and False when it ends (to read the server's clocks).

    Returns:
        Plain numbers; ``valid`` and ``why_invalid`` tell whether they may be used.
    """
    if transport not in ("udp", "tcp"):
        raise ValueError(f"{transport}: udp or tcp")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    ledger = Ledger(sessions, Whole(ts) if ts else None)
    step = max(1, round(1 / compared_share)) if compared_share > 0 else sessions + 1
    compared = set(range(0, sessions, step)) if ts else set()
    ledger.timed[:: max(1, -(-sessions // TIMED_MAX_COUNT))] = True
    reader = UdpReader(ledger, compared) if transport == "udp" else TcpReader(ledger, compared)
    begin = time.monotonic()
    live: list[Session] = []
    why: list[str] = []
    refused, drained = 0, begin
    try:
        with ThreadPoolExecutor(SETUPS_COUNT) as pool:
            asked = {pool.submit(Session, host, port, path, transport): index for index in range(sessions)}
            pending = set(asked)
            while pending:
                done, pending = wait(pending, timeout=CYCLE_S, return_when=FIRST_COMPLETED)
                for each in done:
                    index = asked[each]
                    try:
                        session = each.result()
                    except (Refused, OSError) as error:
                        refused += 1
                        why = why or [f"session {index}: {error}"]
                        continue
                    ledger.ssrc[index], ledger.announced[index] = session.ssrc, session.announced
                    live.append(session)
                    reader.add(index, session)
                if time.monotonic() - drained >= SETUP_DRAIN_S:
                    reader.drain()
                    drained = time.monotonic()
        setup_s = time.monotonic() - begin
        _cycle(reader, time.monotonic() + warm_s)
        ledger.measuring = True
        on_measure(True)
        started, cpu = time.monotonic(), time.process_time()
        _cycle(reader, started + seconds)
        took, cpu = time.monotonic() - started, time.process_time() - cpu
        on_measure(False)
        ledger.measuring = False
        ports = {int(each.data.getsockname()[1]) for each in live if each.data is not None}
        spilled = dropped(ports) if ports else 0
    finally:
        for session in live:
            session.close()
    spreads, gap = ledger.spreads_ms()
    busy = cpu / took
    if busy > BUSY_MAX:
        why.append(f"the client used {busy:.0%} of its core")
    if spilled:
        why.append(f"the client's queues dropped {spilled} packets")
    quiet = int((ledger.packets == 0).sum())
    if quiet > refused:
        why.append(f"{quiet - refused} sessions got nothing while measured")
    playing = max(1, len(live))
    return {
        "transport": transport,
        "sessions": sessions,
        "refused": refused,
        "closed": reader.closed,
        "silent": quiet - refused,
        "seconds": round(took, 3),
        "packets": int(ledger.packets.sum()),
        "packets_a_second": round(float(ledger.packets.sum()) / took),
        "bits_a_second": round(float(ledger.octets.sum()) * 8 / took),
        "bits_a_second_a_session": round(float(ledger.octets.sum()) * 8 / took / playing),
        "lost": int(ledger.lost.sum()),
        "reordered": int(ledger.reordered.sum()),
        "odd": int(ledger.odd.sum()),
        "first_sequence_not_as_announced": ledger.first_wrong,
        "compared": ledger.compared,
        "differing": ledger.differing,
        "spread_median_ms": round(float(np.median(spreads)), 2) if len(spreads) else None,
        "spread_p99_ms": round(float(np.percentile(spreads, 99)), 2) if len(spreads) else None,
        "gap_max_ms": round(gap, 2),
        "dropped_by_client": spilled,
        "setup_s": round(setup_s, 3),
        "setup_median_ms": round(float(np.median([each.setup_s for each in live])) * 1000, 2) if live else None,
        "client_busy": round(busy, 3),
        "valid": not why,
        "why_invalid": "; ".join(why),
    }


def _cycle(reader: UdpReader | TcpReader, until: float) -> None:
    while True:
        now = time.monotonic()
        if now >= until:
            return
        reader.cycle()
        time.sleep(max(0.0, min(now + CYCLE_S, until) - time.monotonic()))
