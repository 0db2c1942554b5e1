"""What an edge tells the central platform of its stations: study sessions, faults, answers, probes, heartbeats.

A station is named by its code (`station`); no record has a person's name, number or telephone (SEC-11): who came is a
head-count. Members that a reader does not know are ignored, so that old central platforms read new edges.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

CODE_MAX_LETTERS = 64
WORDS_MAX_LETTERS = 500
ANSWERS_MAX_COUNT = 100
HEADS_MAX_COUNT = 10_000

Code = Annotated[str, Meta(max_length=CODE_MAX_LETTERS, pattern=r"^[^\x00-\x20\x7f]*$")]
"""An id or code; empty where there is none."""
Words = Annotated[str, Meta(max_length=WORDS_MAX_LETTERS)]
Moment = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")]
"""RFC 3339 in UTC, by the edge's clock."""
Count = Annotated[int, Meta(ge=0, le=1 << 60)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]

Kind = Literal["session", "fault", "answer", "need", "probe", "heartbeat"]
KINDS: tuple[Kind, ...] = ("session", "fault", "answer", "need", "probe", "heartbeat")
DISPENSABLE: frozenset[Kind] = frozenset({"probe", "heartbeat"})
"""What a full disk costs first: the next one says as much."""


class RecordError(ValueError):
    """The body of a record is not of the shape that its kind has."""


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """学习记录: one lesson studied together."""

    session: Code
    """Made by the edge; the same in no other record."""
    item_id: Code
    began_at: Moment
    ended_at: Moment
    head_count: Annotated[int, Meta(ge=0, le=HEADS_MAX_COUNT)] = 0
    plan: Code = ""
    """Of the study plan; empty when it was not planned."""
    delivered_bytes: Count = 0
    """Of media, that left for the box while the session ran."""
    played_s: Seconds = 0.0
    challenged: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Random questions that were asked whether somebody watches."""
    passed: Annotated[int, Meta(ge=0, le=1000)] = 0
    effective_s: Seconds = 0.0
    """有效学习时长 of this session by the rule of the glossary: 0 without media bytes or with a failed challenge."""
    cut: bool = False
    """The power failed, or nobody ended it: its end is the last sign of life."""


class FaultRecord(msgspec.Struct, frozen=True, kw_only=True):
    """故障: what somebody reported, or the edge saw by itself."""

    fault: Code
    what: Code
    """The stage or the kind, e.g. ``no-picture``, ``stall``, ``uplink``, ``disk``."""
    began_at: Moment
    source: Literal["person", "page", "box", "edge"]
    item_id: Code = ""
    box: Code = ""
    """Model of the box, or its number at the station; never an account."""
    words: Words = ""
    health_code: Annotated[str, Meta(max_length=6, pattern=r"^\d*$")] = ""


class AnswerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One filled questionnaire; anonymous."""

    answer: Code
    questionnaire: Code
    version: Annotated[int, Meta(ge=0, le=1 << 31)] = 0
    given: Annotated[dict[Code, Words], Meta(max_length=ANSWERS_MAX_COUNT)]
    """Question id → the chosen number, numbers with commas, or words."""
    way: Literal["box", "web", "phone", "paper"] = "web"


class NeedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """需求: a lesson that is missing, or one that is wrong."""

    need: Code
    about: Literal["lesson-wanted", "lesson-wrong", "visit-wanted"]
    item_id: Code = ""
    words: Words = ""


class ProbeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """探测: one attempt to play as a box does."""

    box: Code
    item_id: Code
    stage: Code
    """``ok``, or where it failed."""
    startup_ms: Count | None = None
    stalls: Count = 0


class HeartbeatRecord(msgspec.Struct, frozen=True, kw_only=True):
    """心跳 of the edge itself."""

    snapshot: Count
    """Sequence number of the active snapshot."""
    items: Count
    missing_bytes: Count = 0
    boxes: Count = 0
    """That were heard lately."""
    playing: Count = 0
    up_s: Seconds = 0.0
    free_bytes: Count = 0
    dropped: Count = 0
    """Records that a full disk cost since the spool was made."""
    program: Code = ""


Body = SessionRecord | FaultRecord | AnswerRecord | NeedRecord | ProbeRecord | HeartbeatRecord
_TYPES: dict[str, type[Body]] = {
    "session": SessionRecord,
    "fault": FaultRecord,
    "answer": AnswerRecord,
    "need": NeedRecord,
    "probe": ProbeRecord,
    "heartbeat": HeartbeatRecord,
}
_KIND_OF: dict[type[Body], Kind] = {_TYPES[kind]: kind for kind in KINDS}


def kind_of(body: Body) -> Kind:
    """Name the kind of a record."""
    return _KIND_OF[type(body)]


def encode_body(body: Body) -> bytes:
    """Write a body as one line of JSON.

    Raises:
        RecordError: a member is out of its bounds.
    """
    raw = msgspec.json.encode(body)
    decode_body(kind_of(body), raw)  # a Struct does not check what it is made of
    return raw


def decode_body(kind: str, raw: bytes | msgspec.Raw) -> Body:
    """Read a body.

    Raises:
        RecordError: an unknown kind, or not of its shape.
    """
    shape = _TYPES.get(kind)
    if shape is None:
        raise RecordError(f"unknown kind {kind[:40]!r}")
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.MsgspecError as error:
        raise RecordError(f"{kind}: {error}") from error
