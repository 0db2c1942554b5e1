"""The whole chain on this machine: publish, sync, play on every box, withdraw. Writes .demo/report.json and .html.

make demo                                three lessons of its own
DEMO_MEDIA="a.mp4 b.mkv" make demo       real files instead (spaces in names: one file a line)
KEEP=1 make demo                         keep serving until Ctrl-C
DEMO_SECONDS=15                          play at most so many seconds of each lesson (0 = whole lessons)
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from scripts.demo_programs import Failed, Server, accounts, run  # noqa: E402

DEMO = Path(os.environ.get("DEMO_DIR", REPOSITORY / ".demo"))
COLUMN = "演示专栏"
RECORDS_LOOKS = 20
REAL_MEDIA_SECONDS = 20
"""Real files may be long, and old boxes play in real time: enough to judge, short enough to wait for."""


@dataclass
class Lesson:
    """One file on its way from the editor to the boxes."""

    source: Path
    title: str
    item_class: str = "education"
    item_id: str = ""
    published_at_s: float = 0.0
    refused: str = ""


@dataclass
class Report:
    """What .demo/report.json says."""

    rows: list[dict[str, object]] = field(default_factory=list)
    publish_to_playable_s: dict[str, float] = field(default_factory=dict)
    refused: list[dict[str, str]] = field(default_factory=list)
    withdrawn: dict[str, object] = field(default_factory=dict)
    records: list[dict[str, object]] = field(default_factory=list)
    """What the central platform has heard of each edge."""


def own_lessons() -> list[Lesson]:
    """Make three lessons: two videos with counted frames, one picture-text."""
    from fixtures.lessons import make_counted_lesson, make_picture_text

    folder = DEMO / "media"
    folder.mkdir(parents=True)
    first, second, page = folder / "electricity.mp4", folder / "irrigation.mp4", folder / "notice"
    make_counted_lesson(first, frames=300, size=(640, 360), fps=25, title="安全用电第一课", seed=1)
    make_counted_lesson(second, frames=250, size=(1280, 720), fps=25, title="果树滴灌技术", seed=2)
    make_picture_text(page, "春耕备耕通知")
    return [
        Lesson(first, "安全用电第一课"),
        Lesson(second, "果树滴灌技术", "service"),
        Lesson(page, "春耕备耕通知"),
    ]


def given_lessons(text: str) -> list[Lesson]:
    """Take the files named in DEMO_MEDIA: one a line, or separated by blanks when that names existing files."""
    names = [name for name in text.splitlines() if name.strip()]
    if len(names) == 1 and not Path(names[0]).exists():
        names = names[0].split()
    paths = [Path(name.strip()) for name in names]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise Failed(f"DEMO_MEDIA names files that do not exist: {', '.join(missing)}")
    return [Lesson(path.resolve(), path.stem) for path in paths]


def publish(lessons: list[Lesson], report: Report) -> list[Lesson]:
    """Publish every lesson; keep those that the platform took."""
    for lesson in lessons:
        print(f"\n发布 / publish: {lesson.source.name}")
        lesson.published_at_s = time.time()
        command = ["central-platform", "publish", str(lesson.source), "--dir", str(DEMO / "central"), "--json"]
        command += ["--title", lesson.title, "--column", COLUMN, "--class", lesson.item_class]
        done = run(command, fine=(0, 1), timeout_s=1200)
        last = done[-1]
        if last["type"] == "summary":
            lesson.item_id = str(last["item_id"])
            print(f"  编号 / item {lesson.item_id}")
        else:
            lesson.refused = str(last["reason"])
            report.refused.append(
                {"file": lesson.source.name, "reason": lesson.refused, "message": str(last["message"])}
            )
            print(f"  拒绝 / refused: {last['message']}")
    return [lesson for lesson in lessons if lesson.item_id]


def main() -> int:
    """Run the demonstration; return the exit code."""
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir(parents=True)
    report = Report()
    given = os.environ.get("DEMO_MEDIA", "").strip()
    lessons = given_lessons(given) if given else own_lessons()
    seconds = os.environ.get("DEMO_SECONDS") or ("0" if not given else str(REAL_MEDIA_SECONDS))

    run(["central-platform", "init", str(DEMO / "central"), "--json"])
    taken = publish(lessons, report)
    if not taken:
        print("\n没有可播放的课件 / nothing that could be made playable")
        save(report)
        return 1
    with Server(
        ["central-platform", "serve", "--dir", str(DEMO / "central"), "--port", "0", "--json"], DEMO
    ) as central:
        trust = str(next((DEMO / "central").rglob("1.root.json")))
        edge_dir = ["--dir", str(DEMO / "edge")]
        address = str(central.ready["address"])
        run(["edge-server", "init", str(DEMO / "edge"), "--central", address, "--trust", trust, "--json"])
        accounts(edge_dir)
        known = run(["edge-server", "records", "key", *edge_dir, "--json"])[-1]
        command = ["central-platform", "edge", "add", str(known["edge_id"]), "--key", str(known["key"]), "--json"]
        run([*command, "--title", "演示乡镇", "--dir", str(DEMO / "central")])
        print("\n同步 / sync")
        first = run(["edge-server", "sync", *edge_dir, "--json"], timeout_s=1200)[-1]
        switched_at_s = time.time()
        again = run(["edge-server", "sync", *edge_dir, "--json"])[-1]
        print(f"  首次 / first: {first['bytes_moved']} B")
        print(f"  再次 / again: {again['bytes_moved']} B（只有时效元数据 / freshness metadata only）")
        serve = ["edge-server", "serve", *edge_dir, "--http-port", "0", "--rtsp-port", "0", "--json"]
        with Server(serve, DEMO) as edge:
            portal = str(edge.ready["http"])
            code = play(portal, seconds, taken, switched_at_s, report)
            code |= withdraw_one(portal, taken, edge_dir, report)
            code |= records_home(report)
            save(report)
            summarise(report, portal, str(edge.ready["rtsp"]), code)
            if os.environ.get("KEEP"):
                print("\n继续服务，按 Ctrl-C 结束 / serving until Ctrl-C")
                wait_for_interrupt()
    return code


def play(portal: str, seconds: str, taken: list[Lesson], switched_at_s: float, report: Report) -> int:
    """Play every lesson on every box."""
    print("\n所有机顶盒播放所有课件 / every box plays every lesson")
    command = ["stb-emulator", "matrix", "--portal", portal, "--json", "--html", str(DEMO / "report.html")]
    if seconds != "0":
        command += ["--seconds", seconds]
    lines = run(command, fine=(0, 1), timeout_s=1200)
    report.rows = [{k: v for k, v in line.items() if k != "type"} for line in lines if line["type"] == "item"]
    for lesson in taken:
        rows = [row for row in report.rows if row["lesson"] == lesson.item_id]
        startups = [float(str(row["startup_ms"])) for row in rows if row["ok"] and row["startup_ms"] is not None]
        if rows and len(startups) == len(rows):
            playable = switched_at_s - lesson.published_at_s + max(startups) / 1000
            report.publish_to_playable_s[lesson.item_id] = round(playable, 2)
    for row in report.rows:
        mark = "✓" if row["ok"] else "✗"
        why = "" if row["ok"] else f"  {row['stage']}: {row['reason']}"
        print(
            f"  {mark} {row['box']!s:16} {row['lesson']} {row['frames']!s:>6} frames, start {row['startup_ms']} ms{why}"
        )
    return 0 if report.rows and all(row["ok"] for row in report.rows) else 1


def withdraw_one(portal: str, taken: list[Lesson], edge_dir: list[str], report: Report) -> int:
    """Withdraw the last lesson and ask every box for it."""
    lesson = taken[-1]
    print(f"\n下架 / withdraw: {lesson.item_id} {lesson.title}")
    run(["central-platform", "withdraw", lesson.item_id, "--dir", str(DEMO / "central"), "--json"])
    run(["edge-server", "sync", *edge_dir, "--json"])
    absent = run(
        ["stb-emulator", "matrix", "--portal", portal, "--json", "--expect-absent", lesson.item_id], fine=(0, 1)
    )
    gone = absent[-1]["type"] == "summary" and bool(absent[-1]["ok"])
    report.withdrawn = {"item_id": lesson.item_id, "found_by_no_box": gone}
    print("  没有机顶盒能找到它 / no box finds it" if gone else "  仍能找到 / STILL FOUND")
    return 0 if gone else 1


def records_home(report: Report) -> int:
    """Look whether the edge's records have come home."""
    print("\n记录送回中心 / records come home")
    for _ in range(RECORDS_LOOKS):
        lines = run(["central-platform", "records", "status", "--dir", str(DEMO / "central"), "--json"])
        report.records = [line for line in lines if line["type"] == "item"]
        if report.records:
            break
        time.sleep(0.5)
    for each in report.records:
        good = "可信 / verified" if each["verified"] else f"不可信 / unverified: {each['doubts']}"
        print(f"  {each['edge']}: {each['records']}  {good}")
    if not report.records:
        print("  没有送到 / NOTHING ARRIVED")
    return 0 if report.records and all(each["verified"] for each in report.records) else 1


def wait_for_interrupt() -> None:
    """Return at Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def save(report: Report) -> None:
    """Write .demo/report.json."""
    text = json.dumps(report.__dict__, ensure_ascii=False, indent=1)
    (DEMO / "report.json").write_text(text + "\n", encoding="utf-8")


def summarise(report: Report, portal: str, rtsp: str, code: int) -> None:
    """Print what a person wants to know at the end."""
    good = sum(bool(row["ok"]) for row in report.rows)
    print(f"\n{good}/{len(report.rows)} 行正常 / rows ok；拒绝 / refused: {len(report.refused)}")
    print(f"网页 / open in a browser: {portal}")
    print(f"RTSP: {rtsp}")
    print(f"报告 / report: {DEMO / 'report.json'}  {DEMO / 'report.html'}")
    print("演示成功 / demo passed" if code == 0 else "演示失败 / DEMO FAILED")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        print(f"\n演示失败 / DEMO FAILED: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
