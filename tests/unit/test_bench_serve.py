"""The pure parts of the serving benchmark: ratios, verdicts, when a number is invalid, what a client accepts."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.serve import http, pack, rtsp, whep, wrk
from benchmarks.serve.drain import Wanted, Wrong, body_start
from benchmarks.serve.plots import plots
from benchmarks.serve.report import report
from benchmarks.serve.verdicts import (
    FAILED,
    MISSED,
    PASSED,
    State,
    capacity,
    client_was_limit,
    exit_code,
    geomean,
    judge,
    machine_was_limit,
    majority,
    paired,
    spread,
)


def test_ratios_are_those_of_the_repeats_not_of_the_medians() -> None:
    # The second repeat was slow for both: it changes no ratio.
    found = paired([1.0, 10.0, 2.0], [1.0, 5.0, 4.0])
    assert (found.median, found.least, found.most, found.count) == (1.0, 0.5, 2.0, 3)


@pytest.mark.parametrize(("ours", "theirs"), [([1.0], [1.0, 2.0]), ([], []), ([1.0], [0.0]), ([math.nan], [1.0])])
def test_ratios_that_do_not_exist_are_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError):
        paired(ours, theirs)


def test_the_mean_of_ratios_is_geometric() -> None:
    assert geomean([0.5, 2.0]) == pytest.approx(1.0)
    with pytest.raises(ValueError):
        geomean([])
    with pytest.raises(ValueError):
        geomean([1.0, 0.0])


def test_a_target_is_met_up_to_its_limit() -> None:
    assert judge("a", 1.05, most=1.05).state is State.MET
    assert judge("a", 1.06, most=1.05).state is State.MISSED
    assert judge("a", 0.95, least=0.95).state is State.MET
    assert judge("a", 0.94, least=0.95).state is State.MISSED
    with pytest.raises(ValueError):
        judge("a", 1.0)
    with pytest.raises(ValueError):
        judge("a", 1.0, most=1.0, least=1.0)


def test_a_spread_is_judged_by_its_median_and_shown_whole() -> None:
    verdict = judge("a", spread([0.9, 1.0, 5.0]), most=1.05)
    assert verdict.state is State.MET and verdict.value == 1.0 and verdict.spread == (0.9, 5.0)


def test_an_invalid_number_is_neither_met_nor_missed() -> None:
    verdict = judge("a", 0.1, least=0.95, invalid="the client used 99% of its core", note="8 MB")
    assert verdict.state is State.INVALID and verdict.note == "the client used 99% of its core; 8 MB"
    assert judge("a", None, least=0.95).state is State.ABSENT


def test_exit_codes() -> None:
    met, missed = judge("a", 1.0, most=1.0), judge("b", 2.0, most=1.0)
    invalid, absent = judge("c", 2.0, most=1.0, invalid="client"), judge("d", None, most=1.0)
    assert exit_code([met, invalid], []) == PASSED
    assert exit_code([met, missed, absent], ["x"]) == MISSED
    assert exit_code([met, absent], []) == FAILED
    assert exit_code([met], ["other bytes"]) == FAILED


def test_the_client_was_the_limit_when_its_core_was_full_in_the_median() -> None:
    assert client_was_limit([0.5, 0.99, 0.98]) == "the client used 98% of its core"
    assert client_was_limit([0.5, 0.94, 0.99]) == ""
    assert client_was_limit([]) == ""


def test_delays_on_a_machine_that_others_use_are_invalid() -> None:
    assert machine_was_limit([0.05, 0.4, 0.5]) == "others used 40% of the machine"
    assert machine_was_limit([0.05, 0.1, 0.5]) == "" == machine_was_limit([])


def test_capacity_ends_at_the_first_load_that_most_runs_did_not_hold() -> None:
    runs = [(800, True), (1000, True), (1000, False), (1000, True), (1200, True), (1200, False), (1500, True)]
    assert capacity(runs) == 1000
    assert capacity([(800, False)]) == 0 == capacity([])


def row(server: str, repeat: int, cost: float, *, busy: float = 0.5, others: float = 0.0) -> dict[str, object]:
    found = {"kind": "2 MB", "connections": 32, "client": "wrk", "server": server, "repeat": repeat}
    return found | {"cpu_s_per_gb": cost, "client_busy": busy, "others": {"server_core_others": others}}


def test_http_ratios_take_only_repeats_that_both_servers_finished() -> None:
    rows = [row("edge", 0, 2.0), row("nginx", 0, 1.0), row("edge", 1, 9.0), row("edge", 2, 3.0), row("nginx", 2, 1.0)]
    found = http.ratio(rows, ("2 MB", 32), "wrk", "cpu_s_per_gb", "edge")
    assert found is not None and (found.median, found.count) == (2.5, 2)
    assert http.ratio(rows, ("8 MB", 32), "wrk", "cpu_s_per_gb", "edge") is None


def test_request_rates_are_invalid_when_the_client_or_others_were_the_limit() -> None:
    cell = ("2 MB", 32)
    assert http.limits([row("edge", 0, 1.0), row("nginx", 0, 1.0)], cell, "wrk") == ""
    assert "with nginx" in http.limits([row("edge", 0, 1.0), row("nginx", 0, 1.0, busy=0.99)], cell, "wrk")
    assert "others" in http.limits([row("edge", 0, 1.0, others=0.4), row("nginx", 0, 1.0)], cell, "wrk")


RANGE = Wanted("/media/1/R40.mp4", 206, "file", 4096, 1000, True)
HEAD = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1000\r\nContent-Range: bytes 4096-5095/9999\r\n"


def test_the_client_finds_where_a_body_begins() -> None:
    assert body_start(HEAD + b"\r\nabc", RANGE) == len(HEAD) + 2
    assert body_start(HEAD, RANGE) == 0
    assert b"Range: bytes=4096-5095\r\n" in RANGE.request(80)


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace(b" 206 ", b" 200 "),
        HEAD.replace(b"Length: 1000", b"Length: 999"),
        HEAD.replace(b"4096-5095", b"4096-5096"),
        HEAD.replace(b"Content-Range", b"X-Range"),
    ],
)
def test_the_client_refuses_another_answer(head: bytes) -> None:
    with pytest.raises(Wrong):
        body_start(head + b"\r\n", RANGE)


def test_what_wrk_counted_must_fit_the_bodies() -> None:
    found = {"answers": 10, "octets": 10 * 1300, "faults": [0, 0, 0, 0, 0]}
    assert wrk.faults_of(found, [RANGE], 2, 400) == []
    assert wrk.faults_of(found | {"octets": 9999}, [RANGE], 2, 400)
    assert wrk.faults_of(found | {"octets": 10**6}, [RANGE], 2, 400)
    assert wrk.faults_of(found | {"answers": 0}, [RANGE], 2, 400)
    assert wrk.faults_of(found | {"faults": [0, 0, 0, 3, 0]}, [RANGE], 2, 400) == ["wrk: 3 status errors"]


def test_wrk_asks_the_same_as_the_other_client() -> None:
    text = wrk.script([RANGE], 80)
    assert RANGE.request(80).decode().replace("\r\n", "\\r\\n") in text


def stream(**more: object) -> dict[str, object]:
    good = {"lost": 0, "reordered": 0, "odd": 0, "differing": 0, "first_sequence_not_as_announced": 0, "compared": 5}
    return good | {"refused": 0, "silent": 0, "closed": 0, "spread_p99_ms": 22.0, "bits_a_second_a_session": 4e6} | more


def test_streams_are_held_when_nothing_is_lost_or_late_or_slow() -> None:
    assert rtsp.held(stream(), 4e6)
    for bad in (
        {"lost": 1},
        {"differing": 1},
        {"compared": 0},
        {"refused": 1},
        {"silent": 1},
        {"closed": 1},
        {"spread_p99_ms": 40.0},
    ):
        assert not rtsp.held(stream(**bad), 4e6), bad
    assert not rtsp.held(stream(bits_a_second_a_session=3.8e6), 4e6)
    assert not rtsp.held(stream(spread_p99_ms=None), 4e6)


def test_stream_capacity_counts_loads_below_the_target_that_held_after_it_failed() -> None:
    assert rtsp.most_held([(1000, True), (1200, False)]) == 1000
    assert rtsp.most_held([(1000, False), (800, False), (600, True)]) == 600
    assert rtsp.most_held([(1000, False), (50, False)]) == 0


def test_the_report_shows_every_verdict_and_fault() -> None:
    verdict = {"name": "cost", "limit": 1.05, "at_least": False, "unit": "", "value": 1.0, "state": "missed"}
    found = {
        "about": {},
        "results": {},
        "faults": ["edge: other bytes"],
        "verdicts": [verdict | {"spread": None, "note": ""}],
    }
    text = report(found)
    assert "| cost | 1 | ≤ 1.05 | **missed** |" in text and "other bytes" in text


def test_plots_are_drawn_of_what_was_measured_and_of_nothing_else() -> None:
    rows = [row(server, repeat, 1.0 + repeat) for server in ("edge", "nginx") for repeat in (0, 1)]
    streams = [{"server": "a<b", "transport": "udp", "cpu_s_a_stream_minute": 0.1}, {"server": "a<b", "failed": "x"}]
    drawn = plots({"http": rows, "rtsp": streams})
    assert sorted(drawn) == ["http-wrk.svg", "rtsp.svg"]
    for text in drawn.values():
        ElementTree.fromstring(text)
    assert plots({}) == {}


def test_the_report_takes_the_median_of_each_group_and_survives_rows_that_failed() -> None:
    rows = [{"server": "edge", "transport": "udp", "sessions": 50, "lost": count} for count in (0, 3, 1)]
    failed = {"server": "edge", "transport": "udp", "sessions": 1000, "failed": "took too long"}
    text = report({"about": {}, "results": {"rtsp_capacity": [*rows, failed]}, "faults": [], "verdicts": []})
    assert "| edge | udp | 50 | – | – | – | – | 1 |" in text and "| edge | udp | 1000 |" in text


def copies(octets: int) -> list[dict[str, object]]:
    return [{"way": way, "repeat": repeat, "octets": octets} for way in ("ts", "pyav-ts") for repeat in (0, 1)]


def test_packaging_pairs_repeats() -> None:
    rows = [*copies(10), {"way": "ts", "repeat": 7, "octets": 99}]
    assert pack.both(rows, ("ts", "pyav-ts"), "octets") == ([10, 10], [10, 10])


def test_what_the_streaming_client_could_not_take_is_invalid_and_what_the_server_refused_is_not() -> None:
    fine = {"server": "edge", "transport": "udp", "lost": 0, "client_busy": 0.5, "dropped_by_client": 0, "refused": 9}
    full, spilled = fine | {"client_busy": 0.97}, fine | {"dropped_by_client": 3}
    assert rtsp.invalid([fine, fine, full], "udp") == "" == rtsp.invalid([], "udp")
    assert "97%" in rtsp.invalid([fine, full, full], "udp") and "3 packets" in rtsp.invalid([spilled], "udp")
    assert not rtsp.held(stream(refused=1), 4e6)


def test_a_stream_minute_is_bytes_not_time(tmp_path: Path) -> None:
    file = tmp_path / "lesson.ts"
    file.write_bytes(bytes(1316 * rtsp.LESSON_S))
    assert rtsp.stream_rate(file) == pytest.approx(1328 * 8)


def test_runs_of_viewers_count_only_with_all_packets_and_pictures() -> None:
    good = {"client_cpu": 0.2, "lost": 0, "frames_per_second": 25.1, "asked": 100, "again": 99, "reports": 5}
    assert whep.why_invalid("edge", good) == ""
    for bad in ({"client_cpu": 0.95}, {"lost": 1}, {"frames_per_second": 23.0}, {"again": 80}, {"asked": 0}):
        assert whep.why_invalid("edge", good | bad), bad
    assert whep.why_invalid("aiortc", good | {"frames_per_second": 14.0, "asked": 0}) == ""


@pytest.mark.parametrize(
    ("runs", "planned", "held", "taken"),
    [
        ([True, True, False], 3, True, 2),
        ([False, False, True], 3, False, 2),
        ([True, False, True], 3, True, 3),
        ([False, True], 2, False, 1),
        ([True, False], 2, False, 2),
        ([True], 1, True, 1),
        ([], 3, False, 0),
    ],
)
def test_a_load_is_tried_until_most_of_its_runs_must_agree(
    runs: list[bool], planned: int, held: bool, taken: int
) -> None:
    left = iter(runs)
    assert majority(left, planned) is held
    assert len(list(left)) == len(runs) - taken
    assert held is (2 * sum(runs[:taken]) > planned)
