"""A village without a line for thirty days, and an edge with a wrong clock: our programs under faketime."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fixtures.lessons import make_picture_text
from tests.served import BIN, LATE, Served, published, run

pytestmark = [pytest.mark.stranger("faketime"), pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str, str]:
    """Two lessons that may be shown 45 days without contact, and one that may be for 7."""
    root = tmp_path_factory.mktemp("days")
    video, page = published(root)
    make_picture_text(root / "brief", "短期通知")
    words = ("--column", "测试专栏", "--class", "service", "--offline-days", "7", "--dir", str(root / "central"))
    done = run("central-platform", "publish", str(root / "brief"), "--title", "短期通知", *words, "--json")
    run("edge-server", "sync", "--dir", str(root / "edge"), "--json")
    return root, video, page, str(done[-1]["item_id"])


def faked(moment: str) -> dict[str, str]:
    """Return what makes the dynamic linker give a program another clock; it stays the process that we started."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    return {"LD_PRELOAD": str(library), "FAKETIME": moment, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@contextmanager
def serving_at(moment: str, root: Path, video: str, page: str, log: str) -> Iterator[Served]:
    """Serve with the clock at another time, e.g. ``+30d`` or ``@1970-01-02 00:00:00``."""
    command = [str(BIN / "edge-server"), "serve", "--dir", str(root / "edge"), "--json"]
    environ = {**os.environ, **LATE, **faked(moment)}
    with (root / log).open("wb") as said:
        process = subprocess.Popen(
            [*command, "--http-port", "0", "--rtsp-port", "0"], stdout=subprocess.PIPE, stderr=said, env=environ
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (root / log).read_text()
            ready = json.loads(line)
            yield Served(root, str(ready["http"]), str(ready["rtsp"]), video, page, pid=process.pid)
        finally:
            process.terminate()
            process.wait(20)
            if process.stdout is not None:
                process.stdout.close()
    assert process.returncode == 0, (root / log).read_text()


def get(url: str, cookie: str = "") -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"Cookie": cookie} if cookie else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode("utf-8", "replace")


def sync_at(moment: str, root: Path) -> tuple[int, str]:
    command = [str(BIN / "edge-server"), "sync", "--dir", str(root / "edge"), "--json"]
    environ = {**os.environ, **faked(moment)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environ)
    return done.returncode, done.stdout


def test_thirty_days_without_a_line_every_box_plays_what_has_not_run_out(
    synced: tuple[Path, str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, video, page, brief = synced
    with serving_at("+30d", root, video, page, "thirty.log") as edge:
        command = ("stb-emulator", "matrix", "--portal", edge.http, "--json", "--seconds", "2")
        with monkeypatch.context() as later:  # thirty days pass for the boxes, too
            for name, value in faked("+30d").items():
                later.setenv(name, value)
            lines = run(*command, fine=(0, 1), timeout_s=180)
        rows = [line for line in lines if line["type"] == "item"]
        bad = [(row["box"], row["lesson"], row["stage"], row["reason"]) for row in rows if not row["ok"]]
        assert bad == []
        assert {row["lesson"] for row in rows} == {video, page}, "what may be shown for 7 days is not listed by any box"
        assert len({row["box"] for row in rows}) >= 15
        status, why = get(f"{edge.http}study/check/hidden", "station=v-001")
        assert status == 200
        assert "短期通知" in why and "已到期" in why
        assert get(f"{edge.http}lessons/{brief}/")[0] == 404, "nor by a link that somebody kept"


@pytest.mark.parametrize("moment", ["@1970-01-02 00:00:00", "@2038-02-01 00:00:00", "-1d", "+10y"])
def test_a_wrong_clock_stops_no_lesson_that_may_be_shown(synced: tuple[Path, str, str, str], moment: str) -> None:
    root, video, page, _ = synced
    for name in ("judged.json", "uplink.json"):  # each clock begins with what the right one left
        kept, mine = root / f"{name}.kept", root / "edge" / name
        if not kept.exists() and mine.exists():
            kept.write_bytes(mine.read_bytes())
        if kept.exists():
            mine.write_bytes(kept.read_bytes())
    ahead = moment in ("@2038-02-01 00:00:00", "+10y")
    with serving_at(moment, root, video, page, "clock.log") as edge:
        assert get(edge.http)[0] == 200
        assert get(f"{edge.http}healthz")[0] == 200
        status, body = get(f"{edge.http}hls/{video}/ts/R12/index.m3u8")
        if ahead:
            assert status == 404, "45 days without contact are over, as far as this clock can tell"
            assert "已到期" in get(f"{edge.http}study/check/hidden", "station=v-001")[1]
        else:
            assert status == 200 and "#EXTM3U" in body
        code = re.search(r'class="code">(\d{3}) (\d{3})<', get(f"{edge.http}study/check", "station=v-001")[1])
        assert code, "records are shown whatever the clock says"
    code_of_sync, said = sync_at(moment, root)
    if ahead:
        assert code_of_sync != 0 and ("freeze" in said or "untrusted" in said or "本机时间" in said), said
    run("edge-server", "sync", "--dir", str(root / "edge"), "--json")
    assert get_after(root, video, page), "with the right clock, and one contact, all is as before"


def get_after(root: Path, video: str, page: str) -> bool:
    with serving_at("+0s", root, video, page, "after.log") as edge:
        return get(f"{edge.http}hls/{video}/ts/R12/index.m3u8")[0] == 200
