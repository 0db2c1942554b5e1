"""The portal grammar against files that its own codec did not write; reading and writing are pinned apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wire import ctc

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "ctc"
CASES = json.loads((VECTORS / "cases.json").read_text())
BAD = json.loads((VECTORS / "bad.json").read_text())


def hex_of(name: str) -> str:
    return (VECTORS / f"{name}.hex").read_text().strip()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_writes_the_ciphertext(case: dict[str, str]) -> None:
    plain = (VECTORS / f"{case['name']}.txt").read_bytes()
    kind = ctc.EncryptionType(case["encryption_type"])
    made = ctc.encrypt(plain, case["password"], kind, md5_hex=case["md5_hex"], padding=case["padding"])
    assert made == hex_of(case["name"]).upper()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_reads_the_ciphertext(case: dict[str, str]) -> None:
    kind = ctc.EncryptionType(case["encryption_type"])
    read = ctc.open_authenticator(hex_of(case["name"]), case["password"], kind, md5_hex=case["md5_hex"])
    fields = (VECTORS / f"{case['name']}.txt").read_text().split("$")
    assert [read.random, read.encrypt_token, read.user_id, read.stbid, read.ip, read.mac] == fields[:6]
    assert read.suffix == fields[-1]
    assert read.reserved == (fields[6] if len(fields) == 8 else None)
    assert {each.code for each in read.deviations} == set(case["deviations"])
    assert read.build() == "$".join(fields).encode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_derives_the_key(case: dict[str, str]) -> None:
    kind = ctc.EncryptionType(case["encryption_type"])
    text = ctc.key_string(case["password"], kind, case["md5_hex"])
    assert ctc.key_bytes(text) == case["key"].encode()


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["name"])
def test_refuses_with_a_reason(case: dict[str, str]) -> None:
    with pytest.raises(ctc.CtcError, match=case["error"]):
        ctc.open_authenticator(hex_of(case["name"]), "123456")


def page(name: str) -> str:
    return ctc.decode_page((VECTORS / name).read_bytes())[0]


def test_reads_the_token_page() -> None:
    assert ctc.parse_token_page(page("page_tokens.html")) == ctc.TokenPage(
        "0123456789ABCDEF0123456789ABCDEF", "0123456789ABCDEF0123456789ABCDEF"
    )


def test_writes_the_token_lines() -> None:
    token = "0123456789ABCDEF0123456789ABCDEF"
    assert ctc.write_token_lines(token, token) in page("page_tokens.html")


def test_reads_the_ctc_success_page() -> None:
    fields, deviations = ctc.parse_inputs(page("page_validated_ctc.html"))
    assert fields == {"UserToken": "UT0001", "tempKey": "", "stbid": "0010019900E0680200001A2B3C4D5E6F"}
    assert deviations == ()


def test_reads_the_cu_success_page() -> None:
    calls = ctc.parse_set_configs(page("page_validated_cu.html"))
    assert all(each.face is ctc.Face.CU for each in calls)
    assert [(each.key, each.value) for each in calls] == [
        ("UserToken", "UT0002"),
        ("stbid", "00100399007051A000000A0B0C0D0E0F"),
        ("identityEncode", ""),
        ("UserID", "edu002@itv"),
        ("Lang", "1"),
    ]
    assert ctc.write_set_config(ctc.Face.CU, "UserToken", "UT0002") in page("page_validated_cu.html")


def test_reads_the_channel_page() -> None:
    read = ctc.parse_channel_page(page("page_channels_ctc.html"))
    assert read.count == 2 and read.deviations == ()
    first, second = read.channels
    assert (first.channel_id, first.name, first.user_channel_id) == ("101", "远程教育 1", "1")
    assert first.urls[0] == "igmp://239.1.1.1:5140" and first.urls[1].endswith("&zoneoffset=480")
    assert first.others["FCCEnable"] == "2" and first.other("ChannelLogURL") == ""
    assert first.deviations == ()
    assert second.urls == ("rtsp://192.0.2.1/vod/102.mpg",)
    assert {each.code for each in second.deviations} == {"key-order", "key-unknown", "key-missing"}


def test_one_regex_clients_refuse_the_record_out_of_order() -> None:
    with pytest.raises(ctc.CtcError, match="fixed order"):
        ctc.parse_channel_page(page("page_channels_ctc.html"), "regex")


def test_writes_the_channel_line() -> None:
    text = page("page_channels_ctc.html")
    first = ctc.parse_channel_page(text).channels[0]
    lines = ctc.write_channel_lines(ctc.Face.CTC, [first]).splitlines()
    assert lines[0] == "iRet = Authentication.CTCSetConfig('ChannelCount','1');"
    assert lines[1] in text


def test_reads_both_heartbeats() -> None:
    plain = ctc.parse_heartbeat((VECTORS / "heartbeat.txt").read_bytes().decode())
    assert plain == ctc.Heartbeat(True, 300, "1")
    rich = ctc.parse_heartbeat((VECTORS / "heartbeat_c20.txt").read_bytes().decode())
    assert (rich.user_valid, rich.next_call_interval_s, rich.channel_ver) == (False, ctc.DEFAULT_INTERVAL_S, "7")
    assert rich.others["Vnet"] == "YES" and rich.messages == ("Hello",)
    assert {each.code for each in rich.deviations} == {"bare-lf", "interval"}


def test_writes_the_heartbeat() -> None:
    assert ctc.write_heartbeat(ctc.Heartbeat(True, 300, "1")).encode() == (VECTORS / "heartbeat.txt").read_bytes()
