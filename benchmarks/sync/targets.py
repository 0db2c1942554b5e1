"""What has to be shown, in numbers; each target is judged on the results of one run."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.sync.floor import Floor
from benchmarks.sync.rivals import Result

OURS = "ours"
SMALL_UPDATE_MAX_BYTES = 8_000
POLL_MAX_BODY_BYTES = 1_500
POLL_REQUESTS = 2
METADATA_SPREAD = 1.10
CUT_WIRE_RATIO = 1.06
WALL_RATE_BITS_PER_S = 8e6
WALL_RATIO, WALL_ROUND_TRIPS = 1.05, 8
CPU_MIN_MB_PER_S = 250.0
RSS_MAX_BYTES = 200 * 10**6


@dataclass(frozen=True)
class Link:
    """A shaped line and what runs on it."""

    name: str
    case: str
    rate_bits_per_s: float
    rtt_s: float
    cut_bytes: int = 0
    only: tuple[str, ...] = ()
    """Tools, when not all: those that are hopeless are measured once, not on each line."""


LINKS = (
    Link("u6 at 2 Mb/s, 300 ms", "u6", 2e6, 0.3, 0, (OURS, "rsync", "zsync", "casync")),
    Link("u5 at 8 Mb/s, 300 ms", "u5", 8e6, 0.3),
    Link("u5 at 8 Mb/s, 300 ms, cut each 3 MB", "u5", 8e6, 0.3, 3_000_000),
    Link(
        "u8 at 8 Mb/s, 300 ms, cut each 3 MB",
        "u8",
        8e6,
        0.3,
        3_000_000,
        (OURS, "rsync --partial-dir", "zsync"),
    ),
)


@dataclass
class Measured:
    """All results of a run; what was not asked for is missing."""

    floors: dict[str, Floor] = field(default_factory=dict)
    free: dict[str, dict[str, Result]] = field(default_factory=dict)
    """Bytes on a free line: by case, by tool."""
    links: dict[str, dict[str, Result]] = field(default_factory=dict)
    """By the name of the link, by tool."""
    polls: dict[int, Result] = field(default_factory=dict)
    """A pull with nothing new, by number of files."""
    rsync_polls: dict[int, Result] = field(default_factory=dict)
    """rsync with nothing new."""
    changes: dict[int, Result] = field(default_factory=dict)
    """A pull of five tiny changes, by number of files."""
    encode_mb_per_s: float = 0.0
    rebuild_mb_per_s: float = 0.0
    edge_mb_per_s: float = 0.0
    """Of a lesson whose title was edited: the whole pull, less what a poll costs."""
    big: dict[str, Result] = field(default_factory=dict)
    """A lesson of 2 GB: fetched whole, and edited."""


@dataclass(frozen=True)
class Target:
    """One judged line."""

    name: str
    measured: float
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the number is on the right side of its limit."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


def best(results: dict[str, Result]) -> int:
    """Fewest bytes of any rival that did it."""
    return min(result.wire for tool, result in results.items() if tool != OURS and result.verified)


def judge(measured: Measured) -> list[Target]:
    """Judge everything that was measured."""
    found: list[Target] = []
    for case, results in measured.free.items():
        if OURS in results:
            found += bytes_targets(case, results, measured.floors[case])
    for link in LINKS:
        if OURS in measured.links.get(link.name, {}):
            found += link_targets(link, measured.links[link.name], measured.links)
    found += scale_targets(measured)
    if measured.encode_mb_per_s:
        cpu = {"encode": measured.encode_mb_per_s, "rebuild": measured.rebuild_mb_per_s}
        found += [Target(f"{what}, one core", rate, CPU_MIN_MB_PER_S, "MB/s", True) for what, rate in cpu.items()]
    if measured.edge_mb_per_s:
        found.append(
            Target("title edit at the edge, beyond a poll", measured.edge_mb_per_s, CPU_MIN_MB_PER_S, "MB/s", True)
        )
    for what, result in measured.big.items():
        found.append(Target(f"edge memory, lesson of 2 GB, {what}", result.rss_bytes, RSS_MAX_BYTES, "B"))
    return found


def bytes_targets(case: str, results: dict[str, Result], floor: Floor) -> list[Target]:
    """Targets on bytes."""
    ours, found = results[OURS].wire, []
    share = {"u1a": 10, "u1b": 10, "u2": 10, "u3": 10, "u6": 20}.get(case)
    if share and len(results) > 1:
        found.append(Target(f"{case}: share of the best rival", ours / best(results), 1 / share))
    if case in ("u1a", "u1b", "u2", "u10", "u11"):
        found.append(Target(f"{case}: bytes", ours, SMALL_UPDATE_MAX_BYTES, "B"))
    if case in ("u4", "u5"):
        found.append(Target(f"{case}: share of the floor", ours / floor.total, {"u4": 1.005, "u5": 1.02}[case]))
        for rival, limit in (("zsync", 0.97), ("rsync", 0.94), ("casync", 0.60)):
            if rival in results:
                lowest = floor.total / results[rival].wire
                name = f"{case}: share of {rival}"
                if lowest > limit:
                    name += f" ({limit} is below the floor, {lowest:.3f})"
                    limit = 1.005 * lowest
                found.append(Target(name, ours / results[rival].wire, limit))
    if case in ("u7", "u8"):
        found.append(Target(f"{case}: share of the files", ours / floor.files, 1.002))
    return found


def link_targets(link: Link, results: dict[str, Result], links: dict[str, dict[str, Result]]) -> list[Target]:
    """Targets on time, and on bytes over a line that is cut."""
    ours, found = results[OURS], []
    if not link.cut_bytes:
        if link.rate_bits_per_s != WALL_RATE_BITS_PER_S:
            return []
        limit = WALL_RATIO * ours.wire * 8 / link.rate_bits_per_s + WALL_ROUND_TRIPS * link.rtt_s
        return [Target(f"{link.name}: wall", ours.wall_s, limit, "s")]
    rivals = [r.wall_s for tool, r in results.items() if tool.startswith(("rsync", "zsync")) and r.verified]
    if rivals:
        found.append(Target(f"{link.name}: wall, best of rsync and zsync", ours.wall_s, min(rivals), "s"))
    twin = next((other for other in LINKS if other.case == link.case and not other.cut_bytes), None)
    uncut = links.get(twin.name, {}).get(OURS) if twin else None
    if uncut:
        found.append(Target(f"{link.name}: bytes against uncut", ours.wire / uncut.wire, CUT_WIRE_RATIO))
    return found


def scale_targets(measured: Measured) -> list[Target]:
    """Targets on the size of the library."""
    found = []
    for files, poll in measured.polls.items():
        found.append(Target(f"poll at {files:,} files: bodies", poll.body_bytes, POLL_MAX_BODY_BYTES, "B"))
        found.append(Target(f"poll at {files:,} files: requests", poll.requests, POLL_REQUESTS))
    bodies = [result.body_bytes for result in measured.changes.values()]
    if len(bodies) > 1:
        found.append(Target("5 changes: most by least over library sizes", max(bodies) / min(bodies), METADATA_SPREAD))
    return found
