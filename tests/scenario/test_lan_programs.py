"""Neighbours with the programs themselves: publisher → edge A → edge B, whose own line is dead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.served import run, serving


@pytest.mark.timeout(90)  # a dead line is asked four times before it counts as dead
def test_an_edge_without_a_line_gets_everything_from_its_neighbour(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        edge, anchor = tmp_path / "second", tmp_path / "central" / "published" / "metadata" / "1.root.json"
        dead = "http://127.0.0.1:9/"
        run("edge-server", "init", str(edge), "--central", dead, "--trust", str(anchor), "--json")
        told = run("edge-server", "sync", "--dir", str(edge), "--json", fine=(5,))[-1]
        assert told["reason"] == "unreachable"
        with (edge / "edge.toml").open("a") as settings:
            settings.write(f'lan_edges = "{first.http.rstrip("/")}"\n')
        report = run("edge-server", "sync", "--dir", str(edge), "--json")[-1]
        assert report["changed"] is True
        shown = run("edge-server", "status", "--dir", str(edge), "--json")
        assert {each["item_id"] for each in shown if each["type"] == "item"} == {first.video, first.page}
        ours, theirs = ({f.name for f in (root / "objects").rglob("*") if f.is_file()} for root in (edge, first.edge))
        assert ours == theirs
