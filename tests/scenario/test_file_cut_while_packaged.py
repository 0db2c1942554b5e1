"""A file that is cut while it is mapped kills who reads on with SIGBUS: that is the packaging process, not the edge.

The process is a real one and so are the mapping, the cut and the signal; only the moment of the cut is chosen, by a
``sitecustomize`` in the process that packages, after the file was mapped and before it is read.
"""

from __future__ import annotations

import signal
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_server.packager import PackagingFailed
from edge_server.packager.apart import Apart
from tests.edge_lab import noisy_lesson, publish, serve
from tests.served import run
from tests.unit.test_ts_mux import make_lesson

CUT = """
import os, sys
if "edge_server.packager.apart" in sys.orig_argv and os.path.exists({armed!r}):
    import media.ts_mux as it
    whole = it._mapped
    with open({starts!r}, "a") as log:
        log.write("start\\n")
    def cut(path):
        mapping = whole(path)
        os.truncate(path, 4096)
        os.remove({armed!r})
        return mapping
    it._mapped = cut
"""


def arm(folder: Path) -> tuple[Path, Path]:
    """Write the ``sitecustomize``; return the file that arms it, and the log of processes that it met."""
    armed, starts = folder / "armed", folder / "starts"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CUT.format(armed=str(armed), starts=str(starts)))
    armed.touch()
    return armed, starts


@pytest.mark.timeout(60)
def test_the_process_that_packages_dies_and_the_next_rendition_gets_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_lesson(tmp_path / "first.mp4", seconds=3)
    second = tmp_path / "second.mp4"
    second.write_bytes(first.read_bytes())
    armed, _ = arm(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(armed.parent))
    (tmp_path / "derived").mkdir()
    with Apart() as pack:
        with pytest.raises(PackagingFailed, match=rf"\(-{int(signal.SIGBUS)}\): the file was cut.*store verify"):
            pack(first, "ab" * 32, tmp_path / "derived")
        assert not armed.exists() and first.stat().st_size == 4096
        with pytest.raises(PackagingFailed, match="object abababababab"):
            pack(first, "ab" * 32, tmp_path / "derived")
        pack(second, "cd" * 32, tmp_path / "derived")
    made = {path.parent.parent.name for path in (tmp_path / "derived").rglob("media.ts")}
    assert made == {"cd" * 32}, "nothing of the one that failed"


def until(true: Callable[[], object], words: str, timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, words
        time.sleep(0.1)


@pytest.mark.stranger("ffmpeg")
@pytest.mark.timeout(150)
def test_the_edge_says_so_serves_on_and_is_mended(tmp_path: Path) -> None:
    old, new = (noisy_lesson(tmp_path / f"{name}.mp4", seconds=3, kbps=800) for name in ("old", "new"))
    items = publish(tmp_path, [old])
    words = ("--column", "测试专栏", "--class", "education", "--dir", str(tmp_path / "central"), "--json")
    coming = str(run("central-platform", "publish", str(new), "--title", "新课", *words)[-1]["item_id"])
    armed, starts = arm(tmp_path / "site")
    settings = {"PYTHONPATH": str(armed.parent), "EDGE_SERVER_POLL_S": "1"}
    store = ("--dir", str(tmp_path / "edge"), "--json")
    with serve(tmp_path, environment=settings) as edge:
        began, log = time.monotonic(), tmp_path / "serve.log"
        until(lambda: f"({-signal.SIGBUS}): the file was cut" in log.read_text(), "the edge says why")
        until(lambda: "4096 of " in log.read_text(), "the next sync says what it finds")
        assert edge.process.poll() is None
        assert edge.get(f"/media/{items[old]}/R12.mp4"), "the old lesson plays on"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            edge.get(f"/media/{coming}/R12.mp4")
        failure = str(run("edge-server", "sync", "status", *store)[-1]["failure"])
        assert failure.startswith("PackagingFailed: object ") and "store verify" in failure
        assert 2 <= log.read_text().count("sync failed") <= 2 + (time.monotonic() - began), "once a poll, not more"
        assert starts.read_text() == "start\n", "what is known to be cut is not tried in a process again"
        assert run("edge-server", "store", "verify", *store, fine=(0, 1, 3))
        until(lambda: "new releases active" in log.read_text(), "mended by the next sync")
        assert edge.get(f"/media/{coming}/R12.mp4") and edge.process.poll() is None
