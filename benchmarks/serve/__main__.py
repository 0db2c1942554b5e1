"""The edge under load against others in one run; see ``docs/benchmarks.md``.

    python -m benchmarks.serve [--quick] [--only http,rtsp] [--repeats 5]

Writes ``result.json`` after every measurement, ``result.md`` and plots at the end. Ends with 0, with 99 when a target
is missed, with 1 when bytes were wrong or something that was asked for could not be measured. A measure for which the
client's core was the limit is *invalid*: it is shown, and neither met nor missed.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.serve import machine
from benchmarks.serve.bench import Bench, Cell
from benchmarks.serve.library import git_state
from benchmarks.serve.plots import plots
from benchmarks.serve.programs import CORES, Broken
from benchmarks.serve.report import report
from benchmarks.serve.verdicts import FAILED, exit_code

REPOSITORY = Path(__file__).resolve().parents[2]
CELLS = ("http", "rtsp", "live", "pack", "whep", "playable", "workers", "idle")
STOPPED = 130
INSIDE = "BENCH_SERVE_NETWORK"
"""Set once we are in a network of our own."""
NETWORK = """ip link set lo up
for each in cubic reno; do sysctl -qw net.ipv4.tcp_congestion_control=$each 2>/dev/null && break; done
exec "$@" """


def arguments(words: list[str]) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("--dir", type=Path, default=REPOSITORY / ".bench/serve", help="media, library and results")
    parser.add_argument("--only", type=_names, default=CELLS, help=f"of {','.join(CELLS)}")
    parser.add_argument("--quick", action="store_true", help="fewer cells and repeats: about 7 minutes")
    parser.add_argument("--repeats", type=int, help="default 5, quick 2")
    parser.add_argument(
        "--seconds", type=float, help="of one HTTP measurement; default 1, and 2.5 times as long for the heaviest"
    )
    parser.add_argument("--sizes", type=_names, help="of 64 KB,500 KB,2 MB,8 MB,HLS")
    parser.add_argument("--connections", type=_numbers, help="default 32,256, quick 32")
    parser.add_argument("--clients", type=_names, help="of drain,wrk; quick drain")
    parser.add_argument("--tickets", action=argparse.BooleanOptionalAction, default=True, help="signed links over HTTP")
    parser.add_argument("--control", action=argparse.BooleanOptionalAction, default=None, help="nginx against itself")
    parser.add_argument(
        "--network", action=argparse.BooleanOptionalAction, default=True, help="in a network of its own"
    )
    found = parser.parse_args(words)
    unknown = set(found.only) - set(CELLS)
    if unknown:
        parser.error(f"--only: no {', '.join(sorted(unknown))}; there are {', '.join(CELLS)}")
    if found.control is None:
        found.control = not found.quick
    return found


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def own_network() -> None:
    """As root: go on in a namespace with only loopback, without pacing: cubic, or reno where that may not be set."""
    if os.environ.get(INSIDE) or os.geteuid() != 0:
        return
    if not all(shutil.which(tool) for tool in ("unshare", "ip", "sysctl")):
        return
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        return
    os.environ[INSIDE] = "1"
    inner = [sys.executable, "-m", "benchmarks.serve", *sys.argv[1:]]
    os.execvp("unshare", ["unshare", "--net", "sh", "-c", NETWORK, "sh", *inner])


def main() -> int:
    """Measure, judge, report."""
    words = arguments(sys.argv[1:])
    if words.network:
        own_network()
    began = time.monotonic()
    words.dir.mkdir(parents=True, exist_ok=True)
    lock = (words.dir / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another run is using {words.dir}; wait for it, or give another --dir", file=sys.stderr)
        return FAILED
    bench = Bench(words)
    bench.about = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": git_state(REPOSITORY),
        "own_network": bool(os.environ.get(INSIDE)),
        "repeats": bench.repeats,
        "quick": bench.quick,
        **machine.about(),
    }
    if len(CORES) < 2:
        print("needs two cores: one for the server, one for the client", file=sys.stderr)
        return FAILED
    os.sched_setaffinity(0, CORES[1:])  # this program stays off the server's core
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stopped = False
    for name in words.only:
        bench.say(f"\n== {name}")
        since = time.monotonic()
        try:
            cell: Cell = importlib.import_module(f"benchmarks.serve.{name}").run
            cell(bench)
        except Broken as error:
            bench.fault(f"{name}: {error}")
        except KeyboardInterrupt:
            bench.fault(f"{name}: stopped before its end")
            stopped = True
            break
        except Exception:  # one broken cell must not take the others along
            bench.fault(f"{name}: {traceback.format_exc(limit=-4)}")
        finally:
            minutes = bench.about.setdefault("minutes_of", {})
            minutes[name] = round((time.monotonic() - since) / 60, 1)
    bench.about["minutes"] = round((time.monotonic() - began) / 60, 1)
    shutil.rmtree(bench.work, ignore_errors=True)
    shutil.rmtree(bench.folder / "edge", ignore_errors=True)
    bench.save()
    text = report(bench.plain())
    (bench.folder / "result.md").write_text(text)
    for name, drawing in plots(bench.results).items():
        (bench.folder / name).write_text(drawing)
    print("\n" + text)
    return STOPPED if stopped else exit_code(bench.verdicts, bench.faults)


if __name__ == "__main__":
    sys.exit(main())
