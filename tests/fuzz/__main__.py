"""``python -m tests.fuzz``: runs doors, prints a table, keeps every message that showed a fault."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

import structlog

from tests.fuzz import run as fuzz
from tests.fuzz.doors import DOORS
from tests.fuzz.run import WATCH, Result, run

HEAD = "{:24} {:>9} {:>9} {:>8} {:>10} {:>9} {:>8} {:>8} {:>6}".format(
    "door", "messages", "a second", "accepted", "slowest ms", "grown KiB", "peak KiB", "longest", "ms"
)


def row(result: Result) -> str:
    rate = result.messages / result.seconds if result.seconds else 0.0
    share = result.accepted / max(1, result.accepted + sum(result.refused.values()))
    return (
        f"{result.door:24} {result.messages:9d} {rate:9.0f} {share:8.1%} {result.slowest_s * 1000:10.1f} "
        f"{result.grown_bytes / 1024:9.0f} {result.peak_bytes / 1024:8.0f} {result.longest_bytes / 1024:6.0f} K "
        f"{result.longest_s * 1000:6.0f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("doors", nargs="*", metavar="DOOR", help="all when none is named; a prefix is enough")
    parser.add_argument("--messages", type=int, default=1_000_000, help="for each door")
    parser.add_argument("--seconds", type=float, default=None, help="at most, for each door")
    parser.add_argument("--growth", type=float, default=30.0, help="seconds for long messages, for each door")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="name the doors")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each door")
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz"), help="folder of found messages, by door")
    given = parser.parse_args()
    chosen = [each for each in DOORS if not given.doors or any(each.startswith(name) for name in given.doors)]
    if given.list:
        print("\n".join(chosen))
        return 0
    if not chosen:
        print("no such door", file=sys.stderr)
        return 2
    if not given.json:
        print(HEAD, flush=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    fuzz.GROWTH_MAX_S = given.growth / 2
    failed = False
    for name in chosen:
        door = replace(DOORS[name](given.corpus), name=name)
        with WATCH:
            result = run(door, given.messages, seed=given.seed, seconds_max=given.seconds)
        failed = failed or not result.passed
        if given.json:
            told = {**vars(result), "faults": list(result.faults), "refused": dict(result.refused)}
            print(json.dumps(told), flush=True)
        else:
            print(row(result), flush=True)
        for fault, message in result.faults.items():
            kept = given.corpus / "faults" / f"{name}-{hashlib.sha256(message).hexdigest()[:8]}"
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(message)
            print(f"  {fault}  ({kept})", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
