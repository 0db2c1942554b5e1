from __future__ import annotations

import random
import sqlite3
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_platform.intake.judge import Link, chain
from central_platform.intake.ledger import FORGED, UNKNOWN, Ledger
from central_platform.intake.sticks import take_in
from central_platform.roster import RosterError
from domain import records as words
from domain.records import HeartbeatRecord, RecordError, SessionRecord
from edge_server.records import spool as spool_module
from edge_server.records.key import KeyDamaged, load_key, public_hex
from edge_server.records.spool import SPOOL_NAME, Spool, SpoolFull
from edge_server.uplink.push import RETRY_MAX_S, pause_s
from tests.records_lab import EDGE, T0, a_beat, a_fault, a_key, a_roster, a_session, a_spool, an_answer, fill
from wire.records import Held, RecordLineError, read_line, read_lines, to_bytes, write_line


def lines(spool: Spool) -> list[bytes]:
    return spool.waiting(max_bytes=1 << 30)


def test_a_record_is_signed_numbered_and_chained(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    assert fill(spool, [a_session(1), a_fault(1), an_answer(1)]) == [1, 2, 3]
    read = [read_line(each) for each in lines(spool)]
    assert [each.record.seq for each in read] == [1, 2, 3]
    assert [each.record.prev for each in read] == ["", read[0].digest, read[1].digest]
    assert all(each.is_signed_by(a_key().public_key()) for each in read)
    assert not any(each.is_signed_by(a_key(2).public_key()) for each in read)


def test_openssl_agrees_about_the_signature(tmp_path: Path) -> None:
    import subprocess

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    spool = a_spool(tmp_path)
    fill(spool, [a_session(1)])
    raw = lines(spool)[0].rstrip(b"\n")
    (tmp_path / "key.pem").write_bytes(
        a_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "sig").write_bytes(bytes.fromhex(raw[:128].decode()))
    (tmp_path / "what").write_bytes(b"rural-media-edge record 1\n" + raw[129:])
    command = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "key.pem",
        "-rawin",
        "-sigfile",
        "sig",
        "-in",
        "what",
    ]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    (tmp_path / "what").write_bytes(b"rural-media-edge record 1\n" + raw[129:] + b" ")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode != 0


@given(st.binary(max_size=400))
def test_no_bytes_crash_the_reader(raw: bytes) -> None:
    for each in read_lines(raw):
        assert isinstance(each, RecordLineError)


def test_each_flipped_byte_of_a_line_is_seen(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    fill(spool, [a_session(1)])
    raw = lines(spool)[0].rstrip(b"\n")
    key = a_key().public_key()
    for place in range(len(raw)):
        bad = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        try:
            line = read_line(bad)
        except RecordLineError:
            continue
        assert not line.is_signed_by(key), place


def test_a_record_beyond_its_bounds_is_refused_where_it_is_made(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    with pytest.raises(RecordError, match="head_count"):
        spool.append(a_session(1, head_count=20_000), station="v", now=T0, sure=True)
    assert spool.state().last_seq == 0


def test_no_record_has_a_field_for_a_person() -> None:
    forbidden = ("name", "phone", "tel", "mobile", "user", "account", "idcard", "id_card", "email", "address", "person")
    for shape in words._TYPES.values():
        for field in msgspec.structs.fields(shape):
            assert not any(bad in field.name for bad in forbidden), (shape, field.name)


def test_what_is_home_is_not_delivered_again_unless_it_is_asked_for(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    fill(spool, [a_fault(n) for n in range(6)])
    store = spool.state().store
    assert spool.arrived(Held(edge=EDGE, store=store, spans=[(1, 2), (5, 5)])) == 3
    assert [read_line(each).record.seq for each in lines(spool)] == [3, 4, 6]
    assert spool.arrived(Held(edge=EDGE, store="f" * 16, spans=[(1, 6)])) == 0
    assert spool.arrived(Held(edge="other", store=store, spans=[(1, 6)])) == 0
    assert spool.send_again() == 3
    assert len(lines(spool)) == 6


def test_a_piece_is_as_long_as_asked_and_one_record_at_least(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    fill(spool, [a_fault(n) for n in range(10)])
    lengths = [len(each) for each in lines(spool)]
    assert len(spool.waiting(max_bytes=1)) == 1
    assert len(spool.waiting(max_bytes=sum(lengths[:3]))) == 3
    assert len(spool.waiting(max_bytes=sum(lengths[:4]) - 1)) == 3


def test_old_records_go_only_when_they_are_home(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    fill(spool, [a_session(1), a_beat(), a_session(2), a_beat()])
    spool.arrived(Held(edge=EDGE, store=spool.state().store, spans=[(1, 2)]))
    assert spool.forget(T0 + timedelta(days=99)) == 0
    assert spool.forget(T0 + timedelta(days=101)) == 1
    assert spool.forget(T0 + timedelta(days=401)) == 1
    assert spool.forget(T0 + timedelta(days=4000)) == 0
    assert [read_line(each).record.seq for each in lines(spool)] == [3, 4]
    assert fill(spool, [a_beat()]) == [5], "numbers are never used twice"


def test_heartbeats_make_room_for_what_people_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "DISPENSABLE_MAX_BYTES", 0)
    spool = a_spool(tmp_path)
    fill(spool, [a_session(1)])
    with pytest.raises(SpoolFull):
        fill(spool, [a_beat()])
    assert fill(spool, [a_session(2)]) == [2]
    assert spool.state().dropped == 1
    monkeypatch.setattr(spool_module, "SPOOL_MAX_BYTES", 0)
    with pytest.raises(SpoolFull):
        fill(spool, [a_session(3)])
    assert spool.state().last_seq == 2


def test_a_damaged_spool_is_put_aside(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    fill(spool, [a_fault(n) for n in range(50)])
    spool.close()
    raw = bytearray((tmp_path / SPOOL_NAME).read_bytes())
    raw[4096:] = bytes(len(raw) - 4096)
    (tmp_path / SPOOL_NAME).write_bytes(raw)
    anew = a_spool(tmp_path, store=2)
    assert anew.state().last_seq == 0
    assert anew.state().store != f"{1:016x}"
    assert (tmp_path / f"{SPOOL_NAME}.damaged-0").stat().st_size == len(raw)


def test_the_key_is_made_once_and_a_damaged_one_is_not_replaced(tmp_path: Path) -> None:
    first = public_hex(load_key(tmp_path))
    assert public_hex(load_key(tmp_path)) == first
    assert (tmp_path / "record-key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "record-key").write_text("0011")
    with pytest.raises(KeyDamaged, match="移走它"):
        load_key(tmp_path)


def test_shown_are_the_newest_of_a_kind(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    fill(spool, [a_session(n) for n in range(5)], station="v-001")
    fill(spool, [a_session(9), a_fault(9)], T0 + timedelta(days=1), station="v-002")
    found = spool.shown(["session"], since=T0, max_count=3)
    assert [each.body.session for each in found if isinstance(each.body, SessionRecord)] == ["s9", "s4", "s3"]
    assert [each.kind for each in spool.shown(["session", "fault"], since=T0, station="v-002", max_count=9)] == [
        "fault",
        "session",
    ]


# ---- the ledger ----


def test_duplicates_disorder_and_pieces_end_in_each_record_once(tmp_path: Path) -> None:
    spool, roster = a_spool(tmp_path), a_roster(tmp_path)
    ledger = Ledger(tmp_path)
    fill(spool, [a_session(n) for n in range(40)] + [a_fault(n) for n in range(20)])
    deliveries = [lines(spool)[n : n + 7] for n in range(0, 60, 7)] * 3
    random.Random(7).shuffle(deliveries)
    fresh = 0
    for each in deliveries:
        shuffled = random.Random(len(each)).sample(each, len(each))
        fresh += ledger.take(b"".join(shuffled), roster.keys_of, now=T0, road="line").fresh
    assert fresh == 60
    (state,) = ledger.states()
    assert state.kinds == {"fault": 20, "session": 40}
    assert state.doubts == []
    assert ledger.take(b"", roster.keys_of, now=T0, road="line").held == ()


def test_what_the_ledger_holds_comes_off_the_spool(tmp_path: Path) -> None:
    spool, roster, ledger = a_spool(tmp_path), a_roster(tmp_path), Ledger(tmp_path)
    fill(spool, [a_session(n) for n in range(5)])
    (held,) = ledger.take(b"".join(lines(spool)[1:3]), roster.keys_of, now=T0, road="line").held
    assert held.spans == [(2, 3)]
    assert spool.arrived(held) == 2
    (held,) = ledger.take(b"".join(lines(spool)), roster.keys_of, now=T0, road="line").held
    assert held.spans == [(1, 5)]
    fill(spool, [a_session(7)])
    (held,) = ledger.take(b"".join(lines(spool)[-1:]), roster.keys_of, now=T0, road="line").held
    assert held.spans == [(1, 6)], "counted on from what was whole"


def test_a_deleted_record_is_missed(tmp_path: Path) -> None:
    spool, roster, ledger = a_spool(tmp_path), a_roster(tmp_path), Ledger(tmp_path)
    fill(spool, [a_session(n) for n in range(5)])
    ledger.take(b"".join(lines(spool)[:1] + lines(spool)[3:]), roster.keys_of, now=T0, road="line")
    (state,) = ledger.states()
    assert state.stores[0].chain.gaps == ((2, 3),)
    assert "2 records are missing" in state.doubts[0]
    ledger.take(b"".join(lines(spool)), roster.keys_of, now=T0, road="line")
    assert ledger.states()[0].doubts == [], "it was only late"


def test_a_record_deleted_and_the_rest_numbered_anew_is_a_broken_link(tmp_path: Path) -> None:
    spool, roster, ledger = a_spool(tmp_path), a_roster(tmp_path), Ledger(tmp_path)
    fill(spool, [a_session(n) for n in range(4)])
    first, _, third, _ = (read_line(each) for each in lines(spool))
    renumbered = write_line(msgspec.structs.replace(third.record, seq=2), a_key())
    ledger.take(to_bytes(first) + to_bytes(renumbered), roster.keys_of, now=T0, road="line")
    (state,) = ledger.states()
    assert state.stores[0].chain.broken == (2,)
    assert state.doubts


def test_a_record_written_again_is_kept_as_evidence(tmp_path: Path) -> None:
    spool, roster, ledger = a_spool(tmp_path), a_roster(tmp_path), Ledger(tmp_path)
    fill(spool, [a_session(1, head_count=3)])
    (mine,) = lines(spool)
    ledger.take(mine, roster.keys_of, now=T0, road="line")
    body = msgspec.Raw(msgspec.json.encode(a_session(1, head_count=300)))
    other = write_line(msgspec.structs.replace(read_line(mine).record, body=body), a_key())
    for _ in range(2):
        assert ledger.take(to_bytes(other), roster.keys_of, now=T0, road="line").rewritten == 1
    assert [each.payload for each in ledger.records()] == [read_line(mine).payload], "the first one counts"
    (state,) = ledger.states()
    assert "1 " in state.doubts[0]
    assert "another content" in state.doubts[0]


def test_forged_and_unknown_records_are_refused_and_seen(tmp_path: Path) -> None:
    roster, ledger = a_roster(tmp_path), Ledger(tmp_path)
    forged = a_spool(tmp_path / "forger", key=9)
    fill(forged, [a_session(1)])
    taken = ledger.take(b"".join(lines(forged)) * 2, roster.keys_of, now=T0, road="line")
    assert (taken.fresh, taken.forged) == (0, 2)
    assert taken.held[0].refused == FORGED
    stranger = a_spool(tmp_path / "stranger", edge="nobody")
    fill(stranger, [a_session(1)])
    taken = ledger.take(b"".join(lines(stranger)), roster.keys_of, now=T0, road="line")
    assert taken.unknown == ("nobody",)
    assert taken.held[0].refused == UNKNOWN
    assert forged.arrived(taken.held[0]) == 0
    assert list(ledger.records()) == []
    assert [(edge, count) for edge, _, count, _ in ledger.refused()] == [("nobody", 1), (EDGE, 2)]
    (state,) = ledger.states()
    assert (state.edge, bool(state.doubts)) == (EDGE, True)


def test_a_spool_made_anew_is_a_doubt(tmp_path: Path) -> None:
    roster, ledger = a_roster(tmp_path), Ledger(tmp_path)
    for store in (1, 2):
        spool = a_spool(tmp_path / str(store), store=store)
        fill(spool, [a_session(store)])
        ledger.take(b"".join(lines(spool)), roster.keys_of, now=T0 + timedelta(days=store), road="line")
    (state,) = ledger.states()
    assert len(state.stores) == 2
    assert "made anew" in state.doubts[0]


def test_a_kind_of_the_future_is_taken(tmp_path: Path) -> None:
    roster, ledger = a_roster(tmp_path), Ledger(tmp_path)
    spool = a_spool(tmp_path)
    fill(spool, [a_session(1)])
    record = msgspec.structs.replace(read_line(lines(spool)[0]).record, kind="hologram", body=msgspec.Raw(b'{"x":1}'))
    assert ledger.take(to_bytes(write_line(record, a_key())), roster.keys_of, now=T0, road="line").fresh == 1
    assert ledger.states()[0].kinds == {"hologram": 1}


def test_a_revoked_key_is_believed_no_more_but_an_old_one_is(tmp_path: Path) -> None:
    roster, ledger = a_roster(tmp_path), Ledger(tmp_path)
    with pytest.raises(RosterError, match="--replace"):
        roster.add(EDGE, public_hex(a_key(2)))
    roster.add(EDGE, public_hex(a_key(2)), replace=True)
    spools = [a_spool(tmp_path / str(n), key=n, store=n) for n in (1, 2)]
    for each in spools:
        fill(each, [a_session(1)])
        assert ledger.take(lines(each)[0], roster.keys_of, now=T0, road="line").fresh == 1
    roster.revoke(EDGE, public_hex(a_key(1)))
    fill(spools[0], [a_session(2)])
    assert ledger.take(lines(spools[0])[1], roster.keys_of, now=T0, road="line").forged == 1
    with pytest.raises(RosterError):
        roster.add("Not A Name", public_hex(a_key(3)))
    with pytest.raises(RosterError):
        roster.add("town-8", "00ff")


@given(st.sets(st.integers(1, 40)), st.sets(st.integers(2, 40), max_size=3))
def test_the_chain_counts_gaps_and_broken_links(held: set[int], broken: set[int]) -> None:
    links = [Link(n, f"d{n}", "x" if n in broken else f"d{n - 1}" if n > 1 else "") for n in sorted(held)]
    found = chain(links)
    assert {n for first, last in found.spans for n in range(first, last + 1)} == held
    missing = {n for first, last in found.gaps for n in range(first, last + 1)}
    assert missing == set(range(1, max(held, default=0))) - held
    assert set(found.broken) == {n for n in broken & held if n - 1 in held}


# ---- ways home ----


def test_a_stick_takes_records_home_and_brings_back_what_arrived(tmp_path: Path) -> None:
    from edge_server.bootstrap.records import carry
    from edge_server.records.recorder import Recorder

    stick, central = tmp_path / "stick", tmp_path / "central"
    stick.mkdir()
    central.mkdir()
    spool, roster, ledger = a_spool(tmp_path), a_roster(central), Ledger(central)
    recorder = Recorder(spool, lambda: (T0, True))
    fill(spool, [a_session(n) for n in range(8)])
    for again in (False, True):
        carried = carry(recorder, EDGE, stick)
        assert (carried.home, carried.taken) == (0, 8)
        ((name, taken, warning),) = take_in(ledger, roster, stick, T0)
        assert (name, taken.fresh, taken.known, warning) == (f"{EDGE}.rec", 0 if again else 8, 8 if again else 0, "")
        if not again:
            (stick / "records" / f"{EDGE}.held.json").unlink()  # the stick was wiped: everything comes once more
    fill(spool, [a_session(9)])
    carried = carry(recorder, EDGE, stick)
    assert (carried.home, carried.taken, carried.left) == (8, 1, 0)
    assert ledger.states()[0].kinds == {"session": 8}


def test_lies_on_a_stick_harm_nothing_that_cannot_be_mended(tmp_path: Path) -> None:
    from edge_server.bootstrap.records import carry
    from edge_server.records.recorder import Recorder

    (tmp_path / "stick" / "records").mkdir(parents=True)
    spool = a_spool(tmp_path)
    fill(spool, [a_session(n) for n in range(3)])
    held = tmp_path / "stick" / "records" / f"{EDGE}.held.json"
    for raw in (b"", b"{}", b"[" * 100_000, b'{"held":[{"edge":"town-7","store":"x","spans":[[5,1]]}]}'):
        held.write_bytes(raw)
        assert carry(Recorder(spool, lambda: (T0, True)), EDGE, tmp_path / "stick").taken == 3


def test_pauses_grow_to_an_hour() -> None:
    assert [pause_s(n, 300.0) for n in (0, 1, 2, 3, 50)] == [300.0, 300.0, 600.0, 1200.0, RETRY_MAX_S]
    assert pause_s(1, 1.0) == 15.0


def test_the_ledger_of_a_broken_disk_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "intake.db").write_bytes(b"no data base at all" * 400)
    with pytest.raises(OSError, match=r"intake\.db"):
        Ledger(tmp_path)


def test_a_spool_that_another_program_fills_is_seen(tmp_path: Path) -> None:
    one, other = a_spool(tmp_path), a_spool(tmp_path)
    assert fill(one, [a_beat()]) == [1]
    assert fill(other, [HeartbeatRecord(snapshot=1, items=1)]) == [2]
    assert fill(one, [a_beat()]) == [3]
    with sqlite3.connect(tmp_path / SPOOL_NAME) as base:
        assert base.execute("select count(*) from record").fetchone() == (3,)
    base.close()
