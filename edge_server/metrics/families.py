"""The numbers of an edge as families of Prometheus metrics. Names and units: docs/monitoring.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from edge_server.metrics.sources import Noted, Sources
from edge_server.pacing.lateness import BOUNDS_S
from edge_server.plane.counts import Count, total

_HTTP = (
    (Count.REQUESTS, "edge_http_media_requests", "Requests for media that were answered by sendfile."),
    (Count.BODY_BYTES, "edge_http_media_bytes", "Bytes of media handed to the kernel, heads not included."),
    (Count.HANDED_OVER, "edge_http_page_requests", "Requests that went through Python: pages, and what is rare."),
    (Count.ACCEPTED, "edge_http_accepted", "Connections accepted."),
    (Count.TIMED_OUT, "edge_http_timed_out", "Connections ended for silence."),
    (Count.GONE, "edge_http_gone", "Connections whose client left in the middle of an answer."),
    (Count.COLD_READS, "edge_http_cold_reads", "Reads that had to wait for the disk."),
)


class _Told(Collector):
    """Families that were made already."""

    def __init__(self, made: Iterable[Metric]) -> None:
        self._made = made

    def collect(self) -> Iterable[Metric]:
        return self._made


def write(sources: Sources, noted: Noted) -> bytes:
    """Write all of them, and what the system counts for the main process, in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Told(families(sources, noted)))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def families(sources: Sources, noted: Noted) -> Iterator[Metric]:
    """Yield everything there is to tell at this moment."""
    yield from _http(sources)
    yield from _watching(sources)
    yield from _pacing(sources)
    yield from _groups(sources)
    yield from _live(sources)
    yield from _disk(sources, noted)
    yield from _uplink(noted)
    yield from _snapshot(sources)


def _http(sources: Sources) -> Iterator[Metric]:
    for count, name, words in _HTTP:
        yield CounterMetricFamily(name, words, value=total(sources.rows, count))
    yield _gauge("edge_http_connections", "Connections that are open now.", total(sources.rows, Count.OPEN))
    answers = CounterMetricFamily("edge_http_responses", "Answers by status, `other` for rare ones.", labels=["code"])
    by_status: dict[int, int] = {}
    for row in sources.rows:
        for status, times in row.statuses():
            by_status[status] = by_status.get(status, 0) + times
    for status, times in by_status.items():
        answers.add_metric([str(status or "other")], times)
    yield answers


def _watching(sources: Sources) -> Iterator[Metric]:
    viewers = GaugeMetricFamily("edge_viewers", "Viewers now, by way.", labels=["way"])
    most = GaugeMetricFamily("edge_viewers_max", "Viewers at the same time that are let in.", labels=["way"])
    refused = CounterMetricFamily("edge_refused", "Who was not let in, by way and reason.", labels=["way", "reason"])
    for name, way in sources.ways.items():
        viewers.add_metric([name], way.watching())
        most.add_metric([name], way.max_count)
        for reason, times in way.refusals().items():
            refused.add_metric([name, reason], times)
    yield from (viewers, most, refused)
    logins = CounterMetricFamily(
        "edge_logins_refused", "Logins of boxes that were refused, by kind and reason.", labels=["kind", "reason"]
    )
    for kind, refusals in sources.logins.items():
        for reason, times in refusals().items():
            logins.add_metric([kind, reason], times)
    yield logins
    yield _gauge("edge_boxes", "Boxes that sent a heartbeat to the JSON API in the last 45 minutes.", sources.boxes())


def _pacing(sources: Sources) -> Iterator[Metric]:
    pacer, late = sources.pacer, sources.pacer.lateness
    bounds = [*map(floatToGoString, BOUNDS_S), "+Inf"]
    yield _gauge("edge_pacing_streams", "RTSP sessions and multicast groups that are sent by the clock.", len(pacer))
    yield HistogramMetricFamily(
        "edge_pacing_lateness_seconds",
        "How late the turns of sending by the clock ended.",
        buckets=list(zip(bounds, accumulate(late.buckets), strict=True)),
        sum_value=late.sum_s,
    )
    p99_s = late.p99_s(sources.monotonic_s())
    yield _gauge("edge_pacing_lateness_p99_seconds", "99th percentile of the last 5 s; admission looks at it.", p99_s)
    yield _gauge("edge_pacing_busy", "1 when nobody more is let in because sending is late.", int(pacer.busy()))


def _groups(sources: Sources) -> Iterator[Metric]:
    sent, fcc = sources.groups(), sources.fcc()
    parity = sent.get("parity packets", 0)
    yield CounterMetricFamily("edge_multicast_parity_packets", "Repair packets sent beside groups.", value=parity)
    yield _counted(
        "edge_multicast_datagrams_lost", "Packets of groups that the kernel did not take.", sent, "datagrams "
    )
    yield _gauge("edge_fcc_bursts_running", "Bursts of fast channel change now.", sources.bursts())
    yield _counted(
        "edge_fcc_bursts", "Bursts of fast channel change, begun, and by their end.", fcc, "bursts ", "result"
    )
    yield _counted("edge_fcc_refused", "Requests for them that got no answer.", fcc, "requests ")
    joins = fcc.get("joins without a burst", 0)
    yield CounterMetricFamily("edge_fcc_joins", "Boxes told to join the group without a burst.", value=joins)
    yield CounterMetricFamily("edge_fcc_bytes", "Bytes of bursts that have ended.", value=fcc.get("bytes", 0))


def _counted(name: str, words: str, counted: Mapping[str, int], begin: str, label: str = "reason") -> Metric:
    """Make a family of the counters whose names begin so."""
    family = CounterMetricFamily(name, words, labels=[label])
    for each, times in counted.items():
        if each.startswith(begin):
            family.add_metric([each.removeprefix(begin)], times)
    return family


def _live(sources: Sources) -> Iterator[Metric]:
    on_air = GaugeMetricFamily("edge_live_on_air", "1 while a channel given live is on air.", labels=["channel"])
    given = GaugeMetricFamily("edge_live_source", "1 while its source is there.", labels=["channel"])
    held = GaugeMetricFamily("edge_live_held_bytes", "Bytes of it in memory.", labels=["channel"])
    events = CounterMetricFamily("edge_live_events", "What happened to it, by kind.", labels=["channel", "event"])
    for channel_id, channel in sources.lives.items():
        on_air.add_metric([channel_id], int(channel.on_air is not None))
        given.add_metric([channel_id], int(channel.is_given))
        held.add_metric([channel_id], channel.held_bytes)
        for event, times in channel.counters.items():
            events.add_metric([channel_id, event.replace(" ", "_")], times)
    yield from (on_air, given, held, events)


def _disk(sources: Sources, noted: Noted) -> Iterator[Metric]:
    used = GaugeMetricFamily("edge_store_bytes", "What a part of the edge's folder occupies.", labels=["part"])
    for part, size in noted.disk.used.items():
        used.add_metric([part], size)
    yield used
    yield _gauge("edge_store_free_bytes", "What the disk of the edge's folder can still take.", noted.disk.free)
    waiting = sources.to_package()
    yield _gauge("edge_packaging_waiting", "Renditions of a coming release that are not packaged yet.", waiting)


def _uplink(noted: Noted) -> Iterator[Metric]:
    standing = noted.standing
    yield _gauge("edge_uplink_failing", "1 when the last sync did not come to its end.", int(bool(standing.failure)))
    yield _gauge("edge_uplink_missing_bytes", "What is still to come of announced releases.", standing.missing_bytes)
    if standing.measured_bps is not None:
        speed = standing.measured_bps / 8
        yield _gauge("edge_uplink_speed_bytes_per_second", "What the line really carried lately.", speed)
    if standing.succeeded_at is not None:
        when = standing.succeeded_at.timestamp()
        yield _gauge("edge_uplink_success_timestamp_seconds", "When a sync last came to its end.", when)


def _snapshot(sources: Sources) -> Iterator[Metric]:
    view = sources.readable()
    yield _gauge("edge_snapshot_readable", "0 when what is offered cannot be read.", int(view is not None))
    if view is None:
        return
    yield _gauge("edge_snapshot_seq", "Number of the snapshot; 0 before the first sync.", view.seq)
    yield _gauge("edge_snapshot_items", "Items that are offered.", len(view.catalogue.courseware))
    if view.seq:
        issued_s = view.active.issued.timestamp()
        yield _gauge("edge_snapshot_issued_timestamp_seconds", "When the newest release was signed.", issued_s)
        age_s = sources.utc_s() - issued_s
        yield _gauge("edge_snapshot_age_seconds", "How long ago that is by the clock of the edge.", age_s)


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)
