"""Joins a group and its repair stream for a while, leaves, and tells what came when, by raw sockets.

usage: group_box.py GROUP PORT REPAIR_PORT OWN_ADDRESS SECONDS OUT   (REPAIR_PORT 0: none)

OUT gets one line for each datagram: port, time to live, bytes in hex. stdout gets the memberships before, during and
after as JSON, and what came after leaving.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from pathlib import Path

LEFT_S = 0.5
ONLY_OWN_GROUPS = 49
"""IP_MULTICAST_ALL of Linux; 0: what another process has joined does not come here."""
RECEIVE_TTL = 12
"""IP_RECVTTL of Linux; this Python has no name for it."""


def memberships(group: str) -> bool:
    """Whether the system has told the network that it wants the group (/proc/net/igmp)."""
    wanted = f"{struct.unpack('=I', socket.inet_aton(group))[0]:08X}"
    return any(line.split()[:1] == [wanted] for line in Path("/proc/net/igmp").read_text().splitlines())


def main(group: str, port: str, repair: str, own: str, seconds: str, out: str) -> None:
    wanted = socket.inet_aton(group) + socket.inet_aton(own)
    socks = {}
    for number in filter(None, (int(port), int(repair))):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setsockopt(socket.IPPROTO_IP, RECEIVE_TTL, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_IP, ONLY_OWN_GROUPS, 0)
        sock.bind((group, number))
        socks[sock] = number
    lines: list[str] = []

    def take(until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            for sock in select.select(list(socks), [], [], left)[0]:
                data, more, _, _ = sock.recvmsg(4096, 64)
                ttl = next(struct.unpack("=i", value)[0] for _, kind, value in more if kind == socket.IP_TTL)
                lines.append(f"{socks[sock]} {ttl} {data.hex()}")

    seen = [memberships(group)]
    take(time.monotonic() + LEFT_S)
    before = len(lines)
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, wanted)
    seen.append(memberships(group))
    take(time.monotonic() + float(seconds))
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, wanted)
    seen.append(memberships(group))
    take(time.monotonic())
    Path(out).write_text("\n".join(lines))
    during = len(lines)
    take(time.monotonic() + LEFT_S)
    after = len(lines) - during
    for sock in socks:
        sock.close()
    print(json.dumps({"member": seen, "before": before, "during": during - before, "after": after}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
