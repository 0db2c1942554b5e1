"""The table of boxes heard from."""

from __future__ import annotations

from edge_server.sessions.presence import BOXES_PER_REMOTE_MAX_COUNT, SILENT_S, Presence


def test_silent_boxes_are_forgotten() -> None:
    presence = Presence()
    presence.hear("a", "r", 0.0)
    presence.hear("b", "r", 10.0)
    presence.hear("a", "r", 20.0, "7")
    assert presence.count(10.0 + SILENT_S - 1) == 2
    assert presence.count(10.0 + SILENT_S) == 1
    assert presence.heard("b") is None and presence.heard("a") is not None
    assert presence.count(20.0 + SILENT_S) == 0 and presence.heard("a") is None


def test_who_makes_up_names_drives_out_no_others() -> None:
    presence = Presence()
    presence.hear("real", "r", 0.0)
    for number in range(2 * BOXES_PER_REMOTE_MAX_COUNT):
        presence.hear(f"made-up-{number}", "bad", 1.0)
    assert presence.count(2.0) == BOXES_PER_REMOTE_MAX_COUNT + 1 and presence.heard("real") is not None


def test_the_table_is_bounded() -> None:
    presence = Presence(boxes_max_count=3)
    for number in range(5):
        presence.hear(f"b{number}", f"r{number}", float(number))
    assert presence.count(5.0) == 3 and presence.heard("b1") is None and presence.heard("b4") is not None


def test_a_box_that_moves_is_one_box() -> None:
    presence = Presence()
    presence.hear("a", "r1", 0.0)
    presence.hear("a", "r2", 1.0)
    heard = presence.heard("a")
    assert presence.count(2.0) == 1 and heard is not None and heard.remote == "r2"
