"""A serving edge tells whether it is alive and ready, and its numbers add up what its workers do."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.served import Served, published, run, serve

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("monitoring")
    with serve(root, *published(root), {"EDGE_SERVER_WORKERS": "2"}) as served:
        yield served


def get(url: str, **fields: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=fields), timeout=10) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def numbers(edge: Served) -> dict[tuple[str, ...], float]:
    status, text = get(edge.http + "metrics")
    assert status == 200
    families = text_string_to_metric_families(text.decode())
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def test_what_the_workers_send_is_counted(edge: Served) -> None:
    before = numbers(edge)
    sent = sum(len(get(f"{edge.http}media/{edge.video}/R12.mp4")[1]) for _ in range(20))
    after = numbers(edge)
    grown = {name: after[name] - before[name] for name in (("edge_http_media_bytes_total",),)}
    assert grown == {("edge_http_media_bytes_total",): sent}
    assert after["edge_http_responses_total", "200"] - before["edge_http_responses_total", "200"] >= 20
    assert after["edge_snapshot_items",] == 2 and after["edge_snapshot_age_seconds",] < 3600
    assert after["edge_store_bytes", "objects"] > sent // 20
    assert after["edge_uplink_failing",] == 0 and after["edge_uplink_success_timestamp_seconds",] > 1e9
    assert after["edge_viewers_max", "rtsp"] == 700 and after["edge_pacing_busy",] == 0


def test_an_rtsp_viewer_is_seen(edge: Served) -> None:
    with socket.create_connection(("127.0.0.1", edge.rtsp_port), timeout=10) as box:
        url = f"rtsp://127.0.0.1:{edge.rtsp_port}/vod/{edge.video}.mpg/trackID=1"
        transport = "Transport: MP2T/RTP/TCP;unicast;interleaved=0-1"
        box.sendall(f"SETUP {url} RTSP/1.0\r\nCSeq: 1\r\n{transport}\r\n\r\n".encode())
        assert box.recv(65536).startswith(b"RTSP/1.0 200")
        assert numbers(edge)["edge_viewers", "rtsp"] == 1


@pytest.mark.stranger("promtool")
def test_the_writers_of_prometheus_have_nothing_to_say_against_the_text(edge: Served) -> None:
    _, text = get(edge.http + "metrics")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("field", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_who_comes_through_a_proxy_gets_no_numbers(edge: Served, field: str) -> None:
    status, words = get(edge.http + "metrics", **{field: "192.0.2.7"})
    assert status == 403 and "metrics_from" in words.decode()
    assert get(edge.http + "healthz", **{field: "192.0.2.7"})[0] == 200


def test_alive_and_ready(edge: Served) -> None:
    assert get(edge.http + "healthz") == (200, b'{"ok":true}')
    status, body = get(edge.http + "readyz")
    told = json.loads(body)
    assert (status, told["ready"], told["reason"]) == (200, True, None) and told["seq"] >= 1


def test_an_edge_without_lessons_or_with_a_damaged_pointer_is_alive_and_not_ready(tmp_path: Path) -> None:
    central, folder = str(tmp_path / "central"), tmp_path / "edge"
    run("central-platform", "init", central, "--json")
    trust = str(tmp_path / "central" / "published" / "metadata" / "1.root.json")
    run("edge-server", "init", str(folder), "--central", f"{central}/published", "--trust", trust, "--json")
    with serve(tmp_path, "", "", {"EDGE_SERVER_METRICS_FROM": ""}) as served:
        for damage, reason in (("", "no_snapshot"), ("{", "snapshot_unreadable")):
            if damage:
                (folder / "current").write_text(damage)
            status, body = get(served.http + "readyz")
            assert (status, json.loads(body)["reason"]) == (503, reason)
            assert get(served.http + "healthz")[0] == 200
        assert get(served.http + "metrics")[0] == 403
