"""Signed URLs of HTTP media, and the table of who watches."""

from __future__ import annotations

import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_server.sessions.tickets import (
    EXPIRED,
    FORGED,
    KNOWN_MAX_COUNT,
    NEEDED,
    PREFIX,
    Allowed,
    Tickets,
)
from edge_server.sessions.watching import PLACES_COUNT, ROWS_MAX_COUNT, SILENT_S, TABLE_BYTES, Watching

SECRET = b"sixteen bytes or"
HLS = "/hls/10000001/ts/master.m3u8"


def test_a_ticket_opens_every_path_of_its_item_until_it_expires() -> None:
    tickets = Tickets(SECRET, required=True, life_s=100)
    prefix = tickets.prefix("10000001", 7, 50.5)
    for path in (HLS, "/media/10000001/R40.mp4", "/dash/10000001/manifest.mpd", "/whep/10000001", HLS):
        assert tickets.door(prefix + path, 149) == Allowed(path, 7)
    assert tickets.door(prefix + HLS, 150) == EXPIRED


def test_without_a_ticket_media_are_open_or_refused_and_the_rest_is_open() -> None:
    assert Tickets(SECRET).door(HLS, 0) == Allowed(HLS)
    closed = Tickets(SECRET, required=True)
    assert closed.door(HLS, 0) == closed.door("/whep/10000001", 0) == NEEDED
    assert closed.door("/posters/10000001.jpg", 0) == Allowed("/posters/10000001.jpg")
    for path in ("/live/900001.ts", "/live/900001/index.m3u8", "/live/900001/10000001/R12/v/seg-00001.ts", "/live/"):
        assert closed.door(path, 0) == NEEDED
    of_account = "/live/edu001@itv/123456/900001.ts"
    assert closed.door(of_account, 0) == Allowed(of_account), "a portal looks at the password"


@pytest.mark.parametrize("path", ["/hls/10000002/ts/master.m3u8", "/media/1000000.mp4", "/", "/api/v1/catalogue", ""])
def test_a_ticket_is_for_its_own_item_and_for_media_only(path: str) -> None:
    tickets = Tickets(SECRET)
    assert tickets.door(tickets.prefix("10000001", 7, 0) + path, 0) == FORGED


def test_another_edge_and_another_boot_do_not_know_the_ticket() -> None:
    prefix = Tickets(SECRET, boot=b"1").prefix("10000001", 7, 0)
    assert Tickets(SECRET, boot=b"1").door(prefix + HLS, 0) == Allowed(HLS, 7)
    for other in (Tickets(SECRET, boot=b"2"), Tickets(SECRET[::-1], boot=b"1")):
        assert other.door(prefix + HLS, 0) == FORGED
    with pytest.raises(ValueError, match="at least 16"):
        Tickets(b"short")


@given(st.integers(0, 43), st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_characters="/"))
def test_no_letter_of_a_ticket_can_be_changed(at: int, letter: str) -> None:
    tickets = Tickets(SECRET)
    good = tickets.prefix("10000001", 7, 0)[len(PREFIX) :]
    bad = good[:at] + letter + good[at + 1 :]
    found = tickets.door(f"{PREFIX}{bad}{HLS}", 0)
    assert found == (Allowed(HLS, 7) if bad == good else FORGED)


@given(st.text(max_size=60))
def test_any_text_is_a_ticket_or_refused(text: str) -> None:
    assert Tickets(SECRET).door(f"{PREFIX}{text}{HLS}", 0) == FORGED


def test_remembered_tickets_are_bounded_and_still_expire() -> None:
    tickets = Tickets(SECRET, life_s=10)
    for number in range(KNOWN_MAX_COUNT + 5):
        assert isinstance(tickets.door(tickets.prefix("10000001", number, 0) + HLS, 0), Allowed)
    assert len(tickets._known) == KNOWN_MAX_COUNT
    assert tickets.door(tickets.prefix("10000001", KNOWN_MAX_COUNT, 0) + HLS, 10) == EXPIRED


def test_two_processes_count_in_one_table() -> None:
    memory = mmap.mmap(-1, TABLE_BYTES)
    one, two = Watching(memoryview(memory)), Watching(memoryview(memory))
    one.seen(5, 100, 1.0)
    two.seen(5, 11, 2.0)
    two.seen(6, 1, 2.0)
    two.seen(0, 1, 2.0)
    assert one.count(2.0) == two.count(2.0) == 2
    assert one.sent_bytes(5) == 111
    assert one.sent_bytes(99) == 0
    assert one.count(1.5 + SILENT_S) == 2
    assert one.count(2.0 + SILENT_S) == 0


def test_living_viewings_are_never_pushed_out_and_silent_ones_are() -> None:
    table = Watching(bytearray(TABLE_BYTES))
    same = [5 + ROWS_MAX_COUNT * n for n in range(PLACES_COUNT + 1)]
    for viewing in same:
        table.seen(viewing, 1, 1.0)
    assert [table.sent_bytes(viewing) for viewing in same] == [1] * PLACES_COUNT + [0]
    table.seen(same[-1], 1, 1.0 + SILENT_S)
    assert table.sent_bytes(same[-1]) == 1
    with pytest.raises(ValueError, match=str(TABLE_BYTES)):
        Watching(bytearray(5))
