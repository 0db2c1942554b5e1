"""Worker processes share the port of a served edge: pages through the main process, media through a worker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.served import BIN, Served, published, run, serve
from tests.web_lab import ask_on

pytestmark = pytest.mark.timeout(60)
WORKERS = 2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    root = tmp_path_factory.mktemp("workers")
    return root, *published(root)


@pytest.fixture
def served(made: tuple[Path, str, str]) -> Iterator[Served]:
    root, video, page = made
    more = {"EDGE_SERVER_WORKERS": str(WORKERS), "EDGE_SERVER_ACCESS_LOG": "access.log"}
    with serve(root, video, page, more) as running:
        yield running


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.02)


def connection_to(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.http_port), timeout=10)


def stored(served: Served, name: str) -> bytes:
    with connection_to(served) as connection:
        return ask_on(connection, f"/media/{served.video}/{name}.mp4").body


def test_page_medium_page_medium_over_processes(served: Served) -> None:
    whole = stored(served, "R12")
    assert len(whole) > 10_000
    for _ in range(8):  # the kernel spreads connections over the workers
        with connection_to(served) as connection:
            for _ in range(3):
                assert b"<html" in ask_on(connection, "/").body
                reply = ask_on(connection, f"/media/{served.video}/R12.mp4", "Range: bytes=100-4999")
                assert (reply.status, reply.body) == (206, whole[100:5000])
                assert ask_on(connection, f"/lessons/{served.page}").status == 301
                sent_on = ask_on(connection, f"/lessons/{served.page}/", "User-Agent: CTC/2.0")
                assert (sent_on.status, sent_on.fields["location"]) == (302, f"/lessons/{served.page}/gbk-1.html")
                assert ask_on(connection, sent_on.fields["location"]).fields["content-type"] == "text/html; charset=gbk"
                assert ask_on(connection, "/media/none/R12.mp4").status == 404
    log = served.edge / "access.log"
    lines = log.read_text().splitlines()
    ranges = [line for line in lines if '" 206 4900 ' in line]
    assert len(ranges) == 24 and all(line.startswith("127.0.0.1 - - [") for line in ranges)


def test_a_worker_holds_no_more_than_it_serves(served: Served) -> None:
    """There is one for each core, on boards with little memory."""
    heavy = ("/aiohttp/", "/cryptography/", "libavcodec")
    held = [Path(f"/proc/{pid}/maps").read_text() for pid in children(served.pid)]
    assert len(held) == WORKERS and not [name for maps in held for name in heavy if name in maps]
    assert "/aiohttp/" in Path(f"/proc/{served.pid}/maps").read_text()


def test_a_worker_that_is_killed_is_started_again(served: Served) -> None:
    workers = children(served.pid)
    assert len(workers) == WORKERS
    dead: set[int] = set()
    for victim in workers:
        os.kill(victim, signal.SIGKILL)
        dead.add(victim)
        until(lambda: len(set(children(served.pid)) - dead) == WORKERS)
        for _ in range(8):  # also those that waited in the listener of the one that died
            with connection_to(served) as connection:
                assert ask_on(connection, f"/media/{served.video}/R12.mp4", "Range: bytes=0-9").status == 206


def test_workers_end_when_the_main_process_is_killed(made: tuple[Path, str, str]) -> None:
    root, video, page = made
    with pytest.raises(AssertionError), serve(root, video, page, {"EDGE_SERVER_WORKERS": str(WORKERS)}) as served:
        workers = children(served.pid)
        os.kill(served.pid, signal.SIGKILL)
        until(lambda: all(gone(each) for each in workers))


def test_a_drain_finishes_what_workers_are_sending(made: tuple[Path, str, str], tmp_path: Path) -> None:
    root, video, page = made
    with serve(root, video, page, {"EDGE_SERVER_WORKERS": str(WORKERS), "EDGE_SERVER_GRACE_S": "15"}) as served:
        whole = stored(served, "R40")
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", served.http_port))
        with connection:
            asked = f"GET /media/{served.video}/R40.mp4 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            connection.sendall(asked)
            assert connection.recv(1) == b"H"
            for each in (*children(served.pid), served.pid):  # a service manager tells all of them at once
                os.kill(each, signal.SIGTERM)
            body = b"".join(iter(lambda: connection.recv(65536), b""))
            assert body.endswith(whole[-1000:])


def test_two_servers_do_not_share_a_port_by_accident(served: Served) -> None:
    command = [str(BIN / "edge-server"), "serve", "--dir", str(served.edge), "--json", "--rtsp-port", "0"]
    command += ["--http-port", str(served.http_port)]
    more = {**os.environ, "EDGE_SERVER_WORKERS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=more)
    assert done.returncode == 1 and "cannot_listen" in done.stdout


def test_what_is_withdrawn_ends_in_every_worker(made: tuple[Path, str, str]) -> None:
    """Last in this file: the lesson is gone afterwards."""
    root, video, page = made
    with serve(root, video, page, {"EDGE_SERVER_WORKERS": str(WORKERS)}) as served:
        connections = [connection_to(served) for _ in range(12)]
        path = f"/media/{served.video}/R12.mp4"
        assert {ask_on(each, path, "Range: bytes=0-9").status for each in connections} == {206}
        run("central-platform", "withdraw", served.video, "--dir", str(served.central), "--json")
        run("edge-server", "sync", "--dir", str(served.edge), "--json")
        assert {ask_on(each, path, "Range: bytes=0-9").status for each in connections} == {404}
        assert {ask_on(each, f"/lessons/{served.page}/index.html").status for each in connections} == {200}
        for each in connections:
            each.close()
