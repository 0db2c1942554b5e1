from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from edge_server.console import access
from edge_server.console.access import OperatorLogins, why_weak
from edge_server.console.jobs import Job, Jobs, OnProgress, sticks
from edge_server.console.password import PasswordFile
from runtime.recent import EVENTS_MAX_COUNT, RecentEvents


def test_five_wrong_tries_a_minute_over_all() -> None:
    logins = OperatorLogins()
    for second in range(5):
        assert logins.wait_s(float(second)) == 0
        logins.failed(float(second))
    assert logins.wait_s(5.0) == 55.0
    assert logins.wait_s(60.0) == 0
    logins.failed(60.0)
    assert logins.wait_s(60.5) == 0.5


def test_a_login_ends_by_silence_by_age_and_by_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    logins = OperatorLogins()
    logins.enter("k", "t", 0.0)
    assert logins.token_of("k", access.IDLE_MAX_S - 1) == "t"
    assert logins.token_of("k", 2 * access.IDLE_MAX_S - 2) == "t"
    assert logins.token_of("k", 4 * access.IDLE_MAX_S) is None
    assert logins.token_of("", 0.0) is None
    logins.enter("k", "t", 0.0)
    for hour in range(13):
        last = logins.token_of("k", hour * 3600.0)
    assert last is None
    logins.enter("k", "t", 0.0)
    logins.leave("k")
    assert logins.token_of("k", 1.0) is None
    for number in range(access.LOGINS_MAX_COUNT + 1):
        logins.enter(str(number), "t", 0.0)
    assert logins.token_of("0", 1.0) is None
    assert logins.token_of("1", 1.0) == "t"


@pytest.mark.parametrize("password", ["", "short7x", "12345678", "PASSWORD", "aabbaabb", "x" * 129])
def test_weak_passwords_are_named(password: str) -> None:
    assert why_weak(password)


def test_a_password_is_kept_as_a_hash(tmp_path: Path) -> None:
    kept = PasswordFile(tmp_path)
    assert why_weak("Zhen-2026") is None
    assert not kept.is_set() and not kept.fits("")
    kept.write("Zhen-2026")
    raw = (tmp_path / "operator.json").read_bytes()
    assert b"Zhen" not in raw and b"$argon2id$" in raw
    assert (tmp_path / "operator.json").stat().st_mode & 0o777 == 0o600
    assert kept.fits("Zhen-2026") and not kept.fits("zhen-2026")
    (tmp_path / "operator.json").write_bytes(raw[:-20])
    assert kept.is_set() and not kept.fits("Zhen-2026"), "a damaged file opens nothing"
    kept.clear()
    assert not kept.is_set()


async def test_one_job_at_a_time_and_each_says_how_it_ended() -> None:
    jobs = Jobs(lambda error: "磁盘满 / full" if isinstance(error, OSError) else None)
    task = asyncio.ensure_future(jobs.run(lambda: None))
    go = asyncio.Event()

    async def slow(on_progress: OnProgress) -> str:
        on_progress(0.5)
        on_progress(0.2)
        await go.wait()
        return "好 / fine"

    async def full(on_progress: OnProgress) -> str:
        raise OSError("no space")

    async def broken(on_progress: OnProgress) -> str:
        raise KeyError("x")

    async def until_done() -> Job:
        for _ in range(1000):
            if not jobs.is_busy and jobs.last is not None:
                return jobs.last
            await asyncio.sleep(0.002)
        pytest.fail("it runs on")

    assert jobs.start(Job("sync", "a"), slow)
    await asyncio.sleep(0.01)
    assert jobs.last is not None and jobs.last.progress == 0.5, "a bar never goes back"
    assert not jobs.start(Job("import", "b"), full)
    go.set()
    assert (await until_done()).words == "好 / fine"
    assert jobs.start(Job("import", "b"), full)
    done = await until_done()
    assert (done.state, done.words) == ("failed", "磁盘满 / full")
    assert jobs.start(Job("import", "c"), broken)
    assert "程序出错" in (await until_done()).words
    task.cancel()
    await asyncio.wait([task])


def test_sticks_are_found_two_levels_deep_and_links_are_not(tmp_path: Path) -> None:
    for name in ("media/one", "media/user/two", "media/user/empty", "elsewhere/three"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("media/one", "media/user/two", "elsewhere/three"):
        (tmp_path / name / "bundle.json").touch()
    (tmp_path / "media" / "link").symlink_to(tmp_path / "elsewhere" / "three")
    found = sticks([str(tmp_path / "media"), str(tmp_path / "nothing")])
    assert found == [tmp_path / "media" / "one", tmp_path / "media" / "user" / "two"]


def test_the_last_events_are_remembered_and_no_more() -> None:
    handler, log = RecentEvents(), logging.getLogger("test.recent")
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    try:
        log.info("not this")
        for number in range(EVENTS_MAX_COUNT + 5):
            log.warning("event %d", number)
        log.error({"event": "磁盘满", "file": "x", "time": "now"})
    finally:
        log.removeHandler(handler)
    newest = handler.newest()
    assert len(newest) == EVENTS_MAX_COUNT
    assert (newest[0].words, newest[0].level) == ("磁盘满 file=x", "error")
    assert newest[1].words == f"event {EVENTS_MAX_COUNT + 4}"
