"""OpenSSL, which nobody here wrote, confirms the Authenticator vectors. Imports nothing of ours."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "ctc"
CASES = json.loads((VECTORS / "cases.json").read_text())
SALT = {"0002": "99991231", "0003": ""}


def openssl(*arguments: str, given: bytes) -> bytes:
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True, timeout=15).stdout


@pytest.mark.stranger("openssl")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_openssl_makes_the_same_ciphertext(case: dict[str, str]) -> None:
    plain = (VECTORS / f"{case['name']}.txt").read_bytes()
    extra = []
    if case["padding"] != "pkcs5":
        fill, whole = {"ones-to-128": (b"\x01", 128), "zeros-to-48": (b"\x00", 48)}[case["padding"]]
        plain, extra = plain.ljust(whole, fill), ["-nopad"]
    made = openssl("enc", "-des-ede3-ecb", "-K", case["key"].encode().hex(), *extra, given=plain)
    assert made == bytes.fromhex((VECTORS / f"{case['name']}.hex").read_text())


@pytest.mark.stranger("openssl")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_openssl_derives_the_same_key(case: dict[str, str]) -> None:
    kind, text = case["encryption_type"], case["password"]
    if kind in SALT:
        digest = openssl("dgst", "-md5", "-binary", given=(text + SALT[kind]).encode())
        digits = "".join(f"{byte:02x}" if case["md5_hex"] == "padded" else f"{byte:x}" for byte in digest)
        text = digits[:8] if kind == "0002" else digits.upper()[:24]
    assert text[:24].ljust(24, "0") == case["key"]
