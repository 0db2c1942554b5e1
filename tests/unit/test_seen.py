"""Reports of pages: few, bounded, and only of what is known."""

from __future__ import annotations

from edge_server.village.seen import ADDRESS_EVERY_S, ADDRESSES_MAX_COUNT, ALL_MAX_COUNT, ALL_WINDOW_S, Patience


def test_one_address_is_heard_once_a_minute() -> None:
    patience = Patience()
    assert patience.takes("10.0.0.1", 5.0) and not patience.takes("10.0.0.1", 5.0 + ADDRESS_EVERY_S - 1)
    assert patience.takes("10.0.0.2", 6.0)
    assert patience.takes("10.0.0.1", 5.0 + ADDRESS_EVERY_S)


def test_all_together_are_bounded_and_so_is_the_memory() -> None:
    patience = Patience()
    taken = [patience.takes(f"10.0.{n // 250}.{n % 250}", float(n) / 100) for n in range(3000)]
    assert sum(taken) == ALL_MAX_COUNT and all(taken[:ALL_MAX_COUNT])
    assert patience.takes("10.9.9.9", ALL_WINDOW_S + 1)
    for n in range(3 * ADDRESSES_MAX_COUNT):
        patience.takes(f"a{n}", n * ALL_WINDOW_S)
    assert len(patience._heard) <= ADDRESSES_MAX_COUNT and len(patience._all) <= ALL_MAX_COUNT
