"""A lesson on trial is seen by lab edges only until every kind of box has played it (REQ-STB-02, REQ-CON-09)."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fixtures.lessons import make_counted_lesson
from tests.served import published, run, serve

pytestmark = pytest.mark.timeout(120)
LAB = {"EDGE_SERVER_LAB": "true"}


def status(base: str, path: str) -> int:
    try:
        with urllib.request.urlopen(base + path, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_lesson_on_trial_opens_when_every_box_has_played_it(tmp_path: Path) -> None:
    video, page = published(tmp_path)
    central, edge, report = str(tmp_path / "central"), str(tmp_path / "edge"), tmp_path / "report.jsonl"
    make_counted_lesson(tmp_path / "trial.mp4", frames=60, title="试播课", seed=5)
    words = ("--title", "试播课", "--column", "测试专栏", "--class", "education", "--dir", central, "--json")
    made = run("central-platform", "publish", str(tmp_path / "trial.mp4"), "--gate", *words)[-1]
    trial = str(made["item_id"])
    assert made["parity_missing"] is True
    held = {str(line["item_id"]): line["parity_missing"] for line in run("central-platform", "list", *words[-3:])[:-1]}
    assert held == {video: False, page: False, trial: True}
    run("edge-server", "sync", "--dir", edge, "--json")

    paths = (f"media/{trial}/R12.mp4", f"hls/{trial}/ts/R12/index.m3u8", f"watch/{trial}")
    with serve(tmp_path, video, page) as served:
        assert {status(served.http, path) for path in paths} == {404}
        run("stb-emulator", "matrix", "--portal", served.http, "--json", "--expect-absent", trial)
    with serve(tmp_path, video, page, LAB) as served:
        assert status(served.http, paths[0]) == 200, "it is packaged and ready before it is open"
        lines = run("stb-emulator", "matrix", "--portal", served.http, "--json", "--lesson", trial)
    report.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    admit = ("central-platform", "admit", trial, "--dir", central, "--json", "--report")
    some = tmp_path / "some.jsonl"
    some.write_text("".join(f"{json.dumps(line)}\n" for line in lines if line.get("box") != "cu_hw_old"))
    assert "cu_hw_old" in str(run(*admit, str(some), fine=(1,))[-1])
    assert run(*admit, str(report))[-1]["item_id"] == trial
    assert "everywhere already" in str(run(*admit, str(report), fine=(1,))[-1])
    run("edge-server", "sync", "--dir", edge, "--json")
    with serve(tmp_path, video, page) as served:
        assert {status(served.http, path) for path in paths[:2]} == {200}
        found = run("stb-emulator", "lag", "--portal", served.http, "--item", trial, "--within", "5", "--json")
        assert all(line["ok"] for line in found)
