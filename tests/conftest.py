"""Strangers: programs nobody here wrote. Missing = failure in CI, a skip that says so on a laptop."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("house", deadline=None)  # a busy machine is no finding
hypothesis.settings.register_profile("deep", deadline=None, max_examples=20_000, print_blob=True)
hypothesis.settings.load_profile("house")

GI_PYTHON = "/usr/bin/python3"
"""Debian's interpreter: the one that sees python3-gi."""

HLS_JS = next(iter(sorted(Path(__file__).resolve().parents[1].glob(".strangers/hls-*.min.js"))), None)
"""Put there by ``scripts/strangers.sh``."""


def _has_gst_rtsp_server() -> bool:
    code = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    return Path(GI_PYTHON).exists() and subprocess.run([GI_PYTHON, "-c", code], capture_output=True).returncode == 0


def _present(program: str) -> bool:
    if program == "gst-rtsp-server":
        return _has_gst_rtsp_server()
    if program == "hls.js":
        return HLS_JS is not None
    return shutil.which(program) is not None


_found: dict[str, bool] = {}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("stranger"):
        for program in mark.args:
            if program not in _found:
                _found[program] = _present(program)
            if not _found[program]:
                words = f"{program} is not installed: `make strangers` installs it from Debian"
                if os.environ.get("CI"):
                    pytest.fail(words)
                pytest.skip(words)


@pytest.fixture(scope="session")
def shared_media() -> Path:
    """Folder of real files that nobody here made; not part of the repository."""
    given = os.environ.get("SHARED_MEDIA")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "media"
    if not folder.is_dir():
        pytest.skip(f"no folder of real media at {folder} (set SHARED_MEDIA)")
    return folder
