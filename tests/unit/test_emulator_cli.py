import json
import subprocess
import sys
from pathlib import Path

import pytest

from stb_emulator.boxes import load_all

ROOT = Path(__file__).resolve().parents[2]


def _run(*words: str) -> tuple[int, list[dict], str]:
    code = "import sys; from stb_emulator.cli import main; sys.argv[0] = 'stb-emulator'; main()"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT, timeout=15)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done.returncode, lines, done.stdout + done.stderr


def test_boxes_are_listed() -> None:
    code, lines, _ = _run("boxes", "--json")
    assert code == 0
    assert [line["name"] for line in lines] == sorted(load_all())


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("play", "--box", "nobody", "--portal", "http://127.0.0.1:1"), "nobody"),
        (("play", "--box", "new_hls_ts"), "--portal"),
        (("play", "--box", "new_hls_ts", "--portal", "http://192.0.2.1"), "--allow"),
        (("matrix", "--portal", "http://school.example"), "--allow"),
        (("matrix", "--portal", "nonsense"), "loopback"),
    ],
)
def test_usage_errors_are_2(words: tuple[str, ...], part: str) -> None:
    code, _, text = _run(*words)
    assert code == 2
    assert part in text


def test_nobody_there_is_5() -> None:
    for words in (("play", "--box", "new_hls_ts"), ("matrix",)):
        code, lines, text = _run(*words, "--portal", "http://127.0.0.1:1", "--json")
        assert code == 5, text
        assert lines[-1]["type"] == "error" and lines[-1]["reason"] == "unreachable"


def test_absent_needs_a_portal_that_answers() -> None:
    code, lines, _ = _run("matrix", "--portal", "http://127.0.0.1:1", "--expect-absent", "7", "--json")
    assert code == 5
    assert lines[-1]["type"] == "error"
    assert [line["ok"] for line in lines if line["type"] == "item"] == [False] * len(load_all())
