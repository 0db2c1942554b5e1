"""The log's share of requests that cannot be read."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

from aiohttp import ClientConnectionResetError
from aiohttp.http_exceptions import BadStatusLine

from edge_server.plane.bad_requests import FAULT_MAX_CHARS, LINE_EVERY_S, BadRequests
from runtime.clock import FakeClock

START = datetime(2026, 11, 24, tzinfo=UTC)


def record(fault: Exception | None) -> logging.LogRecord:
    try:
        if fault is not None:
            raise fault
    except Exception:
        told = sys.exc_info()
    else:
        told = (None, None, None)
    return logging.LogRecord("http", logging.ERROR, "", 0, "Error handling request", (), told)


async def test_faults_of_clients_are_counted_in_one_short_line_a_minute() -> None:
    clock = FakeClock(START)
    seen = BadRequests(clock)
    said = [each for _ in range(1000) if seen.filter(each := record(BadStatusLine("x" * 8000)))]
    await clock.advance(LINE_EVERY_S)
    said += [each for _ in range(1000) if seen.filter(each := record(ClientConnectionResetError("gone")))]
    lines = [logging.Formatter().format(each) for each in said]
    assert [each.split(";")[0] for each in lines] == ["bad requests: 1", "bad requests: 1000"]
    assert all("\n" not in each and len(each) < FAULT_MAX_CHARS + 60 for each in lines)


def test_faults_of_ours_are_told_with_their_stack() -> None:
    seen = BadRequests(FakeClock(START))
    for fault in (KeyError("a"), ValueError("b"), ConnectionResetError("another server")):
        told = record(fault)
        assert seen.filter(told)
        assert "Traceback" in logging.Formatter().format(told)
    assert seen.filter(record(None))
