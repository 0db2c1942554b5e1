"""What repair packets cost: CPU of sending one RTP group for a minute of its clock, without and with parity.

usage: python -m benchmarks.groups [MBPS …]

The clock is turned by hand, packets go to a loopback port that nobody reads; so the figure is the process's own work,
system calls included, and not the pauses between. Times of CPU, the smallest of three runs.
"""

from __future__ import annotations

import socket
import sys
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from edge_server.pacing.framing import RAW, Frame, frame
from edge_server.pacing.group_sink import Beside, GroupSink
from edge_server.pacing.recent import Recent
from edge_server.pacing.repair import Repair, Shape, parse_shape
from edge_server.pacing.stream import Stream
from edge_server.pacing.timeline import Timeline

SECONDS = 60
TURN_S = 0.025
RUNS = 3
SHAPES = ("", "20+2", "100+5")


def cpu_s(mbps: float, shape: Shape | None) -> float:
    """Send a minute of a stream of this rate; return the seconds of CPU."""
    length = int(mbps * 1e6 / 8 * SECONDS) // 188 * 188
    cuts = tuple(length // (SECONDS // 2) * number // 188 * 188 for number in range(1, SECONDS // 2))
    line = Timeline(np.array([0, length]), np.array([0.0, float(SECONDS)]), length, float(SECONDS), cuts=cuts)
    data = np.random.default_rng(1).integers(0, 256, length, np.uint8).data

    def chunk(block: int, kind: Frame) -> memoryview:
        starts = line.packets.starts
        return frame(data[starts[block] : starts[block + 1]], line.packets.strides[block], RAW)

    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
    ):
        ear.bind(("127.0.0.1", 0))
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        out.connect(ear.getsockname())
        out.setblocking(False)
        repair = None if shape is None else Repair(shape, ssrc=1, sequence=0)
        sink = GroupSink(
            cast(Any, SimpleNamespace(packets=line.packets, chunk=chunk, close=lambda: None)),
            Stream(line, rtp=True, ssrc=2, sequence=0, timestamp=0, now=0.0),
            Frame(rtp=True),
            lambda _: b"",
            data=out.dup(),
            control=None,
            counters=Counter(),
            beside=Beside(Recent(), repair, None if repair is None else out),
        )
        sink.stream.play(0, 0.0)
        begin, now = time.process_time(), 0.0
        while not sink.stream.all_sent:
            sink.pump(now, 0.0)
            now += TURN_S
        took = time.process_time() - begin
        sink.close()
    return took


def main(*rates: str) -> None:
    """Print one line for each rate and shape."""
    print("Mb/s  parity  CPU of one core   ratio")
    for mbps in map(float, rates or ("1.2", "4")):
        plain = 0.0
        for text in SHAPES:
            took = min(cpu_s(mbps, parse_shape(text)) for _ in range(RUNS))
            plain = plain or took
            print(f"{mbps:4g}  {text or 'none':>6}  {took / SECONDS:14.3%}  {took / plain:6.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
