"""``stb-emulator``: old and new boxes on the command line (exit codes: architecture §7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from runtime.output import Exit, Output

if TYPE_CHECKING:
    from stb_emulator.boxes import Box
    from stb_emulator.lab.actions import Outcome
    from stb_emulator.lab.parity import Parity
    from stb_emulator.observe import Observation
    from stb_emulator.seat import Seat


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rural-media-edge")
def cli() -> None:
    """用软件机顶盒检验播放 / Try lessons on old and new set-top boxes made of software."""


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="JSON lines on stdout.")
def boxes(as_json: bool) -> None:
    """列出机顶盒型号 / List the box models."""
    out = Output(json=as_json)
    for box in _boxes(out).values():
        out.emit("item", **msgspec.to_builtins(box))
        if not as_json:
            out.say(f"{box.name:16} {box.title}  ({box.portal}, {box.player})")


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that ``play`` and ``matrix`` share."""
    options = [
        click.option("--seconds", type=click.FloatRange(min=0.1), help="Play so much of a lesson; default: all of it."),
        click.option("--max-stall-ms", type=click.IntRange(min=0), help="Fail a lesson that stalls longer than this."),
        click.option("--user", help="Account of the old boxes, instead of the box file's."),
        click.option("--password", help="Password of that account."),
        click.option("--allow", multiple=True, metavar="HOST", help="A host besides loopback that boxes may talk to."),
        click.option("--expect-absent", metavar="ITEM", help="Succeed only if no box finds this lesson."),
        click.option("--json", "as_json", is_flag=True, help="JSON lines on stdout."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class _Common:
    """The values of the shared options."""

    seconds: float | None
    max_stall_ms: int | None
    user: str | None
    password: str | None
    allow: tuple[str, ...]
    expect_absent: str | None
    as_json: bool


@cli.command()
@click.option("--box", "name", required=True, help="Box model, see `boxes`.")
@click.option("--portal", help="Address of the edge, e.g. http://127.0.0.1:8080.")
@click.option("--url", help="Play this address instead of asking a portal.")
@click.option("--item", help="Lesson id; default: the first lesson listed.")
@_common
def play(name: str, portal: str | None, url: str | None, item: str | None, **rest: Any) -> None:
    """用一台盒子播放一课 / Play one lesson on one box; exit 0 only if it really played."""
    from stb_emulator.lab.telling import say_row

    common = _Common(**rest)
    out = Output(json=common.as_json)
    box = _account(_chosen(out, (name,))[0], common)
    if (portal is None) is (url is None):
        raise click.UsageError("give --portal or --url, one of them")
    if url is not None and common.expect_absent:
        raise click.UsageError("--expect-absent asks a portal: give --portal")
    seat = _seat(out, portal or url or "", common)
    if common.expect_absent:
        _absent(out, seat, [box], common.expect_absent)
        return
    row = asyncio.run(_watch(seat, box, item, url))
    out.emit("item", **msgspec.to_builtins(row))
    if not common.as_json:
        say_row(out, row)
    _finish(out, [row], seat)


@cli.command()
@click.option("--portal", required=True, help="Address of the edge, e.g. http://127.0.0.1:8080.")
@click.option("--box", "names", multiple=True, help="Only this box model (repeatable); default: all.")
@click.option(
    "--lesson", "lessons", multiple=True, help="Only this lesson (repeatable); default: all that any box lists."
)
@click.option(
    "--actions",
    default="login,list,play",
    show_default=True,
    help="What to ask of every box: login, list, play, pause, seek, trick, end, heartbeat, relogin, redirect; or all.",
)
@click.option("--concurrency", type=click.IntRange(1, 256), help="Boxes playing at the same time.  [default: 8]")
@click.option("--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here.")
@click.option("--junit", "junit_file", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML here.")
@_common
def matrix(
    portal: str,
    names: tuple[str, ...],
    lessons: tuple[str, ...],
    actions: str,
    concurrency: int | None,
    html_file: Path | None,
    junit_file: Path | None,
    **rest: Any,
) -> None:
    """每台盒子播放每一课 / Play every lesson on every box; exit 0 only if all of them played."""
    from stb_emulator.lab import rounds
    from stb_emulator.lab.actions import parse
    from stb_emulator.lab.telling import print_matrix

    try:
        asked = parse(actions)
    except ValueError as error:
        raise click.UsageError(f"--actions: {error}") from error
    common = _Common(**rest)
    out = Output(json=common.as_json)
    chosen = [_account(b, common) for b in _chosen(out, names)]
    seat = _seat(out, portal, common)
    if common.expect_absent:
        _absent(out, seat, chosen, common.expect_absent)
        return
    bar = out.progress("matrix")

    def on_outcome(each: Outcome) -> None:
        out.emit("action", **msgspec.to_builtins(each))

    def on_row(row: Observation, done: int, total: int) -> None:
        out.emit("item", **msgspec.to_builtins(row))
        bar(done / total)

    at_once = concurrency or _settings(out, {}).concurrency
    told = rounds.Told(on_row, on_outcome)
    found = asyncio.run(rounds.run(seat, chosen, actions=asked, only=lessons, concurrency=at_once, told=told))
    rows, parity = found.rows, found.parity
    known = {b.name: b for b in chosen}
    if html_file is not None:
        made = seat.clock.utc().strftime("%Y-%m-%d %H:%M:%S UTC")
        html_file.write_text(found.html(known, portal=portal, made=made), encoding="utf-8")
    if junit_file is not None:
        junit_file.write_text(found.junit(), encoding="utf-8")
    for each in parity.differences:
        out.emit("difference", **msgspec.to_builtins(each))
    for each in parity.excused:
        out.emit("excused", **msgspec.to_builtins(each))
    if not common.as_json:
        print_matrix(found, known)
    _finish(out, rows, seat, parity, found.outcomes)


@cli.command()
@click.option("--portal", required=True, help="Address of the edge, e.g. http://127.0.0.1:8080.")
@click.option("--box", "names", multiple=True, help="Only this box model (repeatable); default: all.")
@click.option("--item", required=True, help="Lesson id to wait for.")
@click.option("--within", "within_s", type=click.FloatRange(min=1.0), default=900.0, show_default=True, help="Seconds.")
@_common
def lag(portal: str, names: tuple[str, ...], item: str, within_s: float, **rest: Any) -> None:
    """新课件多久在每台盒子上出现 / How long until every box lists a new lesson; exit 0 only if all do."""
    from stb_emulator.lab import matrix as lab

    common = _Common(**rest)
    out = Output(json=common.as_json)
    chosen = [_account(b, common) for b in _chosen(out, names)]
    seat = _seat(out, portal, common)
    began_s = seat.clock.monotonic()
    found = asyncio.run(lab.lag(seat, chosen, item, within_s=within_s))
    for name, first_s in found.first_s.items():
        after_s = None if first_s is None else round(first_s - began_s, 3)
        out.emit("item", box=name, lesson=item, ok=first_s is not None, after_s=after_s)
        if not common.as_json:
            out.say(f"{name}: {'一直没有出现 never listed' if after_s is None else f'{after_s:.1f} s'}")
    out.emit("summary", ok=found.seconds is not None, lesson=item, parity_lag_s=found.seconds)
    if found.seconds is None:
        raise click.exceptions.Exit(int(Exit.FAILED))
    if not common.as_json:
        out.say(f"最早与最晚相差 parity lag: {found.seconds:.1f} s")


@cli.command()
@click.option("--portal", required=True, help="Address of a lab edge, e.g. http://127.0.0.1:8080.")
@click.option("--rows", "names", default="", metavar="D1,D9", help="Only these rows; default: all.")
@click.option("--lesson", "item", default="", help="Play this lesson; default: the first video listed.")
@click.option("--crowded", multiple=True, metavar="RTSP", help="rtsp://host:port of an edge that is full (D18).")
@click.option("--group", default="", metavar="IGMP", help="igmp://group:port?fcc=host:port of a channel (D8).")
@click.option("--strict", default="", metavar="D13", help="Rows to make fail by a stricter box, where it is the box's.")
@click.option("--no-play", is_flag=True, help="Rows about portals only list; then the run is short.")
@click.option("--concurrency", type=click.IntRange(1, 64), default=8, show_default=True, help="Boxes at the same time.")
@click.option("--junit", "junit_file", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML here.")
@click.option("--allow", multiple=True, metavar="HOST", help="A host besides loopback that boxes may talk to.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines on stdout.")
def disagreements(**given: Any) -> None:
    """新老机顶盒的已知分歧逐条验证 / Try the known disagreements of boxes, D1 to D24; exit 0 only if none shows."""
    from stb_emulator.lab.disagreements.command import try_rows

    out = Output(json=given["as_json"])
    common = _Common(None, None, None, None, given["allow"], None, given["as_json"])
    code = try_rows(out, _seat(out, given["portal"], common), _boxes(out), **given)
    if code is not Exit.OK:
        raise click.exceptions.Exit(int(code))


async def _watch(seat: Seat, box: Box, item: str | None, url: str | None) -> Observation:
    if url is None:
        return await seat.watch(box, item)
    from stb_emulator.observe import Offer

    return await seat.play_url(box, Offer(item_id=item or url, title="", column="", family="video", url=url))


def _absent(out: Output, seat: Seat, chosen: list[Box], item: str) -> None:
    """Ask every box for its list; the lesson must be in none, and every box must have been able to look."""
    from stb_emulator.lab.matrix import list_all
    from stb_emulator.observe import PlayError, Unreachable

    rows: list[dict[str, Any]] = []
    nobody = True
    for name, listing in asyncio.run(list_all(seat, chosen)).items():
        nobody = nobody and isinstance(listing, Unreachable)
        if isinstance(listing, PlayError):
            ok, stage, reason = False, str(listing.stage), str(listing.reason)
        else:
            found = any(o.item_id == item for o in listing)
            ok, stage, reason = not found, "browse", "仍在列表中 / still listed" if found else ""
        rows.append({"box": name, "lesson": item, "ok": ok, "stage": stage, "reason": reason})
        out.emit("item", **rows[-1])
        if not out.json:
            out.say(f"{name}: {'没有 absent' if ok else reason}")
    passed = sum(r["ok"] for r in rows)
    out.emit("summary", ok=passed == len(rows), rows=len(rows), passed=passed, failed=len(rows) - passed)
    if passed < len(rows):
        raise _nobody(out, seat) if nobody else click.exceptions.Exit(int(Exit.FAILED))


def _nobody(out: Output, seat: Seat) -> click.exceptions.Exit:
    words = f"连不上 {seat.portal_url} / nobody answers at {seat.portal_url}"
    return out.fail(Exit.UNREACHABLE, "unreachable", words)


def _finish(
    out: Output, rows: list[Observation], seat: Seat, parity: Parity | None = None, outcomes: Sequence[Outcome] = ()
) -> None:
    from stb_emulator.lab.telling import sum_up

    if sum_up(out, rows, parity, outcomes):
        return
    if rows and all(r.unreachable for r in rows):
        raise _nobody(out, seat)
    raise click.exceptions.Exit(int(Exit.FAILED))


def _boxes(out: Output) -> dict[str, Box]:
    from stb_emulator.boxes import BoxError, load_all

    try:
        return load_all()
    except BoxError as error:
        raise out.fail(Exit.BAD_CONFIG, "bad_box", str(error)) from error


def _chosen(out: Output, names: tuple[str, ...]) -> list[Box]:
    known = _boxes(out)
    for name in names:
        if name not in known:
            raise click.UsageError(f"no box is called {name!r}; there are: {', '.join(known)}")
    return [known[n] for n in dict.fromkeys(names)] if names else list(known.values())


def _account(box: Box, common: _Common) -> Box:
    account = msgspec.structs.replace(
        box.account,
        user=box.account.user if common.user is None else common.user,
        password=box.account.password if common.password is None else common.password,
    )
    return msgspec.structs.replace(box, account=account)


def _settings(out: Output, flags: dict[str, object]) -> Any:
    from runtime.settings import ConfigError
    from stb_emulator.config import load

    try:
        return load(flags)
    except ConfigError as error:
        raise out.fail(Exit.BAD_CONFIG, "bad_config", str(error)) from error


def _seat(out: Output, portal: str, common: _Common) -> Seat:
    from runtime.clock import SystemClock
    from stb_emulator.observe import NotAllowed, Stage
    from stb_emulator.seat import Seat

    settings = _settings(out, {})
    allowed = (*common.allow, *settings.allow.split(","))
    seat = Seat(
        portal_url=portal,
        clock=SystemClock(),
        allowed=allowed,
        connect_s=settings.connect_timeout_s,
        silence_s=settings.silence_timeout_s,
        seconds=common.seconds,
        max_stall_ms=common.max_stall_ms,
    )
    try:
        seat.guard.check(portal, Stage.LOGIN)
    except NotAllowed as error:
        raise click.UsageError(str(error.reason)) from error
    return seat


def main() -> None:
    """Run the program."""
    try:
        code = cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        raise SystemExit(int(Exit.USAGE)) from error
    except (KeyboardInterrupt, click.Abort):
        raise SystemExit(int(Exit.INTERRUPTED)) from None
    raise SystemExit(code if isinstance(code, int) else int(Exit.OK))
