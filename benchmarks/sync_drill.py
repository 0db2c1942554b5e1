"""Kills the edge's program again and again while it brings a publication, and looks at what is offered each time.

    python -m benchmarks.sync_drill [--kills 200] [--usb] [--seed N] [--dir FOLDER]

Prints one line a result and then JSON; ends with 99 when a target is missed. Kills are spread over 1.1 times the normal
run, 85 in 100 of them without warning; a quarter as many more fall on chosen steps (packaging, activation, collection).
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.drill import EDGE_SERVER, Life, World, Wrong, world

MISSED = 99
HARD = 0.85
"""Share of kills without warning."""
SPREAD = 1.1
"""Of the normal run."""
AGAIN_BYTES = 1024 * 1024
"""May be fetched again for each kill, and one unit."""
LIVES_MAX = 8
"""Kills in a row, before an edge is let come to its end."""
OLDER = "older"

MOMENTS: dict[str, tuple[str, int]] = {
    "trust": (r"^rename .*/trust/\w+/tmp", 5),
    "head": (r"^rename .*/trust/channels/.*\.head$", 3),
    "object": (r"^rename .*/staging/.*\.part .*/objects/", 12),
    "journal": (r"^remove .*/staging/.*\.units$", 12),
    "held listing": (r"^rename .*/trust/channels/.*\.listing\.json$", 4),
    "packaging begins": (r"^Popen .*packager", 2),
    "listing": (r"^rename .*/snapshots/", 4),
    "pointer": (r"^rename .* \S*/current$", 5),
    "collecting objects": (r"^remove .*/objects/", 8),
    "collecting recipes": (r"^remove .*/recipes/", 8),
    "collecting listings": (r"^remove .*/snapshots/", 2),
    "collecting derived files": (r"^remove media\.ts$", 2),
    "collecting folders": (r"^rmdir (/|v[0-9])", 3),
}
"""By name: a step as ``tests.drill.forked_life`` spells it, and how many a life has; death comes before one of them."""


@dataclass
class Tally:
    """What a drill saw."""

    road: str
    normal_s: float = 0.0
    normal_bytes: int = 0
    unit_bytes: int = 0
    """The longest unit."""
    random_kills: int = 0
    hard: int = 0
    aimed_kills: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    looks_over_http: int = 0
    again_bytes: int = 0
    """Fetched again, in all."""
    again_worst_bytes: int = 0
    """Per kill, in the worst round."""
    seen: Counter[str] = field(default_factory=Counter)
    """What was offered after a kill: which channels were new already."""
    wrong: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """All of them."""
        return self.random_kills + sum(self.aimed_kills.values())

    @property
    def again_per_kill_bytes(self) -> float:
        """On average."""
        return self.again_bytes / max(1, self.kills)

    @property
    def is_missed(self) -> bool:
        """Whether a target is missed."""
        return bool(self.wrong) or self.again_worst_bytes > AGAIN_BYTES + self.unit_bytes

    def lines(self) -> Iterator[str]:
        """Say it in words."""
        per_kill, worst = self.again_per_kill_bytes / 1e3, self.again_worst_bytes / 1e3
        most = (AGAIN_BYTES + self.unit_bytes) / 1e3
        yield f"{self.road}: normal run {self.normal_s:.2f} s, {self.normal_bytes / 1e6:.2f} MB"
        yield f"{self.road}: {self.random_kills} kills at random ({self.hard} hard), {self.aimed_kills.total()} aimed"
        yield f"{self.road}: fetched again {per_kill:.0f} kB a kill, worst round {worst:.0f} kB a kill (≤ {most:.0f})"
        yield f"{self.road}: {self.rounds} runs ended well, nothing left over; {self.looks_over_http} looks over HTTP"
        yield f"{self.road}: {len(self.wrong)} wrong"


class Drill:
    """Kills in one world by one road."""

    def __init__(self, here: World, road: str, seed: int, *, by_command: bool) -> None:
        """``road`` is ``network`` or ``usb``; ``by_command``: random kills strike the command itself."""
        self._world, self._by_command = here, by_command
        self._random = random.Random(seed)
        self._words = ("bundle", "import", here.stick()) if road == "usb" else ("sync",)
        self.tally = Tally(road)

    def run(self, kills: int, aimed: int, *, http_every: int = 10) -> Tally:
        """Kill so often at random and so often at chosen steps; every so many rounds a serving edge is asked, too."""
        tally = self.tally
        self._normal_run()
        moments = [name for _ in range(1 + aimed // len(MOMENTS)) for name in MOMENTS][:aimed]
        self._random.shuffle(moments)
        while tally.random_kills < kills or moments:
            edge = self._world.edge()
            try:
                if tally.rounds % http_every == http_every // 2:
                    with serving(edge) as address:
                        self._round(edge, kills, moments, address)
                else:
                    self._round(edge, kills, moments, "")
            except Wrong as error:
                tally.wrong.append(str(error))
            tally.rounds += 1
        return tally

    def _bytes(self) -> int:
        here = self._world
        return here.lives.stick_bytes if self.tally.road == "usb" else here.server.sent_bytes

    def _normal_run(self) -> None:
        here, edge = self._world, self._world.edge()
        live = here.lives.start if self._by_command else here.lives.live
        began_s = here.lives.clock.monotonic()
        self._must_be_well(live(*self._words, "--dir", edge))
        self.tally.normal_s = here.lives.clock.monotonic() - began_s
        self.tally.unit_bytes = here.longest_unit_bytes(edge)
        here.check_end(edge)
        before, edge = self._bytes(), here.edge()
        self._must_be_well(here.lives.live(*self._words, "--dir", edge))
        self.tally.normal_bytes = self._bytes() - before

    def _must_be_well(self, life: Life) -> None:
        is_done = self.tally.road == "usb" and life.code == 1 and "不用再导入" in life.said
        if life.code != 0 and not is_done:
            raise Wrong(f"a run ended with {life.code}: {life.said[-400:]}")

    def _round(self, edge: Path, kills: int, moments: list[str], address: str) -> None:
        """Kill one edge some times, then let it come to its end."""
        here, tally = self._world, self.tally
        before, killed = self._bytes(), 0
        for _ in range(self._random.randint(1, LIVES_MAX)):
            is_aimed = bool(moments) and (tally.random_kills >= kills or self._random.random() < 0.3)
            if not is_aimed and tally.random_kills >= kills:
                break
            if not (self._aimed(edge, moments) if is_aimed else self._at_random(edge)):
                break
            killed += 1
            ages = here.served(edge)
            tally.seen[" ".join(channel for channel, age in ages.items() if age == "new") or "nothing"] += 1
            self._ask(address, ages)
        self._must_be_well(here.lives.live(*self._words, "--dir", edge))
        here.check_end(edge)
        self._ask(address, here.served(edge))
        if killed:
            again = self._bytes() - before - tally.normal_bytes
            if again < 0:
                raise Wrong(f"{-again} bytes less than in a run without a kill came")
            tally.again_bytes += again
            tally.again_worst_bytes = max(tally.again_worst_bytes, again // killed)

    def _at_random(self, edge: Path) -> bool:
        lives = self._world.lives
        is_hard = self._random.random() < HARD
        life = (lives.start if self._by_command else lives.live)(
            *self._words,
            "--dir",
            edge,
            kill_after_s=self._random.uniform(0.0, SPREAD * self.tally.normal_s),
            by=signal.SIGKILL if is_hard else signal.SIGTERM,
        )
        if not life.was_killed:
            self._must_be_well(life)
            return False
        self.tally.random_kills += 1
        self.tally.hard += is_hard
        return True

    def _aimed(self, edge: Path, moments: list[str]) -> bool:
        name = moments.pop()
        pattern, most = MOMENTS[name]
        die_at = (pattern, self._random.randint(1, most))
        life = self._world.lives.live(*self._words, "--dir", edge, die_at=die_at)
        if not life.was_killed:
            self._must_be_well(life)  # there were not so many such steps any more
            return False
        self.tally.aimed_kills[name] += 1
        return True

    def _ask(self, address: str, ages: dict[str, str]) -> None:
        if not address:
            return
        told = self._world.served_over_http(address)
        wanted = {channel: ages.get(channel, "absent") for channel in told}
        if told != wanted:
            raise Wrong(f"over HTTP {told} is served, not {wanted}")
        self.tally.looks_over_http += 1


@contextmanager
def serving(edge: Path) -> Iterator[str]:
    """Let an edge serve; yield the address of its HTTP port."""
    words: list[str | Path] = [EDGE_SERVER, "serve", "--dir", edge, "--http-port", "0", "--rtsp-port", "0", "--json"]
    with (edge / "serve.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        if not re.match(rb'\{"type":"ready"', ready):
            raise Wrong(f"the edge does not serve: {(edge / 'serve.log').read_text()[-400:]}")
        yield str(json.loads(ready)["http"])
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


def main() -> int:
    """Run the long drill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--usb", action="store_true", help="from a stick instead of over a line")
    parser.add_argument("--seed", type=int, default=20260301)
    parser.add_argument("--dir", type=Path, help="where to work; a temporary folder if not given")
    words = parser.parse_args()
    road = "usb" if words.usb else "network"
    with tempfile.TemporaryDirectory(dir=words.dir) as folder, world(Path(folder)) as here:
        tally = Drill(here, road, words.seed, by_command=True).run(words.kills, max(len(MOMENTS), words.kills // 4))
    for line in tally.lines():
        print(line)
    told = {name: getattr(tally, name) for name in Tally.__dataclass_fields__}
    print(json.dumps({**told, "again_per_kill_bytes": round(tally.again_per_kill_bytes), "missed": tally.is_missed}))
    return MISSED if tally.is_missed else 0


if __name__ == "__main__":
    sys.exit(main())
