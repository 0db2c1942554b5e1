"""A real nginx with deploy/nginx.conf in front of a served edge."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.served import Served, published, serve
from tests.web_lab import Reply, ask_on

pytestmark = [pytest.mark.stranger("nginx"), pytest.mark.timeout(60)]
CONF = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"


@dataclass(frozen=True)
class Fronted:
    served: Served
    port: int

    def ask(self, path: str, *fields: str, method: str = "GET", direct: bool = False) -> Reply:
        port = self.served.http_port if direct else self.port
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            return ask_on(connection, path, *fields, method=method)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    root = tmp_path_factory.mktemp("fronted")
    video, page = published(root)
    with serve(root, video, page, {"EDGE_SERVER_ACCEL_PREFIX": "/stored/"}) as served:
        port = free_port()
        text = CONF.read_text()
        for there, here in {
            "user www-data;": "user root;",
            "/run/nginx.pid": str(root / "nginx.pid"),
            "/var/log/nginx/error.log": str(root / "nginx.err"),
            "127.0.0.1:8800": f"127.0.0.1:{served.http_port}",
            "listen 80 ": f"listen 127.0.0.1:{port} ",
            "/var/lib/edge-server/": f"{served.edge}/",
        }.items():
            assert there in text
            text = text.replace(there, here)
        (root / "nginx.conf").write_text(f"daemon off;\n{text}")
        command = ["nginx", "-p", str(root), "-e", str(root / "nginx.err"), "-c", str(root / "nginx.conf")]
        process = subprocess.Popen(command)
        try:
            while True:  # the test's time limit is the bound
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
                    break
                except ConnectionRefusedError:
                    assert process.poll() is None, (root / "nginx.err").read_text()
                    time.sleep(0.05)
            yield Fronted(served, port)
        finally:
            process.terminate()
            process.wait(10)


def whole(fronted: Fronted) -> bytes:
    (file,) = (each for each in fronted.served.edge.glob("objects/*/*") if each.stat().st_size == size(fronted))
    return file.read_bytes()


def size(fronted: Fronted) -> int:
    return int(fronted.ask(f"/media/{fronted.served.video}/R12.mp4", method="HEAD").fields["content-length"])


def test_the_edge_names_the_file_and_nginx_sends_it(fronted: Fronted) -> None:
    path = f"/media/{fronted.served.video}/R12.mp4"
    named = fronted.ask(path, direct=True)
    assert named.body == b"" and named.fields["x-accel-redirect"].startswith("/stored/objects/")
    data = whole(fronted)
    reply = fronted.ask(path)
    assert (reply.status, reply.body, reply.fields["content-type"]) == (200, data, "video/mp4")
    assert reply.fields["cache-control"] == "no-cache" and reply.fields["server"] == "nginx"
    part = fronted.ask(path, "Range: bytes=100-199")
    assert (part.status, part.body) == (206, data[100:200])
    assert part.fields["content-range"] == f"bytes 100-199/{len(data)}"
    assert fronted.ask(path, f"Range: bytes={len(data)}-").status == 416
    assert fronted.ask(path, f"If-None-Match: {reply.fields['etag']}").status == 304
    resumed = fronted.ask(path, "Range: bytes=5-", f"If-Range: {reply.fields['etag']}")
    assert (resumed.status, resumed.body) == (206, data[5:])
    assert fronted.ask(path, "Range: bytes=5-", 'If-Range: "another"').status == 200


def test_what_the_edge_does_not_allow_nginx_does_not_send(fronted: Fronted) -> None:
    named = fronted.ask(f"/media/{fronted.served.video}/R12.mp4", direct=True).fields["x-accel-redirect"]
    for path in (named, "/stored/edge.toml", "/stored/accounts.json", "/stored/../stored/current", "/media/x/R12.mp4"):
        assert fronted.ask(path).status == 404, path


def test_pages_keep_their_policy_and_come_from_the_edge(fronted: Fronted) -> None:
    page = fronted.ask(f"/lessons/{fronted.served.page}/index.html")
    assert page.status == 200 and "script-src 'none'" in page.fields["content-security-policy"]
    assert fronted.ask(f"/lessons/{fronted.served.page}/index.html", direct=True).body == page.body


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize(
    "path", ["media/{video}/R12.mp4", "hls/{video}/fmp4/master.m3u8", "hls/{video}/ts/master.m3u8"]
)
def test_ffmpeg_plays_through_it(fronted: Fronted, path: str) -> None:
    url = f"http://127.0.0.1:{fronted.port}/{path.format(video=fronted.served.video)}"
    count = ("-count_frames", "-select_streams", "v:0", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0")
    done = subprocess.run(
        ["ffprobe", "-v", "error", *count, url], capture_output=True, text=True, timeout=40, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert str(fronted.served.frames) in done.stdout.split()
