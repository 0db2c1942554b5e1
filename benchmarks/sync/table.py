"""The report in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.sync.rivals import Result
from benchmarks.sync.targets import OURS, Measured, Target
from benchmarks.sync.updates import CASES


def size(count: float) -> str:
    """Bytes for people; KB and MB are powers of ten."""
    if count < 1000:
        return f"{count:.0f} B"
    return f"{count / 1e3:.1f} KB" if count < 1e6 else f"{count / 1e6:.2f} MB"


def ratio(count: float, by: float) -> str:
    """How many times."""
    if not by:
        return "–"
    return f"{count / by:.3f}" if count / by < 10 else f"{count / by:,.0f}"


def rows(head: Iterable[str], body: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table."""
    titles = list(head)
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *(f"| {' | '.join(row)} |" for row in body), ""]


def tools(results: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """Ours first, then the rivals as they ran."""
    seen = dict.fromkeys(tool for each in results.values() for tool in each)
    return sorted(seen, key=lambda tool: tool != OURS)


def free_tables(measured: Measured) -> list[str]:
    """Bytes, ratios, requests and CPU on a free line."""
    cases, names = list(measured.free), tools(measured.free)

    def cell(case: str, tool: str) -> str:
        result = measured.free[case].get(tool)
        return "–" if result is None else size(result.wire) if result.verified else "failed"

    out = ["### Bytes on the wire", ""]
    out += [*(f"- {case}: {CASES[case]}" for case in cases), ""]
    floor = ["floor", *(size(measured.floors[case].total) for case in cases)]
    out += rows(["tool", *cases], [floor, *([tool, *(cell(case, tool) for case in cases)] for tool in names)])
    if OURS in names and len(names) > 1:
        out += ["Times ours (above 1: more bytes than ours); the last line is ours by the floor.", ""]
        body = [
            [tool]
            + [
                ratio(measured.free[c][tool].wire, measured.free[c][OURS].wire)
                if tool in measured.free[c] and OURS in measured.free[c]
                else "–"
                for c in cases
            ]
            for tool in names
            if tool != OURS
        ]
        last = [
            ratio(measured.free[c][OURS].wire, measured.floors[c].total) if OURS in measured.free[c] else "–"
            for c in cases
        ]
        out += rows(["tool", *cases], [*body, ["ours / floor", *last]])
    out += ["Turns of the line / CPU seconds of the client:", ""]
    body = [
        [tool]
        + [f"{r.rounds} / {r.cpu_s:.2f}" if (r := measured.free[case].get(tool)) is not None else "–" for case in cases]
        for tool in names
    ]
    return out + rows(["tool", *cases], body)


def link_table(measured: Measured) -> list[str]:
    """Time and bytes on shaped lines."""
    body = [
        [
            *(link, tool, size(r.wire), size(r.lost), str(r.rounds), str(r.connections)),
            *(f"{r.wall_s:.1f} s", f"{r.cpu_s:.2f} s", str(r.runs), "yes" if r.verified else f"**no** {r.note}"),
        ]
        for link, results in measured.links.items()
        for tool, r in sorted(results.items(), key=lambda item: item[0] != OURS)
    ]
    head = ["line", "tool", "wire", "of it lost", "turns", "connections", "wall", "CPU", "runs", "finished"]
    return ["### Shaped lines", "", *rows(head, body)] if body else []


def scale_table(measured: Measured) -> list[str]:
    """Cost against the number of files."""
    each = (("nothing new", measured.polls), ("5 changes", measured.changes), ("nothing new", measured.rsync_polls))
    body = [
        [
            *(f"{files:,}", what, r.tool, str(r.requests or "–"), size(r.body_bytes) if r.body_bytes else "–"),
            *(size(r.wire), f"{r.cpu_s:.2f} s"),
        ]
        for what, results in each
        for files, r in results.items()
    ]
    head = ["files", "pull", "tool", "requests", "bodies", "wire", "CPU"]
    return ["### Size of the library", "", *rows(head, body)] if body else []


def speed_table(measured: Measured) -> list[str]:
    """CPU and memory."""
    out = ["### CPU and memory", ""] if measured.encode_mb_per_s or measured.big else []
    if measured.encode_mb_per_s:
        out.append(
            f"One core: {measured.encode_mb_per_s:.0f} MB/s of lesson into recipe, units and hashes; "
            f"{measured.rebuild_mb_per_s:.0f} MB/s of units into lesson, all hashes checked."
        )
    if measured.edge_mb_per_s:
        out.append(f"A title edit at the edge, its whole pull less that of a poll: {measured.edge_mb_per_s:.0f} MB/s.")
    for what, r in measured.big.items():
        out.append(
            f"Edge, lesson of 2 GB, {what}: {size(r.rss_bytes)} of memory at most, {r.cpu_s:.1f} s of CPU, "
            f"{size(r.wire)} on the wire."
        )
    return [*out, ""] if out else []


def target_table(targets: list[Target]) -> list[str]:
    """Every target with its number."""

    def number(value: float, unit: str) -> str:
        return size(value) if unit == "B" else f"{value:.4g} {unit}".strip()

    body = [
        [
            t.name,
            number(t.measured, t.unit),
            f"{'≥' if t.at_least else '≤'} {number(t.limit, t.unit)}",
            "yes" if t.met else "**no**",
        ]
        for t in targets
    ]
    return ["### Targets", "", *rows(["measure", "measured", "target", "met"], body)] if body else []


def report(measured: Measured, targets: list[Target], about: Mapping[str, object]) -> str:
    """Everything."""
    versions = about.get("versions", {})
    assert isinstance(versions, Mapping)
    words = [f"Measured {about['date']} on {about['machine']}; corpus: {about['corpus']}.", ""]
    words += ["; ".join(str(text) for text in versions.values()) + ".", ""]
    return "\n".join(
        [
            *words,
            *free_tables(measured),
            *link_table(measured),
            *scale_table(measured),
            *speed_table(measured),
            *target_table(targets),
        ]
    )
