"""Plots of a run as SVG, without any library: bars with the least and the greatest repeat. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.serve.http import SEGMENTS, cells_of, ratio
from benchmarks.serve.report import groups
from benchmarks.serve.verdicts import spread

WIDTH, LEFT, RIGHT, ROW, TOP = 860, 250, 90, 24, 64
COLOURS = {"edge": "#1b6ca8", "nginx": "#8a8a8a"}
OTHER = "#c28f2c"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, and the range of its repeats."""

    label: str
    value: float
    least: float
    most: float
    colour: str = COLOURS["edge"]


def bars(title: str, under: str, rows: Sequence[Bar], *, mark: float | None = None, mark_label: str = "") -> str:
    """Draw horizontal bars from zero; ``mark`` is a line across them."""
    top = max([row.most for row in rows] + ([mark] if mark else [])) * 1.05 or 1.0
    height = TOP + ROW * len(rows) + 34
    scale = (WIDTH - LEFT - RIGHT) / top
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="24" font-size="16" font-weight="bold">{escape(title)}</text>',
        f'<text x="16" y="44" fill="#555555">{escape(under)}</text>',
    ]
    for number, row in enumerate(rows):
        y, x = TOP + ROW * number, LEFT + row.value * scale
        middle = y + ROW / 2 - 2
        out += [
            f'<text x="{LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(row.label)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{max(row.value * scale, 1):.1f}" height="{ROW - 6}" '
            f'fill="{row.colour}"/>',
            f'<line x1="{LEFT + row.least * scale:.1f}" x2="{LEFT + row.most * scale:.1f}" y1="{middle:.1f}" '
            f'y2="{middle:.1f}" stroke="#000000" stroke-width="1.5"/>',
            f'<text x="{max(x, LEFT + row.most * scale) + 6:.1f}" y="{middle + 4:.1f}">{row.value:.3g}</text>',
        ]
    if mark:
        x = LEFT + mark * scale
        bottom = TOP + ROW * len(rows)
        out.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{bottom}" stroke="#b02020" stroke-dasharray="4 3"/>'
        )
        out.append(
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#b02020">{escape(mark_label)}</text>'
        )
    return "\n".join([*out, "</svg>", ""])


def plots(results: Mapping[str, Any]) -> dict[str, str]:
    """Draw what was measured; by file name."""
    drawn: dict[str, str] = {}
    under = "bar: median of the repeats; line: least to greatest"
    for client in ("drain", "wrk"):
        rows = results.get("http", ())
        found = [(cell, ratio(rows, cell, client, "cpu_s_per_gb", "edge")) for cell in cells_of(rows, client)]
        made = [
            Bar(f"{kind} × {count}", each.median, each.least, each.most, OTHER if kind == SEGMENTS else COLOURS["edge"])
            for (kind, count), each in found
            if each
        ]
        if made:
            title = f"HTTP: CPU seconds a GB, edge by nginx ({client})"
            drawn[f"http-{client}.svg"] = bars(title, under, made, mark=1.0, mark_label="nginx")
    for cell, name in (("rtsp", "50 streams"), ("rtsp_live", "one channel to many")):
        made = cost(results.get(cell, ()))
        if made:
            title = f"RTSP, MPEG-TS 4 Mb/s, {name}: CPU seconds a stream-minute"
            drawn[f"{cell.replace('_', '-')}.svg"] = bars(title, under, made)
    late = [row for row in results.get("rtsp_capacity", ()) if row.get("spread_p99_ms") is not None]
    made = by_field(late, ("server", "transport", "sessions"), "spread_p99_ms")
    if made:
        title = "RTSP on one core: p99 of the spread of arrivals, ms"
        drawn["rtsp-capacity.svg"] = bars(title, under, made, mark=40.0, mark_label="40 ms")
    return drawn


def cost(rows: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """CPU of a stream."""
    return by_field([r for r in rows if "cpu_s_a_stream_minute" in r], ("server", "transport"), "cpu_s_a_stream_minute")


def by_field(rows: Sequence[Mapping[str, Any]], keys: tuple[str, ...], field: str) -> list[Bar]:
    """A bar for each group of rows."""
    made = []
    for key, each in groups(rows, keys).items():
        found = spread([float(row[field]) for row in each])
        label = ", ".join(str(part) for part in key)
        made.append(Bar(label, found.median, found.least, found.most, COLOURS.get(str(key[0]), OTHER)))
    return made
