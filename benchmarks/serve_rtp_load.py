"""RTSP load client: many sessions of one URL on one core, every packet looked at.

    python benchmarks/serve_rtp_load.py HOST PORT PATH SESSIONS SECONDS udp|tcp [--ts FILE]

Real DESCRIBE, SETUP and PLAY for each session. Of every packet: RTP version, payload type, size, sync byte, SSRC and
sequence number. Of the packets of a share of the sessions also each byte, against the transport stream file when one is
given. `spread` is p99 - p1 of (arrival - RTP timestamp) within one session: how unevenly packets come. Arrivals are the
kernel's own (SO_TIMESTAMPNS), so a late reader does not spoil them; over TCP, all bytes of one read (every 10 ms) have
the arrival of the last. UDP_GRO is never used, since it would spare the server the cost of segmentation.

The run is *invalid* when this client used more than 90 % of its core, or when its receive queues dropped something.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.rtp_load.run import run


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    words.add_argument("host")
    words.add_argument("port", type=int)
    words.add_argument("path")
    words.add_argument("sessions", type=int)
    words.add_argument("seconds", type=float)
    words.add_argument("transport", choices=("udp", "tcp"))
    words.add_argument("--ts", type=Path)
    given = words.parse_args()
    found = run(given.host, given.port, given.path, given.sessions, given.seconds, given.transport, ts=given.ts)
    print(json.dumps(found))
    raise SystemExit(0 if found["valid"] else 1)


if __name__ == "__main__":
    main()
