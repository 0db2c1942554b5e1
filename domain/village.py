"""What the central platform asks of the villages: study plans (学习计划) and questionnaires (调查问卷).

One JSON document under the name ``VILLAGE_PATH`` in the channel of the columns, so signed and brought like a lesson.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

VILLAGE_PATH = "village.json"
VILLAGE_FORMAT = 1
VILLAGE_MAX_BYTES = 4 * 1024 * 1024
PLANS_MAX_COUNT = 1000
QUESTIONNAIRES_MAX_COUNT = 100
QUESTIONS_MAX_COUNT = 50
CHOICES_MAX_COUNT = 9
"""A remote control answers with one digit."""

Code = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Title = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d$")]
"""ISO 8601, in the time of the villages."""


class VillageError(ValueError):
    """The bytes are no such document, or one that makes no sense."""


class StudyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One study day (集中学习日)."""

    plan: Code
    title: Title
    day: Day
    item_ids: Annotated[tuple[Code, ...], Meta(max_length=50)] = ()
    stations: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=5000)] = ()
    """Codes; empty: all."""

    def is_for(self, station: str) -> bool:
        """Whether this station is asked."""
        return not self.stations or station in self.stations


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question."""

    question: Code
    words: Title
    kind: Literal["one", "many", "number", "words"] = "one"
    """One of the choices, several of them, a number of up to four digits, or free words (not on a remote control)."""
    choices: Annotated[tuple[Title, ...], Meta(max_length=CHOICES_MAX_COUNT)] = ()


class Questionnaire(msgspec.Struct, frozen=True, kw_only=True):
    """One questionnaire; anonymous."""

    questionnaire: Code
    title: Title
    version: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    until: Day
    """The last day on which it is asked."""
    questions: Annotated[tuple[Question, ...], Meta(min_length=1, max_length=QUESTIONS_MAX_COUNT)]


class Village(msgspec.Struct, frozen=True, kw_only=True):
    """The document. Unknown members are ignored."""

    format: int = VILLAGE_FORMAT
    plans: Annotated[tuple[StudyPlan, ...], Meta(max_length=PLANS_MAX_COUNT)] = ()
    questionnaires: Annotated[tuple[Questionnaire, ...], Meta(max_length=QUESTIONNAIRES_MAX_COUNT)] = ()

    def plan(self, plan: str) -> StudyPlan | None:
        """Find a plan."""
        return next((each for each in self.plans if each.plan == plan), None)

    def questionnaire(self, questionnaire: str) -> Questionnaire | None:
        """Find a questionnaire."""
        return next((each for each in self.questionnaires if each.questionnaire == questionnaire), None)

    def asked_on(self, day: date) -> tuple[Questionnaire, ...]:
        """Return the questionnaires that are still asked on a day."""
        return tuple(each for each in self.questionnaires if each.until >= day.isoformat())


def encode_village(village: Village) -> bytes:
    """Write the document.

    Raises:
        VillageError: it makes no sense.
    """
    raw = msgspec.json.format(msgspec.json.encode(village), indent=1) + b"\n"
    decode_village(raw)
    return raw


def decode_village(raw: bytes) -> Village:
    """Read the document.

    Raises:
        VillageError: too long, not of this shape, another format, or it makes no sense.
    """
    if len(raw) > VILLAGE_MAX_BYTES:
        raise VillageError(f"{VILLAGE_PATH} of {len(raw)} bytes; at most {VILLAGE_MAX_BYTES}")
    try:
        village = msgspec.json.decode(raw, type=Village)
    except msgspec.MsgspecError as error:
        raise VillageError(f"{VILLAGE_PATH}: {error}") from error
    if village.format != VILLAGE_FORMAT:
        raise VillageError(f"{VILLAGE_PATH} has format {village.format}; this version reads {VILLAGE_FORMAT}")
    for plan in village.plans:
        _day(plan.day)
    for form in village.questionnaires:
        _day(form.until)
        check_questions(form)
    return village


def check_questions(form: Questionnaire) -> None:
    """Look whether a questionnaire can be answered.

    Raises:
        VillageError: it cannot; the message says which question.
    """
    seen: set[str] = set()
    for each in form.questions:
        if each.question in seen:
            raise VillageError(f"{form.questionnaire}: question {each.question} stands twice")
        seen.add(each.question)
        if (each.kind in ("one", "many")) is (len(each.choices) < 2):
            raise VillageError(
                f"{form.questionnaire}: question {each.question} of kind {each.kind} with {len(each.choices)} choices; "
                f"`one` and `many` have 2 to {CHOICES_MAX_COUNT}, others none"
            )


def checked_answer(question: Question, given: str) -> str | None:
    """Return an answer as it is kept: a number, numbers with commas, or words; None when it does not fit."""
    given = given.strip()
    if question.kind == "words":
        return given[:500] or None
    if question.kind == "number":
        return str(int(given)) if given.isascii() and given.isdigit() and len(given) <= 4 else None
    chosen = [each for each in given.replace("，", ",").split(",") if each]
    fine = {str(number) for number in range(1, len(question.choices) + 1)}
    if not chosen or not set(chosen) <= fine or (question.kind == "one" and len(chosen) != 1):
        return None
    return ",".join(sorted(set(chosen)))


def _day(text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise VillageError(f"{text!r} is no day: {error}") from error
