"""A sender of one channel by the reference page alone: group, parity, and a burst on request. Imports nothing of ours.

    fcc_server.py telecom|huawei FILE.ts GROUP PORT FEC_PORT

Prints the port of its signalling, then ``end N`` when a box has said from which number on it has the group. Every 13th
packet of the group is lost. Parity: blocks of 12 + 1, one row of the code on the points 0 … 12.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from pathlib import Path

BLOCK = 12
EVERY_S = 0.002
REDUNDANT = 5
"""Packets of a burst per packet of the group."""


def times(a: int, b: int) -> int:
    """Multiply in GF(2^8) modulo 0x11d, bit by bit."""
    result = 0
    while b:
        if b & 1:
            result ^= a
        a <<= 1
        if a & 0x100:
            a ^= 0x11D
        b >>= 1
    return result


def inverse(a: int) -> int:
    return next(b for b in range(1, 256) if times(a, b) == 1)


def row() -> list[bytes]:
    """For each packet of a block the table of products with its coefficient: a polynomial taken at the point BLOCK."""
    tables = []
    for j in range(BLOCK):
        coefficient = 1
        for other in range(BLOCK):
            if other != j:
                coefficient = times(times(coefficient, BLOCK ^ other), inverse(j ^ other))
        tables.append(bytes(times(coefficient, value) for value in range(256)))
    return tables


def parity(tables: list[bytes], packets: list[bytes], first: int, number: int) -> bytes:
    total = 0
    for table, packet in zip(tables, packets, strict=True):
        total ^= int.from_bytes(packet.translate(table), "big")
    size = len(packets[0])
    head = struct.pack(">HHBBHHH", first, (first + BLOCK - 1) & 0xFFFF, 1, 0, size, size, 0)
    return struct.pack(">BBHII", 0x80, 127, number & 0xFFFF, 0, 1) + head + total.to_bytes(size, "big")


def main() -> None:
    face, path, group, port, fec_port = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    stream = Path(path).read_bytes()
    chunks = [stream[at : at + 1316] for at in range(0, len(stream) // 1316 * 1316, 1316)]
    begin = 65_400
    packets = [
        struct.pack(">BBHII", 0x80, 33, (begin + n) & 0xFFFF, n * 90, 1) + chunk for n, chunk in enumerate(chunks)
    ]
    signal = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    signal.bind(("127.0.0.1", 0))
    signal.setblocking(False)
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    print(signal.getsockname()[1], flush=True)
    asks, answers, joins, ends = (2, 3, 4, 5) if face == "telecom" else (5, 6, 8, 9)
    address = socket.inet_aton(group)
    live, burst, box, end, told = 60, 0, None, None, False
    tables, parities = row(), 0
    while live < len(packets):
        try:
            data, peer = signal.recvfrom(2048)
        except BlockingIOError:
            data = b""
        if len(data) >= 12 and data[1] == 205 and data[0] & 31 == asks and data[8:12] == address and box is None:
            box, burst = peer, live - 60
            if face == "telecom":
                assert len(data) == 40 and data[20:24] == address
                assert struct.unpack_from(">HH", data, 16) == (peer[1], port)
                rest = struct.pack(">BBHHxx4sIII", 0, 2, 0, 0, bytes(4), 30, 10_000_000, 8_000_000)
            else:
                assert len(data) == 32 and data[20:24] == socket.inet_aton("127.0.0.1")
                assert struct.unpack_from(">HHI", data, 24) == (peer[1], 0x8000, 0x20000000)
                rest = struct.pack(">BxHHxxHxx", 1, 2, (begin + burst) & 0xFFFF, 10_000)
            head = struct.pack(">BBHI4s", 0x80 | answers, 205, (12 + len(rest)) // 4 - 1, 0, address)
            for _ in range(3):
                signal.sendto(head + rest, peer)
        elif len(data) == 16 and data[1] == 205 and data[0] & 31 == ends and end is None:
            assert data[12] == (0 if face == "telecom" else 1)
            end = int.from_bytes(data[14:16], "big")
            print("end", end, flush=True)
        media = (box[0], box[1] - (face == "huawei")) if box else None
        for _ in range(REDUNDANT):
            if media and burst < live and (end is None or (begin + burst) & 0xFFFF != end):
                signal.sendto(packets[burst], media)
                burst += 1
        if box and burst >= live and not told:
            told = True
            for _ in range(3):
                signal.sendto(struct.pack(">BBHI4s", 0x80 | joins, 205, 2, 0, address), box)
        if live % 13:
            out.sendto(packets[live], (group, port))
        live += 1
        if live % BLOCK == 0:
            first = (begin + live - BLOCK) & 0xFFFF
            out.sendto(parity(tables, packets[live - BLOCK : live], first, parities), (group, fec_port))
            parities += 1
        time.sleep(EVERY_S)


main()
