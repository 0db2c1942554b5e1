"""OpenSSL makes the Authenticator, by every key rule and padding, and the edge lets the box in by both portals."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from edge_server.portal.huawei import DIALECT as HUAWEI
from edge_server.portal.zte import DIALECT as ZTE
from tests.old_boxes import STBID, Asker, view_of

PASSWORD = "100001"
"""Of edu002@itv; its MD5s have bytes below 0x10, so that both spellings differ."""
RULES = [("0001", "padded"), ("0002", "padded"), ("0002", "unpadded"), ("0003", "padded"), ("0003", "unpadded")]
DOORS = {
    "huawei": ("/EPG/jsp/authLoginHWCU.jsp", "/EPG/jsp/ValidAuthenticationHWCU.jsp", 'EncryptToken = "(\\w+)"'),
    "zte": ("/iptvepg/platform/getencrypttoken.jsp", "/iptvepg/platform/auth.jsp", r"GetAuthInfo\('(\w+)'\)"),
}


def key_of(kind: str, spelling: str) -> bytes:
    text = PASSWORD
    if kind != "0001":
        digest = hashlib.md5((PASSWORD + ("99991231" if kind == "0002" else "")).encode()).digest()
        digits = "".join(f"{byte:02x}" if spelling == "padded" else f"{byte:x}" for byte in digest)
        text = digits[:8] if kind == "0002" else digits.upper()[:24]
    return text.encode()[:24].ljust(24, b"0")


def by_openssl(plain: bytes, key: bytes, padding: str) -> str:
    extra = [] if padding == "pkcs5" else ["-nopad"]
    if padding == "ones-to-128":
        plain = plain.ljust(128, b"\x01")
    elif padding == "zeros":
        plain = plain.ljust(-(-len(plain) // 8) * 8, b"\x00")
    command = ["openssl", "enc", "-des-ede3-ecb", "-K", key.hex(), *extra]
    return subprocess.run(command, input=plain, capture_output=True, check=True, timeout=15).stdout.hex()


@pytest.mark.stranger("openssl")
@pytest.mark.parametrize("padding", ["pkcs5", "ones-to-128", "zeros"])
@pytest.mark.parametrize("rule", RULES, ids="-".join)
@pytest.mark.parametrize("portal", ["huawei", "zte"])
def test_the_edge_opens_what_openssl_closed(tmp_path: Path, portal: str, rule: tuple[str, str], padding: str) -> None:
    box = Asker(HUAWEI if portal == "huawei" else ZTE, view_of(tmp_path))
    ask, let_in, shape = DOORS[portal]
    token = re.search(shape, box.page(ask, {"UserID": "edu002@itv"}))
    assert token
    plain = f"12345678${token[1]}$edu002@itv${STBID}$10.0.0.9$1A:2B:3C:4D:5E:6F$$CTC".encode()
    closed = by_openssl(plain, key_of(*rule), padding)
    page = box.page(let_in, {"UserID": "edu002@itv", "Authenticator": closed})
    login = next(iter(box.logins))
    assert login.user_token in page and login.key_rule.split()[0] == rule[0]
    if rule[0] != "0001":
        assert login.key_rule == " ".join(rule)


@pytest.mark.stranger("openssl")
@pytest.mark.parametrize(
    "shape",
    [
        "12345678${token}$edu002@itv${stbid}$10.0.0.9$1A:2B:3C:4D:5E:6F$$CU",
        "99999${token}$edu002@itv${stbid}$0.0.0.0$1a:2b:3c:4d:5e:6f$Reserved$CTC",
        "7${token}$edu002@itv${stbid}$$1A2B3C4D5E6F$CM",
        "12345678${token}$edu002@itv${stbid}$10.0.0.9$$$CTC$more",
    ],
    ids=["unicom", "reserved", "mobile-seven-fields", "more-fields"],
)
@pytest.mark.parametrize("portal", ["huawei", "zte"])
def test_what_boxes_disagree_about_is_no_obstacle(tmp_path: Path, portal: str, shape: str) -> None:
    """D2, D3 and D4: suffix, random number, MAC, IP and the case of hex differ; token, user and STBID decide."""
    box = Asker(HUAWEI if portal == "huawei" else ZTE, view_of(tmp_path))
    ask, let_in, pattern = DOORS[portal]
    token = re.search(pattern, box.page(ask, {"UserID": "edu002@itv"}))
    assert token
    plain = shape.format(token=token[1], stbid=STBID).encode()
    for text, inside in ((plain.replace(b"edu002", b"edu009"), 0), (plain, 1)):
        closed = by_openssl(text, key_of("0001", "padded"), "pkcs5")
        box.page(let_in, {"UserID": "edu002@itv", "Authenticator": closed.upper()})
        assert len(box.logins) == inside
