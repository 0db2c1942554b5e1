"""The TR 101 290 checker, on streams that nobody here multiplexed, whole and damaged on purpose."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import pytest

from media.ts_check import PACKET_BYTES, TsReport, check

pytestmark = pytest.mark.stranger("ffmpeg")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two seconds of picture and tone, multiplexed by ffmpeg with a PCR every 20 ms."""
    path = tmp_path_factory.mktemp("ts") / "clean.ts"
    sources = ["-f", "lavfi", "-i", "testsrc=size=176x144:rate=25:duration=2", "-f", "lavfi", "-i", "sine=duration=2"]
    codecs = ["-c:v", "mpeg2video", "-g", "25", "-c:a", "mp2"]
    command = ["ffmpeg", "-v", "error", *sources, *codecs, "-muxrate", "1500000", "-pcr_period", "20", "-f", "mpegts"]
    subprocess.run([*command, str(path)], check=True, timeout=15, stdin=subprocess.DEVNULL)
    return path.read_bytes()


def pids(data: bytes) -> list[int]:
    return [(data[at + 1] & 0x1F) << 8 | data[at + 2] for at in range(0, len(data), PACKET_BYTES)]


def counters(report: TsReport) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in report.priority1 + report.priority2:
        found[each.indicator] = found.get(each.indicator, 0) + each.count
    return found


def test_a_stream_of_ffmpeg_has_no_error(clean: bytes, tmp_path: Path) -> None:
    report = check(clean)
    assert (report.priority1, report.priority2) == ((), ())
    assert report.packets == len(clean) // PACKET_BYTES
    (programme,) = report.programmes
    assert (programme.number, programme.pmt_pid, programme.pcr_pid) == (1, 0x1000, 0x100)
    assert dict(programme.streams) == {0x100: 0x02, 0x101: 0x03}
    (tmp_path / "a.ts").write_bytes(clean)
    assert check(tmp_path / "a.ts") == report


def test_one_flipped_sync_byte(clean: bytes) -> None:
    at = 300
    report = check(_flip(clean, at * PACKET_BYTES))
    (finding,) = [each for each in report.priority1 if each.indicator == "1.2"]
    assert (finding.first_packet, finding.count) == (at, 1)
    assert "1.1" not in report.indicators() and report.packets == len(clean) // PACKET_BYTES


def test_two_flipped_sync_bytes_lose_synchronisation(clean: bytes) -> None:
    at = 300
    report = check(_flip(_flip(clean, at * PACKET_BYTES), (at + 1) * PACKET_BYTES))
    (finding,) = [each for each in report.priority1 if each.indicator == "1.1"]
    assert (finding.first_packet, finding.detail) == (
        at,
        f"{2 * PACKET_BYTES} bytes skipped at byte {at * PACKET_BYTES}",
    )
    assert report.packets == len(clean) // PACKET_BYTES - 2


def test_junk_is_judged_alike_wherever_it_stands(clean: bytes) -> None:
    many = clean * 5  # longer than one window of the reader
    for at in (4094, 4095, 4096, 4097):
        one = check(_flip(many, at * PACKET_BYTES))
        two = check(_flip(_flip(many, at * PACKET_BYTES), (at + 1) * PACKET_BYTES))
        assert [each.first_packet for each in one.priority1 if each.indicator == "1.2"] == [at]
        assert "1.1" not in one.indicators()
        assert [each.first_packet for each in two.priority1 if each.indicator == "1.1"] == [at]


def test_junk_in_front_and_a_cut_end(clean: bytes) -> None:
    report = check(b"\x47junk" * 9 + clean[:-100])
    assert counters(report)["1.1"] == 1 and counters(report)["1.2"] == 1
    assert report.packets == len(clean) // PACKET_BYTES - 1


@pytest.mark.parametrize("pid", [0x100, 0x101])
def test_a_dropped_packet(clean: bytes, pid: int) -> None:
    at = [row for row, each in enumerate(pids(clean)) if each == pid][10]
    report = check(clean[: at * PACKET_BYTES] + clean[(at + 1) * PACKET_BYTES :])
    (finding,) = report.priority1
    assert (finding.indicator, finding.pid, finding.count) == ("1.4", pid, 1)
    assert finding.first_packet >= at


def test_a_gap_that_is_announced_is_none(clean: bytes) -> None:
    rows = [row for row, each in enumerate(pids(clean)) if each == 0x100]
    after = next(row for row in rows[10:] if clean[row * PACKET_BYTES + 3] & 0x20 and clean[row * PACKET_BYTES + 4])
    before = rows[rows.index(after) - 1]
    raw = bytearray(clean)
    raw[after * PACKET_BYTES + 5] |= 0x80
    del raw[before * PACKET_BYTES : (before + 1) * PACKET_BYTES]
    assert "1.4" not in check(bytes(raw)).indicators()


def test_every_single_drop_of_a_media_packet_is_found(clean: bytes) -> None:
    rows = [
        row for row, each in enumerate(pids(clean)) if each in (0x100, 0x101) and clean[row * PACKET_BYTES + 3] & 0x10
    ]
    for at in rows[1:-1:40]:
        report = check(clean[: at * PACKET_BYTES] + clean[(at + 1) * PACKET_BYTES :])
        if pids(clean)[at + 1 :].count(pids(clean)[at]):
            assert "1.4" in report.indicators(), at


def test_two_packets_that_changed_places(clean: bytes) -> None:
    rows = [row for row, each in enumerate(pids(clean)) if each == 0x100]
    first, second = next((a, b) for a, b in itertools.pairwise(rows) if b == a + 1)
    parts = [clean[n * PACKET_BYTES : (n + 1) * PACKET_BYTES] for n in range(len(clean) // PACKET_BYTES)]
    parts[first], parts[second] = parts[second], parts[first]
    assert counters(check(b"".join(parts)))["1.4"] >= 2


def test_a_packet_may_come_twice_but_not_three_times(clean: bytes) -> None:
    at = next(row for row, each in enumerate(pids(clean)) if each == 0x101)
    packet = clean[at * PACKET_BYTES : (at + 1) * PACKET_BYTES]
    head, tail = clean[: at * PACKET_BYTES], clean[(at + 1) * PACKET_BYTES :]
    assert check(head + packet * 2 + tail).priority1 == ()
    assert counters(check(head + packet * 3 + tail)) == {"1.4": 1}
    changed = _flip(packet, 150)
    assert counters(check(head + packet + changed + tail))["1.4"] == 1


@pytest.mark.parametrize("pid", [0, 0x1000, 0x11])
def test_a_corrupted_table(clean: bytes, pid: int) -> None:
    at = next(row for row, each in enumerate(pids(clean)) if each == pid)
    report = check(_flip(clean, at * PACKET_BYTES + 5 + 9))
    (finding,) = [each for each in report.priority2 if each.indicator == "2.2"]
    assert (finding.pid, finding.first_packet, finding.count) == (pid, at, 1)


def test_no_pat_and_no_pmt(clean: bytes) -> None:
    assert {"1.3"} <= check(_without(clean, 0)).indicators()
    assert check(_without(clean, 0)).programmes == ()
    assert {each.indicator for each in check(_without(clean, 0x1000)).priority1} == {"1.5"}


def test_a_pat_only_at_the_start(clean: bytes) -> None:
    first = pids(clean).index(0)
    parts = [clean[n * PACKET_BYTES : (n + 1) * PACKET_BYTES] for n in range(len(clean) // PACKET_BYTES)]
    kept = b"".join(part for row, part in enumerate(parts) if row == first or pids(part) != [0])
    (finding,) = check(kept).priority1
    assert (finding.indicator, finding.first_packet) == ("1.3", first)


def test_a_stream_that_the_pmt_promises_and_nobody_sends(clean: bytes) -> None:
    (finding,) = check(_without(clean, 0x101)).priority1
    assert (finding.indicator, finding.pid) == ("1.6", 0x101)


def test_the_error_indicator(clean: bytes) -> None:
    at = [row for row, each in enumerate(pids(clean)) if each == 0x100][5]
    raw = bytearray(clean)
    raw[at * PACKET_BYTES + 1] |= 0x80
    assert counters(check(bytes(raw)))["2.1"] == 1


def test_a_wrong_adaptation_length(clean: bytes) -> None:
    at = next(n for n in range(0, len(clean), PACKET_BYTES) if clean[n + 3] & 0x30 == 0x30)
    raw = bytearray(clean)
    raw[at + 4] = 200
    assert "1.0" in check(bytes(raw)).indicators()


def test_a_pcr_that_jumps_and_one_that_is_late(clean: bytes) -> None:
    has_pcr = [
        n for n in range(0, len(clean), PACKET_BYTES) if clean[n + 3] & 0x20 and clean[n + 4] and clean[n + 5] & 0x10
    ]
    raw = bytearray(clean)
    raw[has_pcr[20] + 7] ^= 0x80  # base bit 24: 186 s away
    report = check(bytes(raw))
    assert counters(report)["2.3b"] == 2
    raw = bytearray(clean)
    for at in has_pcr[20:23]:
        raw[at + 5] &= ~0x10
    assert {each.indicator for each in check(bytes(raw)).priority2} == {"2.3a"}


def test_a_jump_that_is_announced_is_none(clean: bytes) -> None:
    parts = [clean[n * PACKET_BYTES : (n + 1) * PACKET_BYTES] for n in range(len(clean) // PACKET_BYTES)]
    again = [bytearray(part) for part in parts]
    for pid in set(pids(clean)):
        row = pids(clean).index(pid)
        if again[row][3] & 0x20 and again[row][4]:
            again[row][5] |= 0x80
    report = check(clean + b"".join(map(bytes, again)))
    assert "2.3b" not in report.indicators()
    assert "2.3b" in check(clean + clean).indicators()


def test_missing_pts(clean: bytes) -> None:
    raw = bytearray(clean)
    for at in range(0, len(raw), PACKET_BYTES):
        start = at + (5 + raw[at + 4] if raw[at + 3] & 0x20 else 4)
        if pids(raw[at : at + PACKET_BYTES]) == [0x101] and raw[at + 1] & 0x40:
            raw[start + 7] &= ~0xC0 if 40 < at // PACKET_BYTES < len(raw) // PACKET_BYTES * 0.8 else 0xFF
    assert {each.indicator for each in check(bytes(raw)).priority2} == {"2.5"}


@pytest.mark.parametrize("data", [b"", b"G", b"G" * 188, b"\0" * 10_000, b"G" * 10_000, bytes(range(256)) * 50])
def test_what_is_no_stream_is_called_so(data: bytes) -> None:
    assert check(data).priority1


@pytest.mark.parametrize("name", ["ts_h264_pts_3883s_12s.ts", "ts_dvb_576i50_mpeg2.ts", "ts_h264_1080p_10s.ts"])
def test_real_streams_without_priority_1_errors(shared_media: Path, name: str) -> None:
    assert check(shared_media / name).priority1 == ()


@pytest.mark.parametrize(
    ("name", "indicator"),
    [
        ("ts_junk_prefix.ts", "1.1"),
        ("ts_encrypted_aes.ts", "1.1"),
        ("ts_zero_length.ts", "1.6"),
        ("ts_bframes_6s.ts", "1.3"),
        ("ts_hevc_2160p_scte35.ts", "1.5"),
        ("aac_he_v2_pts_90019s.ts", "2.3b"),
    ],
)
def test_real_streams_with_real_errors(shared_media: Path, name: str, indicator: str) -> None:
    assert indicator in check(shared_media / name).indicators()


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x5A]) + data[at + 1 :]


def _without(data: bytes, pid: int) -> bytes:
    return b"".join(data[n * PACKET_BYTES : (n + 1) * PACKET_BYTES] for n, each in enumerate(pids(data)) if each != pid)
