"""Rows about logging in and listing: D1 to D7, D19, D20, and which stream fits a decoder (D24)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from stb_emulator.boxes import Box
from stb_emulator.lab.disagreements.told import Row, Variant
from stb_emulator.lab.disagreements.trying import (
    GBK_ACCOUNT,
    MD5_ACCOUNT,
    Lab,
    NotShown,
    but,
    lessons_of,
    listing,
    plain_box,
    watching,
)
from stb_emulator.observe import PlayError, Reason
from wire.ctc import EncryptionType, key_string


def _keys(lab: Lab) -> Sequence[Variant]:
    """All MD5 rules, both spellings; where both give one key there is nothing to see."""
    found = []
    for kind in (EncryptionType.MD5_SALTED, EncryptionType.MD5_UPPER):
        keys = {key_string(MD5_ACCOUNT.password, kind, each) for each in ("padded", "unpadded")}
        if len(keys) == 2:
            box = but(but(plain_box(lab), account=MD5_ACCOUNT), "proof", key_type=kind.value)
            for spelling in ("padded", "unpadded"):
                found.append(Variant(f"{kind.value} {spelling}", but(box, "proof", md5_hex=spelling), listing))
    return found


def _proofs(*changes: dict[str, Any]) -> Any:
    def variants(lab: Lab) -> Sequence[Variant]:
        box = plain_box(lab)
        return [
            Variant(" ".join(str(each) for each in change.values()) or "plain", but(box, "proof", **change), listing)
            for change in changes
        ]

    return variants


def _operators(lab: Lab) -> Sequence[Variant]:
    box = plain_box(lab)
    return [Variant(each, but(box, "huawei", operator=each), listing) for each in ("CTC", "CU")]


def _charsets(lab: Lab) -> Sequence[Variant]:
    box = plain_box(lab)
    return [
        Variant("utf-8", but(box, "huawei", charset="utf-8"), listing),
        Variant("gbk", but(but(box, account=GBK_ACCOUNT), "huawei", charset="gbk"), listing),
        Variant("gbk, ZTE", lab.boxes["zte_b860"], listing),
    ]


def _parsers(lab: Lab) -> Sequence[Variant]:
    box = plain_box(lab)
    return [Variant(each, but(box, "huawei", parser=each), listing) for each in ("quote-scan", "regex")]


def _heartbeats(lab: Lab) -> Sequence[Variant]:
    box = plain_box(lab)
    return [Variant(each, but(box, "huawei", heartbeat=each), listing) for each in ("GetHeartBit", "gethearbit.jsp")]


def _stalkers(lab: Lab) -> Sequence[Variant]:
    box = lab.boxes["mag250"]
    changes: dict[str, dict[str, Any]] = {
        "mag250": {},
        "Range": {"range_from_zero": True},
        "Host": {"host_without_port": True},
        "page 0": {"channels": "pages", "first_page": 0, "cookie_token": True},
        "page 1": {"channels": "pages"},
        "plain cookie": {"cookie_encoding": "plain"},
        "ffmpeg only": {"strips": ("ffmpeg",)},
        "no JsHttpRequest": {"js_http_request": False},
        "empty Bearer": {"empty_bearer": True},
    }
    return [Variant(name, but(box, "stalker", **change), _films) for name, change in changes.items()]


async def _films(lab: Lab, box: Box) -> dict[str, Any]:
    """List, and always play: what a box makes of Host shows in addresses only."""
    offers = await lab.seat.list(box)
    return {"lessons": lessons_of(offers)} | await watching(lab, box)


def _caps(lab: Lab) -> Sequence[Variant]:
    old = but(plain_box(lab), caps=lab.boxes["ctc_hw_old"].caps)
    new = [lab.boxes[name] for name in ("new_hls_fmp4", "new_hls_ts", "pc_progressive")]
    return [Variant("ctc_hw_old", old, _films), *(Variant(each.name, each, _films) for each in new)]


def _clocks(lab: Lab) -> Sequence[Variant]:
    box, ahead_s = lab.boxes["zte_b860"], timedelta(days=20 * 365).total_seconds()
    since_1970_s = (lab.began - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    return [
        Variant("right", box, _by_its_clock),
        Variant("1970", but(box, "device", clock_skew_s=-since_1970_s), _by_its_clock),
        Variant("20 years ahead", but(box, "device", clock_skew_s=ahead_s), _by_its_clock),
    ]


async def _by_its_clock(lab: Lab, box: Box) -> dict[str, Any]:
    """Log in and list; a box uses no token that has expired by its own clock."""
    try:
        return {"lessons": lessons_of(await lab.seat.list(box))}
    except PlayError as failure:
        if "names no time server" in failure.reason.en:
            raise NotShown(
                "没有时间服务（ntp_port）", "the portal names no time server (setting `ntp_port`)"
            ) from failure
        raise


ROWS = (
    Row("D1", Reason("密钥补零与不补零", "key with or without zero padding"), _keys),
    Row(
        "D2",
        Reason("Authenticator 后缀", "suffix of the Authenticator"),
        _proofs({}, {"suffix": "CU"}, {"suffix": "CM"}, {"reserved": "Reserved"}),
    ),
    Row(
        "D3",
        Reason("随机数、MAC 与 IP 的写法", "random number, MAC and IP"),
        _proofs(
            {}, {"random_style": "constant"}, {"mac_style": "lower"}, {"mac_style": "bare"}, {"ip": "10.255.255.254"}
        ),
    ),
    Row(
        "D4",
        Reason("DES 填充与十六进制大小写", "DES padding, case of hex"),
        _proofs({}, {"pad_style": "ones-to-128"}, {"pad_style": "zeros-to-48"}, {"hex_case": "lower"}),
    ),
    Row("D5", Reason("电信与联通页面名", "page names of two operators"), _operators),
    Row("D6", Reason("GBK 与 UTF-8", "GBK or UTF-8"), _charsets),
    Row("D7", Reason("频道记录的次序", "order inside a channel record"), _parsers),
    Row("D19", Reason("心跳地址的写法", "spelling of the heartbeat"), _heartbeats),
    Row("D20", Reason("Stalker 习惯", "habits of Stalker boxes"), _stalkers),
    Row("D21", Reason("盒子时钟不对", "boxes without a right clock"), _clocks),
    Row("D24", Reason("解码能力", "what the decoder takes"), _caps),
)
