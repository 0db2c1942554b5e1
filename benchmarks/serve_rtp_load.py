"""RTSP load client: many sessions of one URL on one core, every packet looked at.

    python benchmarks/serve_rtp_load.py HOST PORT PATH SESSIONS SECONDS udp|tcp [--ts FILE]

Real DESCRIBE, SETUP and PLAY for each session. Of every packet: RTP version, payload type, size, sync byte, SSRC and
sequence number. Of the packets of a share of the sessions also each byte, against the transport stream file when one is
given. `spread` is p99 - p1 of (arrival - RTP timestamp) within one session: how unevenly packets come. UDP arrivals are
the kernel's own (SO_TIMESTAMPNS), so a late reader does not spoil them; UDP_GRO is never used, since it would spare the
server the cost of segmentation. TCP arrivals are when the sessions that are timed were read, every 2 ms.

The run is *invalid* when this client used more than 90 % of its core, or when its receive queues dropped something.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import mmap
import re
import resource
import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np

BUSY_MAX = 0.90
"""Share of the client's core above which the client was the limit."""
CYCLE_S = 0.010
TIMED_CYCLE_S = 0.002
TIMED_MAX_COUNT = 256
SAMPLES_MAX_COUNT = 6_000_000
SLOTS, SLOT_BYTES, A_CALL = 8192, 2048, 64
UDP_QUEUE_BYTES, TCP_QUEUE_BYTES = 4 << 20, 1 << 20
ANSWER_S = 15.0
SETUPS_COUNT = 8
"""Sessions that are set up at the same time, so that the round trips do not add up."""
SETUP_DRAIN_S = 0.1
CLOCK_HZ = 90_000
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS, _CMSG_BYTES = 33, 35, 32
_MESSAGE = np.dtype(
    {
        "names": ["iov", "iovs", "control", "control_bytes", "length"],
        "formats": ["u8", "u8", "u8", "u8", "u4"],
        "offsets": [16, 24, 32, 40, 56],
        "itemsize": 64,
    }
)
"""struct mmsghdr, 64-bit."""
_FRAME = struct.Struct(">BBH")


class Refused(RuntimeError):
    """The server said no."""


class Session:
    """One RTSP session: its sockets and what is known of its numbers."""

    def __init__(self, host: str, port: int, path: str, transport: str) -> None:
        begin = time.monotonic()
        self.rtsp = socket.create_connection((host, port), timeout=ANSWER_S)
        self.rtsp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        self.cseq = 0
        self.url = f"rtsp://{host}:{port}{path}"
        self.data: socket.socket | None = None
        self.control: socket.socket | None = None
        self.left = bytearray()
        try:
            self._play(host, transport)
        except BaseException:
            self.close()
            raise
        self.setup_s = time.monotonic() - begin

    def _play(self, host: str, transport: str) -> None:
        text = self.ask("DESCRIBE", self.url, "Accept: application/sdp")
        base = re.search(r"(?im)^content-base: *(\S+)", text)
        control = re.search(r"(?ms)^m=.*?^a=control:(\S+)", text)
        root = base[1] if base else self.url
        track = root if control is None else control[1]
        if not track.startswith("rtsp://"):
            track = root.rstrip("/") + "/" + track
        if transport == "tcp":
            self.rtsp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TCP_QUEUE_BYTES)
            offer = "RTP/AVP/TCP;unicast;interleaved=0-1"
        else:
            self.data, self.control, port = _pair(host)
            offer = f"RTP/AVP;unicast;client_port={port}-{port + 1}"
        answer = self.ask("SETUP", track, f"Transport: {offer}")
        found = re.search(r"(?im)^session: *([^;\s]+)", answer)
        self.track, self.session = track, found[1] if found else ""
        ssrc = re.search(r"(?i)ssrc=([0-9a-f]{8})", answer)
        self.ssrc = int(ssrc[1], 16) if ssrc else -1
        answer = self.ask("PLAY", root, f"Session: {self.session}", "Range: npt=0.000-")
        first = re.search(r"(?im)^rtp-info:.*seq=(\d+)", answer)
        self.announced = int(first[1]) if first else -1

    def ask(self, method: str, url: str, *lines: str) -> str:
        self.cseq += 1
        self.rtsp.sendall("\r\n".join([f"{method} {url} RTSP/1.0", f"CSeq: {self.cseq}", *lines, "\r\n"]).encode())
        while True:
            text = self._message()
            if text.startswith("RTSP/1.0"):
                if text.split(" ", 2)[1] != "200":
                    raise Refused(f"{method}: {text.splitlines()[0]}")
                return text

    def _message(self) -> str:
        """Return the next text; what comes in frames before it is dropped (only before PLAY is answered)."""
        while True:
            while self.rest[:1] == b"$":
                (length,) = struct.unpack(">H", self._have(4)[2:4])
                self._have(4 + length)
                self.rest = self.rest[4 + length :]
            head, found, _ = self.rest.partition(b"\r\n\r\n")
            if found:
                size = re.search(rb"(?i)content-length: *(\d+)", head)
                total = len(head) + 4 + (int(size[1]) if size else 0)
                text = self._have(total)[:total]
                self.rest = self.rest[total:]
                return text.decode()
            self._have(len(self.rest) + 1)

    def _have(self, count: int) -> bytes:
        while len(self.rest) < count:
            piece = self.rtsp.recv(65536)
            if not piece:
                raise Refused("the server closed the connection")
            self.rest += piece
        return self.rest

    def close(self) -> None:
        if getattr(self, "session", ""):
            with contextlib.suppress(OSError):
                self.rtsp.setblocking(False)
                words = f"TEARDOWN {self.track} RTSP/1.0\r\nCSeq: 99\r\nSession: {self.session}\r\n\r\n"
                self.rtsp.send(words.encode())
        for each in (self.rtsp, self.data, self.control):
            if each is not None:
                each.close()


def _pair(host: str) -> tuple[socket.socket, socket.socket, int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(200):
        data, control = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
        try:
            data.bind(("", 0))
            port = int(data.getsockname()[1])
            if port % 2 == 0:
                control.bind(("", port + 1))
                with contextlib.suppress(PermissionError):
                    data.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, UDP_QUEUE_BYTES)
                data.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
                data.setblocking(False)
                return data, control, port
        except OSError:
            pass
        data.close()
        control.close()
    raise OSError("no free pair of UDP ports")


class Ledger:
    """What every packet is entered in: numpy arrays over sessions, filled by batches in order of arrival."""

    def __init__(self, count: int, whole: Whole | None) -> None:
        self.whole = whole
        self.packets = np.zeros(count, np.int64)
        self.octets = np.zeros(count, np.int64)
        self.lost = np.zeros(count, np.int64)
        self.reordered = np.zeros(count, np.int64)
        self.odd = np.zeros(count, np.int64)
        """Packets that are no transport stream in RTP, or of a foreign source."""
        self.last = np.full(count, -1, np.int64)
        """The last sequence number, followed over wraps."""
        self.ssrc = np.full(count, -1, np.int64)
        self.announced = np.full(count, -1, np.int64)
        self.first_wrong = 0
        self.timed = np.zeros(count, bool)
        self.measuring = False
        self.samples: list[tuple[Any, Any, Any]] = []
        self.kept = 0
        self.compared = self.differing = 0

    def enter(self, who: Any, rows: Any, lengths: Any, arrivals: Any) -> None:
        """Take packets grouped by session; ``rows`` hold at least the first 13 bytes of each."""
        head = np.ascontiguousarray(rows[:, :13])
        sequence = head[:, 2].astype(np.int64) << 8 | head[:, 3]
        ssrc = np.ascontiguousarray(head[:, 8:12]).view(">u4").ravel().astype(np.int64)
        unknown = self.ssrc[who] < 0
        if unknown.any():
            self.ssrc[who[unknown]] = ssrc[unknown]
        fine = (head[:, 0] == 0x80) & (head[:, 1] & 0x7F == 33) & (ssrc == self.ssrc[who])
        fine &= ((lengths - 12) % 188 == 0) & (head[:, 12] == 0x47) & (lengths <= 1328)
        np.add.at(self.odd, who[~fine], 1)
        first = np.empty(len(who), bool)
        first[0] = True
        np.not_equal(who[1:], who[:-1], out=first[1:])
        before = np.empty_like(sequence)
        before[1:] = sequence[:-1]
        known = self.last[who[first]]
        fresh = known < 0
        if fresh.any():
            promised = self.announced[who[first]]
            wrong = fresh & (promised >= 0) & (promised != sequence[first])
            self.first_wrong += int(wrong.sum())
        before[first] = np.where(fresh, sequence[first] - 1, known)
        step = (sequence - before) & 0xFFFF
        step = np.where(step >= 0x8000, step - 0x10000, step)
        if self.measuring:
            if (step != 1).any():
                np.add.at(self.lost, who, np.maximum(step - 1, 0))
                np.add.at(self.reordered, who[step <= 0], 1)
            ends = np.append(np.flatnonzero(first)[1:], len(who))
            starts = np.flatnonzero(first)
            self.packets[who[starts]] += ends - starts
            self.octets[who[starts]] += np.add.reduceat(lengths, starts)
            timed = self.timed[who]
            if timed.any() and self.kept < SAMPLES_MAX_COUNT:
                stamps = np.ascontiguousarray(head[:, 4:8]).view(">u4").ravel().astype(np.int64)
                self.samples.append((who[timed], arrivals[timed], stamps[timed]))
                self.kept += int(timed.sum())
        last = np.append(np.flatnonzero(first)[1:] - 1, len(who) - 1)
        self.last[who[last]] = sequence[last]

    def spreads_ms(self) -> tuple[Any, float]:
        """Return p99 - p1 of lateness for each timed session, and the greatest gap in any."""
        if not self.samples:
            return np.zeros(0), 0.0
        who, arrivals, stamps = (np.concatenate(column) for column in zip(*self.samples, strict=True))
        found, gap = [], 0.0
        order = np.argsort(who, kind="stable")
        bounds = np.flatnonzero(np.diff(who[order])) + 1
        for part in np.split(order, bounds):
            if len(part) < 50:
                continue
            ticks = np.concatenate(([0], np.cumsum((np.diff(stamps[part]) + 2**31) % 2**32 - 2**31)))
            late = arrivals[part] - arrivals[part[0]] - ticks / CLOCK_HZ
            low, high = np.percentile(late, (1, 99))
            found.append((high - low) * 1000)
            gap = max(gap, float(np.diff(arrivals[part]).max()))
        return np.array(found), gap * 1000


class Whole:
    """The transport stream that was published, and where each compared session stands in it."""

    def __init__(self, file: Path) -> None:
        with file.open("rb") as source:
            self.bytes = mmap.mmap(source.fileno(), 0, prot=mmap.PROT_READ)
        self.view = memoryview(self.bytes)
        self.at: dict[int, int] = {}

    def same(self, session: int, payload: bytes) -> bool:
        """Tell whether these bytes are the next ones of the file; a stream that begins anew is found again."""
        at = self.at.get(session, -1)
        if at < 0 or self.view[at : at + len(payload)] != payload:
            hint = self.bytes.find(payload) if at < 0 or at + len(payload) > len(self.bytes) else -1
            if hint < 0:
                self.at.pop(session, None)
                return False
            at = hint
        self.at[session] = at + len(payload)
        return True


class UdpReader:
    """recvmmsg into one field of slots for all sessions; numbers are checked by the fieldful."""

    def __init__(self, ledger: Ledger, compared: set[int]) -> None:
        self.ledger, self.compared = ledger, compared
        self.slots = np.zeros((SLOTS, SLOT_BYTES), np.uint8)
        self.control = np.zeros((SLOTS, _CMSG_BYTES), np.uint8)
        vectors = np.zeros((2, SLOTS, 2), np.uint64)  # whole packets, and heads only
        vectors[:, :, 0] = self.slots.ctypes.data + np.arange(SLOTS, dtype=np.uint64) * SLOT_BYTES
        vectors[0, :, 1], vectors[1, :, 1] = SLOT_BYTES, 64
        self.vectors = vectors
        self.messages = np.zeros((2, SLOTS), _MESSAGE)
        self.messages["iovs"] = 1
        for kind in (0, 1):
            addresses = vectors[kind].ctypes.data + np.arange(SLOTS, dtype=np.uint64) * 16
            self.messages[kind]["iov"] = addresses
            self.messages[kind]["control"] = self.control.ctypes.data + np.arange(SLOTS, dtype=np.uint64) * _CMSG_BYTES
        self.messages["control_bytes"] = _CMSG_BYTES
        self.base = [int(self.messages[kind].ctypes.data) for kind in (0, 1)]
        self.call = ctypes.CDLL(None, use_errno=True).recvmmsg
        self.call.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
        self.used = 0
        self.runs: list[tuple[int, int, int]] = []
        self.sockets: list[tuple[int, int, int]] = []

    def add(self, index: int, session: Session) -> None:
        assert session.data is not None
        self.sockets.append((index, session.data.fileno(), 0 if index in self.compared else 1))

    def drain(self) -> None:
        """Read what waits on every socket."""
        call, flags = self.call, socket.MSG_DONTWAIT | socket.MSG_TRUNC
        for index, number, kind in self.sockets:
            while True:
                if self.used + A_CALL > SLOTS:
                    self._enter()
                count = call(number, self.base[kind] + self.used * 64, A_CALL, flags, None)
                if count <= 0:
                    break
                self.runs.append((index, count, kind))
                self.used += count
                if count < A_CALL:
                    break
        self._enter()

    def _enter(self) -> None:
        if not self.used:
            return
        used, self.used = self.used, 0
        runs = np.array(self.runs, np.int64)
        self.runs.clear()
        who = np.repeat(runs[:, 0], runs[:, 1])
        kinds = np.repeat(runs[:, 2], runs[:, 1])
        lengths = np.where(kinds == 0, self.messages[0]["length"][:used], self.messages[1]["length"][:used])
        stamps = self.control[:used, 16:32].copy().view("<i8")
        arrivals = stamps[:, 0] + stamps[:, 1] / 1e9
        self.ledger.enter(who, self.slots[:used], lengths.astype(np.int64), arrivals)
        whole = self.ledger.whole
        if whole is not None:
            at = 0
            for index, count, kind in runs.tolist():
                if kind == 0:
                    rows = self.slots[at : at + count]
                    payload = b"".join(rows[k, 12 : int(lengths[at + k])].tobytes() for k in range(count))
                    self.ledger.compared += count
                    self.ledger.differing += 0 if whole.same(index, payload) else count
                at += count
        self.messages["control_bytes"][:, :used] = _CMSG_BYTES


class TcpReader:
    """Frames out of the RTSP connections; runs of equal frames are checked at once."""

    def __init__(self, ledger: Ledger, compared: set[int]) -> None:
        self.ledger, self.compared = ledger, compared
        self.buffer = bytearray(2 * TCP_QUEUE_BYTES)
        self.view = memoryview(self.buffer)
        self.array = np.frombuffer(self.buffer, np.uint8)
        self.sessions: list[tuple[int, Session]] = []
        self.closed = 0

    def add(self, index: int, session: Session) -> None:
        session.left = bytearray(session.rest)
        session.rtsp.setblocking(False)
        self.sessions.append((index, session))

    def drain(self, only: Callable[[int], bool] = lambda index: True) -> None:
        """Read what waits on every connection, or on some."""
        for index, session in tuple(self.sessions):
            if only(index):
                self._read(index, session)

    def _read(self, index: int, session: Session) -> None:
        left = session.left
        have = len(left)
        self.buffer[:have] = left
        try:
            count = session.rtsp.recv_into(self.view[have:])
        except BlockingIOError:
            return
        except OSError:
            count = 0
        now = time.monotonic()
        if not count:
            self.sessions.remove((index, session))
            self.closed += 1
            return
        end, at = have + count, 0
        while at + 4 <= end:
            if self.buffer[at] != 0x24:
                stop = self.buffer.find(b"\r\n\r\n", at, end)
                if stop < 0:
                    break
                size = re.search(rb"(?i)content-length: *(\d+)", self.view[at:stop])
                at = stop + 4 + (int(size[1]) if size else 0)
                continue
            _, channel, length = _FRAME.unpack_from(self.buffer, at)
            if at + 4 + length > end:
                break
            width, count = 4 + length, 1
            if channel == 0:
                most = (end - at) // width
                rows = self.array[at : at + most * width].reshape(most, width)
                same = (rows[:, 0] == 0x24) & (rows[:, 1] == 0) & (rows[:, 2] == length >> 8)
                same &= rows[:, 3] == length & 0xFF
                count = most if same.all() else int(np.argmin(same))
                rows = rows[:count, 4:]
                who = np.full(count, index)
                self.ledger.enter(who, rows, np.full(count, length), np.full(count, now))
                if self.ledger.whole is not None and index in self.compared:
                    self.ledger.compared += count
                    same_bytes = self.ledger.whole.same(index, rows[:, 12:].tobytes())
                    self.ledger.differing += 0 if same_bytes else count
            at += width * count
        session.left = bytearray(self.view[at:end]) if at < end else bytearray()


def _dropped(ports: set[int]) -> int:
    """Count what the kernel dropped at our sockets (last column of /proc/net/udp)."""
    total = 0
    for name in ("/proc/net/udp", "/proc/net/udp6"):
        for line in Path(name).read_text().splitlines()[1:]:
            words = line.split()
            if int(words[1].rsplit(":", 1)[1], 16) in ports:
                total += int(words[-1])
    return total


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
        _cycle(reader, ledger, time.monotonic() + warm_s)
        ledger.measuring = True
        on_measure(True)
        started, cpu = time.monotonic(), time.process_time()
        _cycle(reader, ledger, started + seconds)
        took, cpu = time.monotonic() - started, time.process_time() - cpu
        on_measure(False)
        ledger.measuring = False
        ports = {int(each.data.getsockname()[1]) for each in live if each.data is not None}
        dropped = _dropped(ports) if ports else 0
    finally:
        for session in live:
            session.close()
    spreads, gap = ledger.spreads_ms()
    busy = cpu / took
    if busy > BUSY_MAX:
        why.append(f"the client used {busy:.0%} of its core")
    if dropped:
        why.append(f"the client's queues dropped {dropped} packets")
    quiet = int((ledger.packets == 0).sum())
    if quiet > refused:
        why.append(f"{quiet - refused} sessions got nothing while measured")
    playing = max(1, len(live))
    return {
        "transport": transport,
        "sessions": sessions,
        "refused": refused,
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
        "dropped_by_client": dropped,
        "setup_s": round(setup_s, 3),
        "setup_median_ms": round(float(np.median([each.setup_s for each in live])) * 1000, 2) if live else None,
        "client_busy": round(busy, 3),
        "valid": not why,
        "why_invalid": "; ".join(why),
    }


def _cycle(reader: UdpReader | TcpReader, ledger: Ledger, until: float) -> None:
    timed = ledger.timed
    count = 0
    while True:
        now = time.monotonic()
        if now >= until:
            return
        if isinstance(reader, TcpReader):
            # Only timed sessions need to be read at once; the others' packets may wait in their queues.
            if count % 16 == 0:
                reader.drain()
            else:
                reader.drain(lambda index: bool(timed[index]))
            count += 1
            pause = TIMED_CYCLE_S
        else:
            reader.drain()
            pause = CYCLE_S
        time.sleep(max(0.0, min(now + pause, until) - time.monotonic()))


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
