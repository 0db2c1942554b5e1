"""NTP packets by the layout of RFC 5905 §7.3, and what the edge's time server says to whom."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_server.egress.ntp import NtpService, answer, is_proved
from edge_server.store.judged import JudgedTime
from runtime.clock import SystemClock
from wire.sntp import Packet, SntpError, parse, read_moment, write_moment

NOW = datetime(2026, 11, 24, 4, 0, 0, 500_000, tzinfo=UTC)
ASKED = bytes.fromhex("23" + "00" * 39 + "EEB5C9C080000000")
"""By hand: version 4, client, and nothing but a transmit timestamp; 0xEEB5C9C0 is 4004891072 s after 1900."""


def test_a_request_is_read_and_answered_field_by_field() -> None:
    asked = parse(ASKED)
    assert (asked.leap, asked.version, asked.mode, asked.transmit) == (0, 4, 3, 0xEEB5C9C080000000)
    told = answer(ASKED, NOW, NOW + timedelta(milliseconds=250), proved=True)
    assert told is not None and len(told) == 48
    assert told[0] == 0b00_100_100 and told[1] == 10 and told[12:16] == b"LOCL"
    assert told[24:32] == ASKED[40:48], "origin is what the client had written"
    seconds = int((NOW - datetime(1900, 1, 1, tzinfo=UTC)).total_seconds())
    assert told[32:40] == seconds.to_bytes(4, "big") + b"\x80\0\0\0"
    assert told[40:48] == seconds.to_bytes(4, "big") + b"\xc0\0\0\0"
    assert parse(told).write() == told


def test_a_clock_that_nothing_has_shown_to_be_right_is_not_to_be_followed() -> None:
    told = answer(ASKED, NOW, NOW, proved=False)
    assert told is not None and told[0] >> 6 == 3 and told[1] == 0 and told[12:16] == b"INIT"
    assert told[16:24] == bytes(8)


@pytest.mark.parametrize("data", [b"", ASKED[:47], b"\x3b" + ASKED[1:], b"\x24" + ASKED[1:], b"\x26" + ASKED[1:]])
def test_what_is_no_request_gets_no_answer(data: bytes) -> None:
    assert answer(data, NOW, NOW, proved=True) is None


def test_moments_survive_the_overflow_of_2036() -> None:
    for moment in (NOW, datetime(2036, 2, 7, 6, 28, 16, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)):
        assert abs(read_moment(write_moment(moment), moment + timedelta(days=9000)) - moment) < timedelta(
            microseconds=2
        )
    assert read_moment(write_moment(NOW), datetime(1970, 1, 1, tzinfo=UTC)) - NOW < timedelta(microseconds=2)
    with pytest.raises(SntpError):
        parse(b"\0" * 48)
    assert Packet(3, 4, 3, 0, 6, -6).write()[:4] == bytes((0xE3, 0, 6, 0xFA))


def test_what_proves_a_clock() -> None:
    day = timedelta(days=1)
    assert is_proved(NOW, NOW, NOW - day)
    assert not is_proved(NOW, NOW + day, NOW - day), "it was later already"
    assert not is_proved(NOW, NOW, datetime(1970, 1, 1, tzinfo=UTC)), "there was no contact yet"
    assert not is_proved(NOW, NOW, NOW - 46 * day) and not is_proved(NOW, NOW, NOW + day)


def test_the_service_tells_the_local_segment_only(tmp_path: Path) -> None:
    judged = JudgedTime(tmp_path, SystemClock())
    judged.met(SystemClock().utc() - timedelta(hours=1))

    def service(**how: bool) -> NtpService:
        return NtpService("127.0.0.1", 0, SystemClock(), judged.moments, is_local=lambda a: a == "10.0.0.9", **how)

    serving = service()
    told = serving.reply(ASKED, "10.0.0.9")
    assert told is not None and parse(told).stratum == 10
    assert abs(read_moment(parse(told).transmit, NOW) - SystemClock().utc()) < timedelta(seconds=5)
    assert serving.reply(ASKED, "203.0.113.9") is None and serving.reply(b"?", "10.0.0.9") is None
    assert serving.counters == {"answered": 1, "not answered": 2}
    assert service(mute=True).reply(ASKED, "10.0.0.9") is None
