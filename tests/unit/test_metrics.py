"""The numbers of an edge in the text format of Prometheus, and who may have them."""

from __future__ import annotations

import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_server.catalog import EMPTY, CatalogView
from edge_server.metrics.disk import COUNT_EVERY_S, Disk, DiskCount
from edge_server.metrics.doors import may_read
from edge_server.metrics.families import write
from edge_server.metrics.sources import Noted, Sources, Way
from edge_server.pacing.pacer import Pacer
from edge_server.plane.counts import Count, Counts
from edge_server.uplink.standing import ChannelStanding, Standing
from runtime.clock import FakeClock
from runtime.networks import parse_networks
from sync import Corrupt

WHEN = datetime(2026, 11, 24, tzinfo=UTC)


def sources() -> Sources:
    rows = [Counts(), Counts(), Counts()]
    for number, row in enumerate(rows):
        row.row[Count.BODY_BYTES] = 10**number
        row.row[Count.OPEN] = number
        row.status(206)
        row.status(418)
    clock = FakeClock(WHEN)
    pacer = Pacer(clock)
    for late_s in (0.0005, 0.003, 0.003, 9.0):
        pacer.lateness.note(clock.monotonic(), late_s)
    refused = Counter({"453": 4})
    return Sources(
        rows=rows,
        ways={"rtsp": Way(lambda: 7, 700, lambda: refused), "whep": Way(lambda: 0, 100, dict)},
        logins={"authenticator": lambda: {"throttled": 3}, "mac": dict},
        boxes=lambda: 12,
        pacer=pacer,
        view=lambda: CatalogView(EMPTY),
        to_package=lambda: 3,
        utc_s=lambda: WHEN.timestamp(),
        monotonic_s=clock.monotonic,
    )


def noted(standing: Standing | None = None) -> Noted:
    return Noted(standing or Standing(), Disk({"objects": 1000, "derived": 200}, 5000))


def told(given: Sources, standing: Standing | None = None) -> dict[tuple[str, ...], float]:
    """Read the text with the reader of the format's own library: (name, values of labels…) -> value."""
    text = write(given, noted(standing)).decode()
    families = text_string_to_metric_families(text)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def test_processes_are_added_up_and_rare_statuses_together() -> None:
    found = told(sources())
    assert found["edge_http_media_bytes_total",] == 111
    assert found["edge_http_connections",] == 3
    assert found["edge_http_responses_total", "206"] == 3
    assert found["edge_http_responses_total", "other"] == 3
    assert found["edge_http_responses_total", "200"] == 0


def test_viewers_refusals_store_and_packaging() -> None:
    found = told(sources())
    assert (found["edge_viewers", "rtsp"], found["edge_viewers_max", "rtsp"]) == (7, 700)
    assert found["edge_refused_total", "453", "rtsp"] == 4
    assert found["edge_store_bytes", "objects"] == 1000 and found["edge_store_free_bytes",] == 5000
    assert found["edge_packaging_waiting",] == 3
    assert found["process_resident_memory_bytes",] > 1e6


def test_lateness_is_a_histogram_whose_buckets_hold_all_below() -> None:
    found = told(sources())
    bucket = "edge_pacing_lateness_seconds_bucket"
    assert [found[bucket, bound] for bound in ("0.001", "0.0025", "0.005", "0.5", "+Inf")] == [1, 1, 3, 3, 4]
    assert found["edge_pacing_lateness_seconds_count",] == 4
    assert found["edge_pacing_lateness_seconds_sum",] == pytest.approx(9.0065)


def test_what_is_not_known_yet_is_left_out() -> None:
    found = told(sources())
    assert found["edge_snapshot_seq",] == 0 and found["edge_snapshot_readable",] == 1
    for name in ("edge_snapshot_age_seconds", "edge_uplink_speed_bytes_per_second"):
        assert (name,) not in found
    standing = Standing(
        channels={"c": ChannelStanding(held_seq=1, coming_seq=2, missing_bytes=50, total_bytes=100)},
        measured_bps=800.0,
        succeeded_at=WHEN,
        failure="Unreachable: no route",
    )
    found = told(sources(), standing)
    assert found["edge_uplink_failing",] == 1 and found["edge_uplink_missing_bytes",] == 50
    assert found["edge_uplink_speed_bytes_per_second",] == 100
    assert found["edge_uplink_success_timestamp_seconds",] == WHEN.timestamp()


def test_a_snapshot_that_cannot_be_read_silences_nothing_else() -> None:
    def damaged() -> CatalogView:
        raise Corrupt("current is damaged")

    given = sources()
    found = told(Sources(**{**{name: getattr(given, name) for name in Sources.__slots__}, "view": damaged}))
    assert found["edge_boxes",] == 12
    assert found["edge_snapshot_readable",] == 0 and ("edge_snapshot_seq",) not in found
    assert found["edge_viewers", "rtsp"] == 7
    assert found["edge_logins_refused_total", "authenticator", "throttled"] == 3


@pytest.mark.stranger("promtool")
def test_the_writers_of_prometheus_have_nothing_to_say_against_the_text() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=write(sources(), noted()), capture_output=True, timeout=10, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("remote", "passed_on", "text", "may"),
    [
        ("127.0.0.1", False, "127.0.0.0/8, ::1", True),
        ("127.9.9.9", False, "127.0.0.0/8, ::1", True),
        ("::1", False, "127.0.0.0/8, ::1", True),
        ("::ffff:127.0.0.1", False, "127.0.0.0/8", True),
        ("192.168.1.7", False, "127.0.0.0/8, ::1", False),
        ("127.0.0.1", True, "127.0.0.0/8, ::1", False),
        ("127.0.0.1", False, "", False),
        ("10.1.2.3", False, "10.1.0.0/16", True),
        ("10.2.2.3", False, "10.1.0.0/16", False),
        ("fe80::1%eth0", False, "fe80::/10", True),
        (None, False, "0.0.0.0/0, ::/0", False),
        ("", False, "0.0.0.0/0, ::/0", False),
    ],
)
def test_who_may_read(remote: str | None, passed_on: bool, text: str, may: bool) -> None:
    assert may_read(remote, passed_on, parse_networks(text)) is may


@pytest.mark.parametrize("text", ["here", "10.0.0.1/8", "127.0.0.1;::1"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_networks(text)


def test_the_disk_is_counted_now_and_then(tmp_path: Path) -> None:
    (tmp_path / "objects" / "ab").mkdir(parents=True)
    (tmp_path / "objects" / "ab" / "one").write_bytes(bytes(10_000))
    count = DiskCount(tmp_path)
    first = count.read(0.0)
    assert first.used["objects"] >= 10_000 and first.used["derived"] == 0 and first.free > 0
    (tmp_path / "objects" / "two").write_bytes(bytes(1_000_000))
    assert count.read(COUNT_EVERY_S - 1).used == first.used
    assert count.read(COUNT_EVERY_S).used["objects"] >= 1_010_000
