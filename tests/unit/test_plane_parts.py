"""What the plane is made of, each part by itself: bounds, leases, look-ups, reads, log, channel."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_server.egress import FileRange, Resource
from edge_server.plane.answers import field_lines
from edge_server.plane.channel import READY, WAITING_MAX_COUNT, Channel, pair
from edge_server.plane.counts import ROW_BYTES, Count, Counts, total
from edge_server.plane.journal import PENDING_MAX_BYTES, Journal
from edge_server.plane.leases import WARM_S, Leases, OpenFile
from edge_server.plane.limits import REPEATED_MAX_COUNT, Limits
from edge_server.plane.lookup import Accel, Lookup, Media, by_accel
from edge_server.plane.pages import Pages
from edge_server.plane.repeated import Repeated
from edge_server.plane.shared import Shared
from edge_server.sessions.tickets import Allowed, Refused

LIMITS = Limits()
WHEN = datetime(2026, 11, 24, 4, 5, 6, tzinfo=UTC)


def files(folder: Path, count: int, length: int = 100) -> list[Path]:
    made = [folder / f"file-{number}" for number in range(count)]
    for each in made:
        each.write_bytes(bytes(length))
    return made


def resource(*parts: bytes | FileRange, headers: tuple[tuple[str, str], ...] = ()) -> Resource:
    length = sum(len(each) if isinstance(each, bytes) else each.length_bytes for each in parts)
    return Resource(parts, length, '"tag"', WHEN, "video/mp4", "no-cache", headers)


def test_files_are_held_up_to_their_number_and_while_they_are_sent(tmp_path: Path) -> None:
    leases = Leases(2)
    first, second, third = files(tmp_path, 3)
    held = leases.lease(first)
    leases.lease(second).release()
    leases.lease(third).release()
    assert len(leases) == 2 and leases.given_up == 1
    assert os.read(held.fd, 5) == bytes(5), "the first is being sent: it stays open"
    held.release()
    with pytest.raises(OSError):
        os.fstat(held.fd)
    assert leases.lease(first) is not held
    leases.clear()
    assert len(leases) == 0


def test_a_file_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    leases = Leases(2)
    (file,) = files(tmp_path, 1)
    before = leases.lease(file)
    file.unlink()
    file.write_bytes(b"another")
    after = leases.lease(file)
    assert after is not before and after.size_bytes == 7
    before.release()
    after.release()
    leases.clear()


class Catalogue:
    """A find that counts."""

    def __init__(self, found: dict[str, Resource]) -> None:
        self.found, self.asked, self.now = found, 0, object()

    def find(self, path: str) -> Resource | None:
        self.asked += 1
        return self.found.get(path)

    def view(self) -> object:
        return self.now

    def lookup(self, limits: Limits = LIMITS, door: Callable[[str, float], Allowed | Refused] | None = None) -> Lookup:
        media = Media(self.find, self.view) if door is None else Media(self.find, self.view, door)
        return Lookup(media, Leases(limits.files_max_count), limits)


def test_what_was_found_is_remembered_until_the_view_is_another(tmp_path: Path) -> None:
    (file,) = files(tmp_path, 1)
    catalogue = Catalogue({"/a": resource(b"head", FileRange(file, 0, 100))})
    lookup = catalogue.lookup()
    first = lookup.find(b"/a", 0.0)
    assert first is not None and lookup.find(b"/a", 0.1) == first and catalogue.asked == 1
    assert lookup.find(b"/none", 0.1) is None and lookup.find(b"/none", 0.1) is None and catalogue.asked == 3
    catalogue.found, catalogue.now = {}, object()
    assert lookup.find(b"/a", 0.2) is not None, "requests of one turn came before the change"
    lookup.new_turn()
    assert lookup.find(b"/a", 0.2) is None and len(lookup) == 0
    lookup.clear()


def test_a_file_that_vanished_is_looked_for_again_within_a_second(tmp_path: Path) -> None:
    (file,) = files(tmp_path, 1)
    catalogue = Catalogue({"/a": resource(FileRange(file, 0, 100))})
    lookup = catalogue.lookup()
    assert lookup.find(b"/a", 0.0) is not None
    file.unlink()
    assert lookup.find(b"/a", 1.5) is None, "there is nothing to send"
    file.write_bytes(bytes(99))
    assert lookup.find(b"/a", 1.6) is None, "it is shorter than promised"
    file.write_bytes(bytes(100))
    assert lookup.find(b"/a", 3.0) is not None
    lookup.clear()


def test_what_is_remembered_is_bounded_by_count_and_by_bytes() -> None:
    catalogue = Catalogue({f"/{number}": resource(bytes(10_000)) for number in range(40)})
    by_count = catalogue.lookup(Limits(found_max_count=7))
    by_bytes = catalogue.lookup(Limits(found_max_bytes=100_000))
    for number in range(40):
        assert by_count.find(f"/{number}".encode(), 0.0) is not None
        assert by_bytes.find(f"/{number}".encode(), 0.0) is not None
    assert len(by_count) == 7 and 1 <= len(by_bytes) <= 10


def test_a_ticket_is_judged_at_each_request_and_a_plain_path_once() -> None:
    judged: list[tuple[str, float]] = []

    def door(path: str, now_s: float) -> Allowed | Refused:
        judged.append((path, now_s))
        if not path.startswith("/t/"):
            return Allowed(path)
        return Allowed("/a", 42) if now_s < 10 else Refused(410, "over")

    catalogue = Catalogue({"/a": resource(b"x")})
    lookup = catalogue.lookup(door=door)
    for now_s in (1.0, 2.0, 3.0):
        plain, ticketed = lookup.find(b"/a", now_s), lookup.find(b"/t/x/a", now_s)
        assert plain is not None and plain[1] == 0 and ticketed is not None and ticketed[1] == 42
    assert lookup.find(b"/t/x/a", 10.0) is None
    assert [path for path, _ in judged].count("/a") == 1 and len(judged) == 5


def test_what_a_ticket_opened_is_not_open_to_others() -> None:
    def door(path: str, now_s: float) -> Allowed | Refused:
        if path.startswith(("/t/good/", "/t/fine/")):
            return Allowed(path[7:], 1 if "good" in path else 2)
        return Refused(403, "a ticket is needed")

    catalogue = Catalogue({"/a": resource(b"x")})
    lookup = catalogue.lookup(door=door)
    for _ in range(2):
        assert [(found := lookup.find(b"/t/%s/a" % name, 0.0)) and found[1] for name in (b"good", b"fine")] == [1, 2]
        for target in (b"/a", b"/t/bad/a", b"/t/good", b"/t/go%6fd/a", b"/t/good?/a", b"/t//a", b"/a?/t/good/a"):
            assert lookup.find(target, 0.0) is None, target
    assert catalogue.asked == 1 and len(lookup) == 1


def test_answers_that_are_kept_are_bounded_over_all_resources() -> None:
    catalogue = Catalogue({f"/{number}": resource(bytes(1000)) for number in range(40)})
    lookup = catalogue.lookup()
    kept = Repeated(206, b"", b"", b"", None)  # type: ignore[arg-type]  # nothing is sent here
    asked = []
    for number in range(40):
        found = lookup.find(f"/{number}".encode(), 0.0)
        assert found is not None
        for first in range(100):
            lookup.repeat(found[0], (first, -1), kept)
            asked.append((found[0], (first, -1)))
    assert lookup.repeated(*asked[-1]) is kept
    assert 0 < sum(lookup.repeated(*each) is kept for each in asked) <= REPEATED_MAX_COUNT < len(asked)
    assert lookup.repeated(asked[0][0], None) is None
    lookup.repeat(asked[0][0], None, kept)
    assert lookup.repeated(asked[0][0], None) is kept
    lookup.clear()
    assert all(lookup.repeated(*each) is None for each in asked)


def test_only_whole_files_without_a_policy_are_sent_by_the_server_in_front(tmp_path: Path) -> None:
    (file,) = files(tmp_path, 1)
    whole = FileRange(file, 0, 100)
    catalogue = Catalogue(
        {
            "/whole": resource(whole),
            "/policy": resource(whole, headers=(("Content-Security-Policy", "x"),)),
            "/part": resource(FileRange(file, 0, 99)),
            "/later": resource(FileRange(file, 1, 99)),
            "/made": resource(b"m", whole),
            "/bytes": resource(b"m"),
        }
    )
    lookup = catalogue.lookup()
    sent = {path: by_accel(lookup.find(path.encode(), 0.0)[0], Accel("/s/", tmp_path)) for path in catalogue.found}  # type: ignore[index]
    lines = sent.pop("/whole")
    assert lines is not None and b"X-Accel-Redirect: /s/file-0\r\n" in lines and b"Content-Length: 0\r\n" in lines
    assert set(sent.values()) == {None}
    found = lookup.find(b"/whole", 0.0)
    assert found is not None and by_accel(found[0], Accel("/s/", tmp_path / "elsewhere")) is None
    lookup.clear()


def test_a_field_cannot_end_its_line() -> None:
    assert field_lines([("A", "b"), ("C", "d")]) == b"A: b\r\nC: d\r\n"
    for value in ("a\r\nSet-Cookie: b", "a\nb", "a\0b"):
        with pytest.raises(ValueError):
            field_lines([("A", value)])


async def test_who_wants_the_same_piece_waits_for_one_read(tmp_path: Path) -> None:
    (file,) = files(tmp_path, 1)
    let, reads, arrived = threading.Event(), [], []

    def read(opened: OpenFile, piece: int) -> None:
        reads.append(piece)
        assert let.wait(10)

    loop = asyncio.get_running_loop()
    pages = Pages(loop.call_soon_threadsafe, readers_max_count=1, in_memory=lambda *_: False, read_piece=read)
    opened = OpenFile(file)
    assert pages.ready(opened, 0, 100, 0.0) == 0
    for number in range(3):
        pages.read(opened, 0, 0.0, lambda number=number: arrived.append(number))  # type: ignore[misc]
    assert len(pages) == 1 and opened.users == 2
    let.set()
    while len(arrived) < 3:  # noqa: ASYNC110 - a thread tells the loop, not an event
        await asyncio.sleep(0.01)
    assert (reads, arrived, len(pages), opened.users) == ([0], [0, 1, 2], 0, 1)
    assert pages.ready(opened, 0, 100, WARM_S - 0.1) == -1, "it was read a moment ago"
    assert pages.ready(opened, 0, 100, WARM_S + 0.1) == 0, "by now it may have been thrown out"
    pages.close()
    opened.release()


async def test_reads_that_were_not_begun_give_their_file_back(tmp_path: Path) -> None:
    first, second = files(tmp_path, 2)
    let = threading.Event()

    def read(opened: OpenFile, piece: int) -> None:
        assert let.wait(10)

    loop = asyncio.get_running_loop()
    pages = Pages(
        loop.call_soon_threadsafe,
        readers_max_count=1,
        in_memory=lambda *_: False,
        read_piece=read,
    )
    opened = [OpenFile(first), OpenFile(second)]
    for each in opened:
        pages.read(each, 0, 0.0, lambda: None)
    pages.close()
    assert opened[1].users == 1
    let.set()
    while opened[0].users > 1:  # noqa: ASYNC110 - a thread tells the loop, not an event
        await asyncio.sleep(0.01)
    for each in opened:
        each.release()


def test_the_log_survives_rotation_rubbish_and_crowds(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    journal = Journal(file)
    journal.note("10.0.0.9", "GET /a HTTP/1.1", 200, 5, 'a "box"\n\x1b[31m', WHEN)
    journal.flush()
    assert file.read_bytes() == (
        b'10.0.0.9 - - [24/Nov/2026:04:05:06 +0000] "GET /a HTTP/1.1" 200 5 "-" "a \\x22box\\x22\\n\\x1b[31m"\n'
    )
    file.rename(tmp_path / "old.log")
    journal.note("::1", "GET /b HTTP/1.1", 206, 7, "", WHEN)
    journal.flush()
    assert file.read_text().startswith("::1 - - ") and len((tmp_path / "old.log").read_text().splitlines()) == 1
    for _ in range(PENDING_MAX_BYTES // 100):
        journal.note("10.0.0.9", "GET /" + "a" * 200, 200, 5, "", WHEN)
    assert journal.lost > 0
    journal.close()
    assert file.stat().st_size <= PENDING_MAX_BYTES + 1000


def test_counts_in_memory_that_two_share() -> None:
    ours = Shared([100, ROW_BYTES, ROW_BYTES])
    theirs = Shared([100, ROW_BYTES, ROW_BYTES], os.dup(ours.descriptor))
    rows = [Counts(each) for each in ours.pieces[1:]]
    same = [Counts(each) for each in theirs.pieces[1:]]
    same[0].status(206)
    same[1].status(599)
    same[1].row[Count.OPEN] += 3
    assert dict(rows[0].statuses())[206] == 1 and dict(rows[1].statuses())[0] == 1
    assert total(rows, Count.OPEN) == 3 and rows[0][Count.OPEN] == 0
    ours.close()
    theirs.close()


async def test_a_channel_keeps_bytes_order_and_bounds() -> None:
    loop = asyncio.get_running_loop()
    here, there = pair()
    got: list[tuple[bytes, str, int]] = []
    told: list[bytes] = []
    lost = asyncio.Event()

    def received(sock: socket.socket, data: bytes, peer: str) -> None:
        got.append((data, peer, sock.getsockname()[1]))
        sock.close()

    ours = Channel(loop, here, lambda *_: None, lambda _: None, lambda: None)
    ports, taken = [], 0
    for number in range(WAITING_MAX_COUNT + 400):  # nobody reads yet
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            ports.append(sock.getsockname()[1])
            taken += ours.pass_on(sock.dup(), bytes([number % 251]) * 3000, "10.0.0.9")
    assert WAITING_MAX_COUNT <= taken < len(ports)
    ours.tell(READY)
    theirs = Channel(loop, there, received, told.append, lost.set)
    while not told:  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0.01)
    assert got == [(bytes([n % 251]) * 3000, "10.0.0.9", port) for n, port in enumerate(ports[:taken])]
    ours.close()
    await lost.wait()
    assert not theirs.open
    unwanted = socket.socket()
    assert not theirs.pass_on(unwanted, b"", "x") and unwanted.fileno() == -1
