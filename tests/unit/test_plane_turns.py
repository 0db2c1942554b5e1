"""What falls between two looks of one turn of the plane."""

from __future__ import annotations

import asyncio
import select
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_server.egress import FileRange, Resource
from edge_server.plane.connection import ASKING
from edge_server.plane.lookup import Media
from edge_server.plane.plane import Plane
from edge_server.sessions.tickets import Tickets
from runtime.clock import SystemClock

BODIES = {"/a": b"a" * 1_000_000, "/b": b"b" * 1000}


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def pair() -> tuple[socket.socket, socket.socket]:
    """A server's end that takes little at a time, and a client's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    for each in (client, server):
        each.setblocking(False)
    return server, client


def answers(plane: Plane, client: socket.socket, length: int) -> bytes:
    """Let the plane work, and read until so many bytes of bodies came; the test's time limit is the bound."""
    got = b""
    while sum(map(len, bodies(got))) < length:
        plane.sweep()
        plane.run()
        if select.select([client], [], [], 0.01)[0]:
            got += client.recv(1 << 20)
    return got


def offered(folder: Path) -> dict[str, Resource]:
    resources = {}
    for path, body in BODIES.items():
        file = folder / path[1:]
        file.write_bytes(body)
        when = datetime(2026, 11, 24, tzinfo=UTC)
        resources[path] = Resource(
            (FileRange(file, 0, len(body)),), len(body), f'"{path}"', when, "video/mp4", "no-cache"
        )
    return resources


def bodies(got: bytes) -> list[bytes]:
    found = []
    while b"\r\n\r\n" in got:
        head, _, got = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head[:200]
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        found.append(got[:length])
        got = got[length:]
    return found


def test_a_request_that_comes_while_another_is_found_is_answered_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = offered(tmp_path)
    loop, view = asyncio.new_event_loop(), object()
    plane = Plane(loop, SystemClock(), Media(resources.get, lambda: view), lambda *_: pytest.fail("handed over"))
    server, client = pair()
    plane.take(server, "127.0.0.1")
    for path, body in BODIES.items():  # from now on their answers are known as they are written
        client.sendall(request(path))
        assert bodies(answers(plane, client, len(body))) == [body]
    (connection,) = plane._connections.values()
    assert connection.state == ASKING
    connection.unread = True  # as after an answer during which something came
    plane._put(connection)
    client.sendall(request("/a"))
    go_on = plane._go_on

    def then_comes_more() -> None:
        monkeypatch.undo()
        go_on()
        client.sendall(request("/b"))
        assert select.select([server], [], [], 5)[0]

    monkeypatch.setattr(plane, "_go_on", then_comes_more)
    plane.run()
    assert bodies(answers(plane, client, sum(map(len, BODIES.values())))) == [BODIES["/a"], BODIES["/b"]]
    client.close()
    plane.close()
    loop.close()


def test_a_viewing_is_told_of_what_left_for_it_not_of_what_it_asked_for(tmp_path: Path) -> None:
    resources, heard = offered(tmp_path), dict[int, int]()

    def seen(viewing: int, body_bytes: int, now_s: float) -> None:
        heard[viewing] = heard.get(viewing, 0) + body_bytes

    tickets, clock = Tickets(b"k" * 32), SystemClock()
    found = {f"/media/1{path}": each for path, each in resources.items()}
    loop, view = asyncio.new_event_loop(), object()
    media = Media(found.get, lambda: view, tickets.door, tickets.item_of, tickets.viewing, seen)
    of_seven, of_eight = (tickets.prefix("1", viewing, clock.monotonic()) + "/media/1" for viewing in (7, 8))
    plane = Plane(loop, clock, media, lambda *_: pytest.fail("handed over"))
    server, client = pair()
    plane.take(server, "127.0.0.1")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.sendall(request(of_seven + "/a"))
    assert select.select([server], [], [], 5)[0]
    for _ in range(20):
        plane.sweep()
        plane.run()
    assert 0 < heard[7] < 900_000, "the player has not taken the rest"
    answers(plane, client, 1_000_000)
    assert heard == {7: 1_000_000}
    for target in (*[of_seven + "/b"] * 3, "/media/1/b", of_eight + "/b"):
        client.sendall(request(target))
        answers(plane, client, 1000)
    assert heard == {7: 1_003_000, 8: 1000}
    client.close()
    plane.close()
    loop.close()
