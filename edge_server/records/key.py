"""The key with which this edge signs what it records (SEC-07, SEC-09); made at first use, never leaves the folder."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync.store.files import write_file
from wire.records import KEY_BYTES

KEY_NAME = "record-key"


class KeyDamaged(ValueError):
    """The key file does not hold a key; the message says what to do."""


def load_key(root: Path) -> Ed25519PrivateKey:
    """Read the key of the edge folder, or make it. Blocking.

    Raises:
        KeyDamaged: see there.
        OSError: the disk fails.
    """
    path = root / KEY_NAME
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        key = Ed25519PrivateKey.generate()
        write_file(path, key.private_bytes_raw().hex().encode() + b"\n", mode=0o600)
        return key
    try:
        seed = bytes.fromhex(raw.decode("ascii"))
        if len(seed) != KEY_BYTES:
            raise ValueError(f"{len(seed)} bytes")
    except ValueError as error:
        raise KeyDamaged(
            f"{path} 已损坏；移走它，重启后会生成新密钥，再到中心平台登记 / {path} is damaged: move it away; a new key "
            "is made at the next start; then tell the central platform: central-platform edge add --replace"
        ) from error
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_hex(key: Ed25519PrivateKey) -> str:
    """Return what the central platform must know: 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()
