"""What editing does to study plans and questionnaires. Pure."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from central_platform.publish.catalogue import EditError, UnknownItem, checked_title
from domain.courseware import Catalogue
from domain.village import Questionnaire, StudyPlan, Village, VillageError, encode_village


def with_plan(
    village: Village,
    catalogue: Catalogue,
    *,
    day: str,
    title: str,
    item_ids: Collection[str],
    stations: Collection[str],
) -> tuple[Village, StudyPlan]:
    """Add a study plan; its id is the day, with a number behind it when there are several.

    Raises:
        EditError: a day or title that is none, or a lesson that is not published.
    """
    unknown = [each for each in item_ids if catalogue.item(each) is None]
    if unknown:
        raise EditError(f"没有这些课件 / these lessons are not published: {', '.join(unknown)}")
    taken = {each.plan for each in village.plans}
    name = next(each for n in range(1, 10_000) if (each := day if n == 1 else f"{day}-{n}") not in taken)
    plan = StudyPlan(
        plan=name,
        title=checked_title(title, "标题 / title"),
        day=day,
        item_ids=tuple(item_ids),
        stations=tuple(stations),
    )
    return _checked(msgspec.structs.replace(village, plans=(*village.plans, plan))), plan


def with_questionnaire(village: Village, given: bytes) -> tuple[Village, Questionnaire]:
    """Add a questionnaire from TOML, or replace the one of the same id by a higher version.

    Raises:
        EditError: it cannot be read or answered; or it is there in this version already.
    """
    try:
        form = msgspec.toml.decode(given, type=Questionnaire)
    except (msgspec.MsgspecError, ValueError) as error:
        raise EditError(f"问卷文件有误 / not a questionnaire: {error}") from error
    known = village.questionnaire(form.questionnaire)
    if known is not None and form.version <= known.version:
        raise EditError(
            f"问卷 {form.questionnaire} 已发布第 {known.version} 版；改动后请把 version 加 1 / "
            f"version {known.version} is published already; write a higher one"
        )
    rest = tuple(each for each in village.questionnaires if each is not known)
    return _checked(msgspec.structs.replace(village, questionnaires=(*rest, form))), form


def without(village: Village, name: str) -> Village:
    """Take a plan or a questionnaire back.

    Raises:
        UnknownItem: there is none of this id.
    """
    plans = tuple(each for each in village.plans if each.plan != name)
    forms = tuple(each for each in village.questionnaires if each.questionnaire != name)
    if (len(plans), len(forms)) == (len(village.plans), len(village.questionnaires)):
        raise UnknownItem(f"没有 {name} / there is no {name}")
    return msgspec.structs.replace(village, plans=plans, questionnaires=forms)


def _checked(village: Village) -> Village:
    try:
        encode_village(village)
    except VillageError as error:
        raise EditError(f"不能发布 / cannot be published: {error}") from error
    return village
