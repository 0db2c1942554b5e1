"""Lifetimes, clock, settings and command-line output."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

import runtime.output as output_module
from runtime.clock import FakeClock, SystemClock, settle
from runtime.output import Exit, Output
from runtime.service import serve
from runtime.settings import ConfigError, read, setting


class Part:
    def __init__(self, name: str, log: list[str], *, fail: bool = False, slow: bool = False, early: str = "") -> None:
        self.name, self.log, self.fail, self.slow, self.early = name, log, fail, slow, early

    async def run(self, ready: Callable[[], None]) -> None:
        if self.early == "raises":
            raise RuntimeError(self.name)
        if self.early == "returns":
            return
        self.log.append(f"+{self.name}")
        ready()
        try:
            if self.fail:
                await asyncio.sleep(0.01)
                raise RuntimeError(self.name)
            await asyncio.Event().wait()
        finally:
            self.log.append(f"-{self.name}")

    async def drain(self) -> None:
        self.log.append(f"~{self.name}")
        if self.slow:
            await asyncio.sleep(60)


async def test_starts_in_order_and_stops_in_reverse() -> None:
    log: list[str] = []
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, stop.set)
    await serve([Part("store", log), Part("egress", log, slow=True)], stop, grace=0.02)
    assert log == ["+store", "+egress", "~egress", "-egress", "~store", "-store"]


@pytest.mark.parametrize("failing", [0, 1])
async def test_a_failing_service_brings_the_stack_down(failing: int) -> None:
    log: list[str] = []
    parts = [Part("store", log, fail=failing == 0), Part("egress", log, fail=failing == 1)]
    with pytest.raises(ExceptionGroup) as caught:
        await serve(parts, asyncio.Event(), grace=0.1)
    leaf: BaseException = caught.value
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    assert str(leaf) == parts[failing].name
    assert "-store" in log and "-egress" in log


@pytest.mark.parametrize("early", ["raises", "returns"])
async def test_a_service_that_ends_before_ready_stops_what_runs_and_starts_nothing_more(early: str) -> None:
    log: list[str] = []
    with pytest.raises(ExceptionGroup):
        await serve(
            [Part("store", log), Part("egress", log, early=early), Part("top", log)], asyncio.Event(), grace=0.1
        )
    assert "-store" in log and "+top" not in log


@pytest.mark.parametrize("clock", [SystemClock(), FakeClock(datetime(2030, 1, 1, tzinfo=UTC))])
async def test_a_clock_calls_back_in_order_and_what_was_called_off_never_comes(clock: SystemClock | FakeClock) -> None:
    now, done = clock.monotonic(), asyncio.Event()
    seen: list[str] = []
    clock.call_at(now + 0.04, done.set)
    clock.call_at(now + 0.03, lambda: seen.append("second"))
    clock.call_at(now + 0.01, lambda: seen.append("first"))
    clock.call_at(now + 0.02, lambda: seen.append("called off"))()
    if isinstance(clock, FakeClock):
        await clock.advance(0.1)
    await done.wait()
    assert seen == ["first", "second"] and clock.monotonic() >= now + 0.03


async def test_fake_clock_wakes_in_order_of_deadline() -> None:
    clock, seen = FakeClock(datetime(2030, 1, 1, tzinfo=UTC)), []

    async def nap(at: float) -> None:
        await clock.sleep_until(at)
        seen.append(int(at))

    async with asyncio.TaskGroup() as group:
        for at in (30, 10, 20):
            group.create_task(nap(at))
        await settle()
        await clock.advance(15)
        assert seen == [10]
        await clock.advance(15)
    assert seen == [10, 20, 30]
    assert clock.utc() == datetime(2030, 1, 1, 0, 0, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Sample:
    port: int = setting(1, "A port.")
    wait_s: float = setting(2.0, "A time.")
    name: str = setting("x", "A name.")
    on: bool = setting(False, "A switch.")


def sample(tmp_path: Path, text: str = "", environ: dict[str, str] | None = None, **flags: object) -> Sample:
    file = tmp_path / "s.toml"
    file.write_text(text, encoding="utf-8")
    return read(Sample, prefix="S_", file=file, environ=environ or {}, flags=flags)[0]


def test_flags_beat_environment_beats_file_beats_default(tmp_path: Path) -> None:
    assert sample(tmp_path) == Sample(1, 2.0, "x", False)
    assert sample(tmp_path, "port = 2\nwait_s = 3\nname = '县'").port == 2
    assert sample(tmp_path, "wait_s = 3").wait_s == 3.0
    assert sample(tmp_path, "port = 2", {"S_PORT": "3", "S_ON": "yes", "OTHER": "1"}) == Sample(3, 2.0, "x", True)
    assert sample(tmp_path, "port = 2", {"S_PORT": "3"}, port=4, name=None).port == 4


@pytest.mark.parametrize(
    ("text", "environ", "words"),
    [
        ("prot = 2", {}, "unknown setting 'prot'"),
        ("port = 'two'", {}, "expected int"),
        ("port = true", {}, "expected int"),
        ("port = ", {}, "cannot be read as TOML"),
        ("", {"S_PORT": "two"}, "environment S_PORT: expected int"),
        ("", {"S_ON": "maybe"}, "expected true or false"),
        ("", {"S_PROT": "1"}, "unknown setting"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_its_place(
    tmp_path: Path, text: str, environ: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        sample(tmp_path, text, environ)


def test_json_lines_go_to_stdout_and_words_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(json=True)
    show = out.progress("课件")
    for fraction in (0.0, 0.001, 0.5, 0.5, 1.2):
        show(fraction)
    out.say("words")
    raised = out.fail(Exit.BAD_CONFIG, "bad_config", "no")
    assert isinstance(raised, click.exceptions.Exit) and raised.exit_code == 4
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line.get("percent") for line in lines] == [0, 50, 100, None]
    assert lines[-1] == {"type": "error", "reason": "bad_config", "message": "no"}
    assert captured.err == "words\nno\n"


def test_a_bar_is_drawn_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=False).progress("x")(0.5)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(output_module.sys.stderr, "isatty", lambda: True, raising=False)
    show = Output(json=False).progress("x")
    show(0.5)
    show(1.0)
    assert "x" in capsys.readouterr().err
