"""The key of an edge's tickets, and the bound on who watches over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge_server.bootstrap.admission import KEY_NAME, make_admission
from edge_server.bootstrap.edge import check_settings
from edge_server.cli.common import read_config
from edge_server.sessions.tickets import EXPIRED, FORGED, Allowed
from edge_server.sessions.watching import TABLE_BYTES
from runtime.clock import FakeClock
from runtime.output import Output
from runtime.settings import ConfigError

PATH = "/media/1001/R12.mp4"


def configured(**settings: object) -> Any:
    return read_config(Output(json=True), Path("/nowhere"), **settings)[0]


def clock() -> FakeClock:
    return FakeClock(datetime(2026, 1, 1, tzinfo=UTC))


def test_a_key_is_made_once_kept_secret_and_made_anew_when_damaged(tmp_path: Path) -> None:
    config = configured(media_access="ticket")
    prefix = make_admission(config, tmp_path, clock()).ticket("1001")
    assert prefix
    key = tmp_path / KEY_NAME
    assert key.stat().st_mode & 0o777 == 0o600
    allowed = make_admission(config, tmp_path, clock()).door(prefix + PATH)
    assert isinstance(allowed, Allowed)
    assert allowed.path == PATH
    key.write_bytes(b"cut")
    assert make_admission(config, tmp_path, clock()).door(prefix + PATH) == FORGED


def test_open_media_need_no_ticket(tmp_path: Path) -> None:
    admission = make_admission(configured(), tmp_path, clock())
    assert admission.ticket("1001") == ""
    assert admission.door(PATH) == Allowed(PATH)


async def test_as_many_watch_as_may_and_a_place_becomes_free(tmp_path: Path) -> None:
    config = configured(media_access="ticket", http_max_viewings=2, ticket_life_s=1000)
    time, memory = clock(), bytearray(TABLE_BYTES)
    one, two = (make_admission(config, tmp_path, time, memory=memory) for _ in range(2))
    for admission in (one, two):
        allowed = admission.door((admission.ticket("1001") or "") + PATH)
        assert isinstance(allowed, Allowed)
        admission.watching.seen(allowed.viewing, 1, time.monotonic())
    assert one.ticket("1001") is None
    assert two.ticket("1001") is None
    await time.advance(61)
    prefix = one.ticket("1001")
    assert prefix
    await time.advance(1001)
    assert two.door(prefix + PATH) == EXPIRED


@pytest.mark.parametrize("settings", [{"media_access": "closed"}, {"ticket_life_s": 0}])
def test_settings_that_make_no_sense(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(settings))}: .*write"):
        check_settings(configured(central="http://127.0.0.1:9/", **settings))
