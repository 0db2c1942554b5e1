from __future__ import annotations

import random
from datetime import timedelta

import msgspec
import pytest

from domain.records import SessionRecord, encode_body
from edge_server.sessions import study
from edge_server.sessions.study import StationsFull, Studying, StudySessions, after_power_cut, effective_s
from tests.records_lab import T0

BPS = 1_000_000


def sessions(seed: int = 1) -> StudySessions:
    return StudySessions(random.Random(seed).randrange)


def begin(table: StudySessions, station: str = "v-001", at_s: float = 0.0) -> Studying:
    made, _ = table.begin(
        station, item_id="1001", media_bps=BPS, now=T0 + timedelta(seconds=at_s), now_s=at_s, plan="p1", heads=21
    )
    return made


def watch(
    table: StudySessions, until_s: float, *, bps: int = BPS, answers: bool = True, from_s: float = 0.0
) -> Studying:
    """Look every 20 s, as the page does, and type what is asked for."""
    found: Studying | None = None
    at_s = from_s
    while at_s <= until_s:
        now = T0 + timedelta(seconds=at_s)
        found = table.look("v-001", delivered_bytes=int(at_s * bps / 8), now=now, now_s=at_s)
        assert found is not None
        if answers and found.challenge is not None:
            assert table.answer("v-001", f" {found.challenge.code}\n", at_s + 5)
        at_s += 20
    assert found is not None
    return found


def end(table: StudySessions, at_s: float) -> SessionRecord:
    record = table.end("v-001", now=T0 + timedelta(seconds=at_s), now_s=at_s)
    assert record is not None
    encode_body(record)
    return record


def test_a_lesson_that_is_watched_counts_whole() -> None:
    table = sessions()
    begin(table)
    watch(table, 2400)
    record = end(table, 2400)
    assert (record.head_count, record.item_id, record.plan, record.cut) == (21, "1001", "p1", False)
    assert record.challenged == record.passed >= 2
    assert record.effective_s == record.played_s == 2400.0
    assert (record.began_at, record.ended_at) == ("2026-11-01T08:00:00Z", "2026-11-01T08:40:00Z")
    assert table.end("v-001", now=T0, now_s=2500) is None


def test_a_screen_that_is_on_with_nobody_before_it_counts_for_nothing() -> None:
    table = sessions()
    begin(table)
    watch(table, 2400, answers=False)
    record = end(table, 2400)
    assert record.challenged >= 2
    assert (record.passed, record.effective_s, record.played_s) == (0, 0.0, 2400.0)


def test_without_media_nothing_counts_though_somebody_answers() -> None:
    table = sessions()
    begin(table)
    watch(table, 2400, bps=0)
    record = end(table, 2400)
    assert record.passed >= 2
    assert (record.delivered_bytes, record.effective_s) == (0, 0.0)


def test_what_left_and_not_what_the_clock_says_counts() -> None:
    table = sessions()
    begin(table)
    watch(table, 2400, bps=BPS // 4)
    assert end(table, 2400).effective_s == 600.0
    begin(table)
    watch(table, 600, bps=10 * BPS)  # a player that fetches ahead
    assert end(table, 600).effective_s == 600.0


@pytest.mark.parametrize(
    ("wall_s", "asked", "passed", "counts"),
    [(299, 1, 1, False), (300, 1, 1, True), (900, 2, 1, True), (900, 3, 1, False), (900, 0, 0, False)],
)
def test_the_rule(wall_s: float, asked: int, passed: int, counts: bool) -> None:
    assert (effective_s(wall_s, wall_s, asked, passed) > 0) is counts


def test_three_tries_and_four_minutes_for_a_number() -> None:
    table = sessions()
    begin(table)
    assert table.answer("v-001", "123", 10) is None, "nothing is asked yet"
    found = table.look("v-001", delivered_bytes=0, now=T0, now_s=200)
    assert found is not None and found.challenge is not None
    code = found.challenge.code
    assert code.isdecimal() and len(code) == 3
    wrong = "100" if code != "100" else "101"
    assert [table.answer("v-001", wrong, 201) for _ in range(4)] == [False, False, False, None]
    assert table.answer("v-001", code, 202) is None
    found = table.look("v-001", delivered_bytes=0, now=T0, now_s=found.next_challenge_s)
    assert found is not None and found.challenge is not None
    late_s = found.challenge.until_s
    assert table.answer("v-001", found.challenge.code, late_s) is None
    assert end(table, late_s).passed == 0


def test_a_number_is_asked_before_the_end_when_none_was_answered() -> None:
    table = sessions()
    begin(table)
    found = table.ask_now("v-001", 30)
    assert found is not None and found.challenge is not None
    assert table.ask_now("v-001", 31) == found
    assert table.answer("v-001", found.challenge.code, 40)
    found = table.ask_now("v-001", 50)
    assert found is not None and found.challenge is None


def test_beginning_again_ends_the_one_before() -> None:
    table = sessions()
    first = begin(table)
    watch(table, 400)
    second, before = table.begin("v-001", item_id="1002", media_bps=BPS, now=T0, now_s=420)
    assert before is not None
    assert before.session == first.session != second.session
    assert first.viewing != second.viewing
    assert before.effective_s > 0


def test_who_forgets_to_end_is_counted_to_the_last_sign_of_life() -> None:
    table = sessions()
    begin(table)
    watch(table, 1200)
    assert table.forgotten(1200 + study.SILENT_MAX_S - 1) == []
    late_s = 1200 + study.SILENT_MAX_S + 5000
    assert table.forgotten(late_s) == ["v-001"]
    assert end(table, late_s).effective_s == 1200.0


def test_a_power_cut_keeps_what_was_watched() -> None:
    table = sessions()
    begin(table)
    kept = watch(table, 800)
    again = msgspec.json.decode(msgspec.json.encode(kept), type=Studying)
    record = after_power_cut(again)
    assert record.cut
    assert record.session == kept.session
    assert record.effective_s == 800.0


def test_there_are_no_more_sessions_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "STATIONS_MAX_COUNT", 2)
    table = sessions()
    begin(table, "v-001")
    begin(table, "v-002")
    with pytest.raises(StationsFull):
        begin(table, "v-003")
    assert begin(table, "v-002", 10.0).began_s == 10.0
