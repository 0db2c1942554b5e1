"""``central-platform plan`` and ``questionnaire``: what villages study on which day, and what they are asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from central_platform.cli.common import ROOT, disk_failure, open_desk, read_config
from runtime.clock import SystemClock
from runtime.output import JSON, Exit, Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from central_platform.publish.desk import Desk
    from domain.courseware import Catalogue
    from domain.village import Village


@click.group()
def plan() -> None:
    """学习计划。 / Study plans."""


@plan.command("add")
@click.option("--day", required=True, help="日期，如 2026-12-05 / the day.")
@click.option("--title", required=True, help="标题 / title.")
@click.option("--item", "items", multiple=True, help="课件编号，可多个 / id of a lesson; several.")
@click.option("--station", "stations", multiple=True, help="站点编号，缺省全部 / code of a station; all if not given.")
@ROOT
@JSON
def plan_add(
    day: str, title: str, items: tuple[str, ...], stations: tuple[str, ...], root: Path, as_json: bool
) -> None:
    """发布学习计划，随同步到达各站点。 / Publish a study plan; it comes to the stations by sync."""
    from central_platform.publish.villages import with_plan

    out = Output(json=as_json)
    made = []

    def edit(village: Village, catalogue: Catalogue) -> Village:
        edited, added = with_plan(village, catalogue, day=day, title=title, item_ids=items, stations=stations)
        made.append(added)
        return edited

    _edit(out, root, edit)
    out.emit("summary", plan=made[0].plan)
    if not as_json:
        out.say(f"已发布 / published: {made[0].plan} {made[0].title}")


@click.group()
def questionnaire() -> None:
    """调查问卷。 / Questionnaires."""


@questionnaire.command("add")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@ROOT
@JSON
def questionnaire_add(file: Path, root: Path, as_json: bool) -> None:
    """发布问卷（TOML 文件）。 / Publish a questionnaire, a TOML file (docs/protocols/village.md)."""
    from central_platform.publish.villages import with_questionnaire

    out = Output(json=as_json)
    made = []

    def edit(village: Village, catalogue: Catalogue) -> Village:
        edited, added = with_questionnaire(village, file.read_bytes())
        made.append(added)
        return edited

    _edit(out, root, edit)
    out.emit("summary", questionnaire=made[0].questionnaire, version=made[0].version)
    if not as_json:
        out.say(f"已发布 / published: {made[0].questionnaire} {made[0].title}")


def _remove(name: str, root: Path, as_json: bool) -> None:
    from central_platform.publish.villages import without

    out = Output(json=as_json)
    _edit(out, root, lambda village, catalogue: without(village, name))
    out.emit("summary", removed=name)
    if not as_json:
        out.say(f"已撤回 / taken back: {name}")


def _list(root: Path, as_json: bool, kind: str) -> None:
    out = Output(json=as_json)
    read_config(out, root)
    village = open_desk(out, root).village()
    for each in village.plans if kind == "plan" else ():
        out.emit("item", plan=each.plan, day=each.day, title=each.title, items=each.item_ids, stations=each.stations)
        if not as_json:
            out.say(f"{each.plan}  {each.title}  {' '.join(each.item_ids)}")
    for form in village.questionnaires if kind == "questionnaire" else ():
        out.emit("item", questionnaire=form.questionnaire, title=form.title, version=form.version, until=form.until)
        if not as_json:
            out.say(f"{form.questionnaire}  {form.title}  第 {form.version} 版，至 / until {form.until}")
    out.emit("summary", plans=len(village.plans), questionnaires=len(village.questionnaires))


def _commands(group: click.Group, kind: str, words: str) -> None:
    @group.command("remove", help=f"撤回{words}。 / Take one back.")
    @click.argument("name", metavar="ID")
    @ROOT
    @JSON
    def remove(name: str, root: Path, as_json: bool) -> None:
        _remove(name, root, as_json)

    @group.command("list", help=f"列出{words}。 / List what is published.")
    @ROOT
    @JSON
    def list_them(root: Path, as_json: bool) -> None:
        _list(root, as_json, kind)


_commands(plan, "plan", "学习计划")
_commands(questionnaire, "questionnaire", "问卷")


def _edit(out: Output, root: Path, edit: Callable[[Village, Catalogue], Village]) -> Desk:
    from central_platform.publish.catalogue import EditError, UnknownItem
    from central_platform.publish.desk import DeskBusy

    read_config(out, root)
    desk = open_desk(out, root)
    try:
        desk.edit_village(edit, SystemClock().utc())
    except UnknownItem as error:
        raise out.fail(Exit.FAILED, "unknown", str(error)) from error
    except EditError as error:
        raise out.fail(Exit.USAGE, "bad_request", str(error)) from error
    except DeskBusy as error:
        raise out.fail(Exit.FAILED, "busy", str(error)) from error
    except OSError as error:
        raise disk_failure(out, error) from error
    return desk
