import pytest

from edge_server.sessions.viewing import Full, Viewings


def _admit(table: Viewings, name: str, now: float) -> None:
    table.admit(name, box="10.0.0.9", item_id="7", transport="MP2T/UDP", now_s=now)


def test_a_place_is_free_again_when_a_viewing_ends() -> None:
    table = Viewings(max_count=2)
    _admit(table, "a", 0.0)
    _admit(table, "b", 0.0)
    with pytest.raises(Full, match="2 viewings"):
        _admit(table, "c", 0.0)
    assert table.end("a") is not None
    _admit(table, "c", 1.0)
    assert [each.viewing_id for each in table] == ["b", "c"]
    assert len(table) == 2


def test_the_same_id_takes_its_own_place_again_when_full() -> None:
    table = Viewings(max_count=1)
    _admit(table, "a", 0.0)
    _admit(table, "a", 5.0)
    viewing = table.get("a")
    assert viewing is not None and viewing.started_s == 5.0


def test_silence_expires_and_a_sign_of_life_does_not() -> None:
    table = Viewings(timeout_s=180.0)
    _admit(table, "quiet", 0.0)
    _admit(table, "alive", 0.0)
    table.seen("alive", 100.0)
    assert table.deadline_s("alive") == 280.0
    assert table.expired(179.9) == ()
    assert [each.viewing_id for each in table.expired(180.0)] == ["quiet"]
    assert [each.viewing_id for each in table.expired(280.0)] == ["quiet", "alive"]


def test_time_never_runs_backwards_and_unknown_ids_are_ignored() -> None:
    table = Viewings(timeout_s=10.0)
    _admit(table, "a", 50.0)
    table.seen("a", 40.0)
    table.seen("nobody", 40.0)
    assert table.deadline_s("a") == 60.0
    assert table.deadline_s("nobody") is None
    assert table.end("nobody") is None
