"""A box that changes channels fast, by raw sockets: asks, takes the burst, joins when told, ends the burst, plays on.

What it took goes to a file, each packet once and in order; what happened goes to stdout as JSON.

usage: fcc_box.py telecom|huawei SERVER PORT GROUP GROUP_PORT OWN_ADDRESS SECONDS OUT
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from itertools import pairwise
from pathlib import Path

ONLY_OWN_GROUPS = 49
"""IP_MULTICAST_ALL of Linux; 0: what another process has joined does not come here."""
FORMATS = {"telecom": (2, 3, 4, 5), "huawei": (5, 6, 8, 9)}


def _datagrams(own: str, port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((own, port))
    return sock


def pair(own: str) -> tuple[socket.socket, socket.socket]:
    """Media, and signalling on the port above, as Huawei's boxes have it."""
    for _ in range(50):
        media = _datagrams(own)
        try:
            return media, _datagrams(own, media.getsockname()[1] + 1)
        except OSError:
            media.close()
    raise OSError("no two free ports in a row")


def head(kind: int, group: str, body: bytes) -> bytes:
    return struct.pack(">BBHI4s", 0x80 | kind, 205, (12 + len(body)) // 4 - 1, 0, socket.inet_aton(group)) + body


def request(face: str, group: str, group_port: int, own: str, port: int) -> bytes:
    if face == "telecom":
        body = struct.pack(">B3xHH4s16s", 0, port, group_port, socket.inet_aton(group), b"peer")
    else:
        body = struct.pack(">8x4sHHI", socket.inet_aton(own), port, 0x8000, 0x20000000)
    return head(FORMATS[face][0], group, body)


def main(face: str, server: str, port: str, group: str, group_port: str, own: str, seconds: str, out: str) -> None:
    _, answers, says_join, ends = FORMATS[face]
    media, sock = pair(own) if face == "huawei" else (None, _datagrams(own))
    joined = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    joined.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    joined.setsockopt(socket.IPPROTO_IP, ONLY_OWN_GROUPS, 0)
    joined.bind((group, int(group_port)))
    membership = socket.inet_aton(group) + socket.inet_aton(own)
    ask = request(face, group, int(group_port), own, sock.getsockname()[1])
    began = time.monotonic()
    for _ in range(3):
        sock.sendto(ask, (server, int(port)))
    kept: dict[int, bytes] = {}
    told: dict[str, object] = {"bursts": 0, "differ": 0, "after_end": 0}
    arrived: list[float] = []
    at_end = 0.0
    first = None
    while time.monotonic() < began + float(seconds):
        for ready in select.select([each for each in (sock, media, joined) if each is not None], [], [], 0.2)[0]:
            packet, now = ready.recv(4096), time.monotonic() - began
            if packet[1] == 205:
                kind = packet[0] & 0x1F
                if kind == answers:
                    told.setdefault("answer", packet.hex())
                elif kind == says_join and "media_before_join" not in told:
                    waits = media is not None and bool(select.select([media], [], [], 0)[0])
                    told["media_before_join"] = bool(arrived) or waits
                    joined.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
                continue
            sequence = int.from_bytes(packet[2:4], "big")
            assert not (ready is sock and media), "media where only signalling belongs"
            if ready is not joined:
                told["bursts"] = int(str(told["bursts"])) + 1
                arrived.append(now)
                told["after_end"] = int(str(told["after_end"])) + bool(at_end and now > at_end + 0.3)
            elif not at_end:
                at_end = now
                end = head(ends, group, struct.pack(">BxH", 0 if face == "telecom" else 1, sequence))
                for _ in range(3):
                    sock.sendto(end, (server, int(port)))
            if sequence in kept:
                told["differ"] = int(str(told["differ"])) + (kept[sequence] != packet)
            else:
                kept[sequence] = packet
                first = sequence if first is None else first
    for each in filter(None, (sock, media)):
        each.close()
    joined.close()
    assert first is not None, "no packet came"
    order = sorted(kept, key=lambda each: (each - first + 0x8000) & 0xFFFF)
    told["gaps"] = sum((after - before) & 0xFFFF != 1 for before, after in pairwise(order))
    told["first_sequence"] = first
    Path(out).write_bytes(b"".join(kept[each][12:] for each in order))
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
