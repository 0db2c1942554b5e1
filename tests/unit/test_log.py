"""The log: lines of JSON on stderr, nothing on stdout, and no chatter of libraries."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from runtime.log import log_to_stderr


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("tests")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before
    structlog.reset_defaults()


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    out, err = capfd.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_events_of_both_kinds_are_lines_of_json_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("tests", "info")
    structlog.get_logger().info("played\nto the end", box="机顶盒")
    logging.getLogger("aiohttp").warning("odd %d", 3)
    ours, theirs = lines(capfd)
    assert (ours["event"], ours["box"], ours["level"]) == ("played\nto the end", "机顶盒", "info")
    assert ours["logger"] == __name__ and str(ours["time"]).endswith("Z")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("odd 3", "warning", "aiohttp")


def test_a_fault_is_one_line_with_its_way(capfd: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("tests", "error")
    try:
        raise ZeroDivisionError("by us")
    except ZeroDivisionError:
        structlog.get_logger().exception("fault")
        logging.getLogger("asyncio").exception("fault")
    for line in lines(capfd):
        assert line["event"] == "fault" and "ZeroDivisionError: by us" in str(line["exception"])


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [("debug", 4, 2), ("info", 3, 2), ("warning", 2, 2), ("error", 1, 1)],
)
def test_libraries_say_only_what_is_urgent(
    level: str, ours: int, theirs: int, capfd: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr("tests", level)
    log_to_stderr("tests", level)
    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger(), name)("ours")
        getattr(logging.getLogger("aioice.ice"), name)("theirs")
    said = [line["event"] for line in lines(capfd)]
    assert (said.count("ours"), said.count("theirs")) == (ours, theirs)


def test_what_is_no_level_is_refused() -> None:
    with pytest.raises(ValueError, match="debug, info, warning, error"):
        log_to_stderr("tests", "loud")
