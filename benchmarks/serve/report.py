"""The report in Markdown, from what ``result.json`` holds. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def table(head: Iterable[str], body: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table; nothing when it has no rows."""
    titles, rows = list(head), [list(row) for row in body]
    if not rows:
        return []
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *(f"| {' | '.join(row)} |" for row in rows), ""]


def number(value: float | None, unit: str = "") -> str:
    """A number for people."""
    return "–" if value is None else f"{value:.4g} {unit}".strip()


def report(found: Mapping[str, Any]) -> str:
    """Everything that was measured."""
    results, about = found["results"], found["about"]
    lines = [*head(about), *targets(found["verdicts"]), *wrong(found["faults"])]
    lines += http_table(results.get("http", ()))
    for cell, words in TITLES.items():
        lines += plain_table(words, results.get(cell, ()))
    return "\n".join(lines)


RTP_FIELDS = (
    *("server", "transport", "sessions", "cpu_s_a_stream_minute", "server_busy", "spread_p99_ms"),
    *("bits_a_second_a_session", "lost", "differing", "compared", "refused", "client_busy"),
)
TITLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "rtsp": ("RTSP: 50 streams", RTP_FIELDS),
    "rtsp_capacity": ("RTSP: streams on a core", RTP_FIELDS),
    "rtsp_live": ("RTSP: one channel", RTP_FIELDS),
    "fmp4": ("fMP4 segments", ("way", "ms_a_segment", "once_ms_a_segment", "cpu_s_per_gb", "with_making_cpu_s_per_gb")),
    "fmp4_cold": (
        "First segment of a cold file",
        ("way", "ms", "cpu_s", "octets", "file_bytes", "index_from_nothing_ms"),
    ),
    "ts": ("Transport stream from MP4", ("way", "mb_per_s", "cpu_s", "octets")),
    "whep": (
        "WebRTC",
        (
            "server",
            "viewers",
            "cpu_percent_per_viewer",
            "mbps_per_viewer",
            "frames_per_second",
            "lost",
            "asked",
            "again",
            "client_cpu",
        ),
    ),
    "playable": (
        "From sync to playable",
        ("seconds", "bytes_alone_s", "beyond_s", "wire_bytes", "plain_bits_per_s", "line_cpu_s"),
    ),
    "workers": ("Workers", ("workers", "gb_per_s", "client_busy")),
    "idle": (
        "Many lessons",
        ("lessons", "start_s", "memory_mb", "memory_after_catalogue_mb", "descriptors"),
    ),
    "descriptors": ("Memory and descriptors of the edge around the HTTP load", ("when", "descriptors", "memory_mb")),
}
"""By cell: a title, and the fields that are shown as medians of the repeats; the first are what the rows differ in."""


def head(about: Row) -> list[str]:
    """Where, when, with what."""
    versions = about.get("versions", {})
    memory = about.get("memory_bytes", 0) / 2**30
    of_cells = ", ".join(f"{name} {minutes}" for name, minutes in about.get("minutes_of", {}).items())
    of_cells = of_cells and f" ({of_cells})"
    words = [
        f"Measured {about.get('date')} at commit {about.get('commit')} on {about.get('cores')} × "
        f"{about.get('processor')}, {memory:.0f} GiB, {about.get('system')}, Python {about.get('python')}.",
        f"{about.get('repeats')} repeats{', the quick form' if about.get('quick') else ''}; "
        f"{'a network namespace of its own' if about.get('own_network') else 'the loopback of the machine'}, "
        f"{about.get('congestion_control')}; load {about.get('load', 0):.1f} at the start; "
        f"{about.get('minutes', '?')} minutes{of_cells}.",
        "",
        "; ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        "",
    ]
    noise = [f"{name.removeprefix('noise_')}: {text}." for name, text in about.items() if name.startswith("noise_")]
    return words + ([*noise, ""] if noise else [])


def targets(verdicts: Sequence[Row]) -> list[str]:
    """Every target with its number."""
    body = []
    for each in verdicts:
        value = number(each["value"], each["unit"])
        if each["spread"]:
            value += f" [{number(each['spread'][0])}–{number(each['spread'][1])}]"
        state = each["state"] if each["state"] == "met" else f"**{each['state']}**"
        sign = "≥" if each["at_least"] else "≤"
        body.append([each["name"], value, f"{sign} {number(each['limit'], each['unit'])}", state, each["note"]])
    shown = table(["measure", "measured", "target", "", "note"], body)
    return ["#### Targets", "", *shown] if shown else []


def wrong(faults: Sequence[str]) -> list[str]:
    """What was wrong; only the beginning of each."""
    words = [f"- {fault.strip().splitlines()[-1][:300]}" for fault in faults]
    return ["#### Wrong or missing", "", *words, ""] if words else []


def groups(rows: Sequence[Row], keys: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by what they differ in, in order."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    return found


def median(rows: Sequence[Row], field: str) -> float | None:
    """Median of a field over the repeats that have it."""
    values = [row[field] for row in rows if isinstance(row.get(field), int | float)]
    return statistics.median(values) if values else None


def http_table(rows: Sequence[Row]) -> list[str]:
    """Each cell: every server."""
    body = []
    for (kind, connections, client, server), each in groups(rows, ("kind", "connections", "client", "server")).items():
        cost, rate = median(each, "cpu_s_per_gb"), median(each, "requests_per_s")
        speed, busy, used = (median(each, field) for field in ("gb_per_s", "server_busy", "client_busy"))
        late = median(each, "p99_s")
        body.append(
            [
                *(str(kind), str(connections), str(client), str(server), number(cost), number(rate), number(speed)),
                *(f"{busy or 0:.0%}", f"{used or 0:.0%}", f"{(late or 0) * 1000:.1f}", f"{len(each)}"),
                f"{sum(row.get('compared', 0) for row in each):,}",
            ]
        )
    titles = ["body", "connections", "client", "server", "CPU-s/GB", "req/s", "GB/s", "server core", "client core"]
    shown = table([*titles, "p99 ms", "repeats", "answers compared whole"], body)
    return ["#### HTTP", "", "Medians of the repeats.", "", *shown] if shown else []


def plain_table(words: tuple[str, tuple[str, ...]], rows: Sequence[Row]) -> list[str]:
    """Any other cell: text fields tell rows apart, numbers are medians."""
    title, fields = words
    keys = [field for field in fields if any(isinstance(row.get(field), str | bool) for row in rows)]
    keys += [field for field in ("sessions", "lessons", "workers") if field in fields and field not in keys]
    shown = [field for field in fields if field not in keys]
    body = [
        [*(str(part) for part in key), *(number(median(each, field)) for field in shown), str(len(each))]
        for key, each in groups(rows, keys).items()
    ]
    lines = table([*(key.replace("_", " ") for key in [*keys, *shown]), "repeats"], body)
    return [f"#### {title}", "", *lines] if lines else []
