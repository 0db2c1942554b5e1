"""An edge's spool and a central ledger beside it, with times that a test chooses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from central_platform.roster import Roster
from domain.records import AnswerRecord, Body, FaultRecord, HeartbeatRecord, SessionRecord
from edge_server.records.key import public_hex
from edge_server.records.spool import Spool

T0 = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
EDGE = "town-7"
_ids = count()


def a_key(number: int = 1) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def a_spool(root: Path, *, edge: str = EDGE, key: int = 1, store: int = 1) -> Spool:
    numbers = count(store)
    return Spool(root, edge, a_key(key), new_id=lambda: f"{next(numbers):016x}")


def a_roster(root: Path, *, edge: str = EDGE, key: int = 1) -> Roster:
    roster = Roster(root)
    roster.add(edge, public_hex(a_key(key)))
    return roster


def moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def a_session(number: int, at: datetime = T0, **more: object) -> SessionRecord:
    made = SessionRecord(
        session=f"s{number}",
        item_id="1001",
        began_at=moment(at),
        ended_at=moment(at + timedelta(minutes=40)),
        head_count=21,
        effective_s=2400.0,
    )
    return msgspec.structs.replace(made, **more)


def a_fault(number: int, at: datetime = T0) -> FaultRecord:
    return FaultRecord(
        fault=f"f{number}", what="no-picture", began_at=moment(at), source="page", words="有声音没有图像"
    )


def an_answer(number: int) -> AnswerRecord:
    return AnswerRecord(answer=f"a{number}", questionnaire="q1", given={"1": "2", "2": "1,3", "3": "灌溉"})


def a_beat() -> HeartbeatRecord:
    return HeartbeatRecord(snapshot=7, items=12)


def fill(spool: Spool, bodies: list[Body], at: datetime = T0, *, station: str = "v-001") -> list[int]:
    return [
        spool.append(each, station=station, now=at + timedelta(seconds=number), sure=True)
        for number, each in enumerate(bodies)
    ]
