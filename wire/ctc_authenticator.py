"""The Authenticator of the Huawei-style portal login (stb_protocols §2.4).

Eight fields joined by ``$``, under triple DES in ECB, in hex. This *identifies* a box and protects nothing: a password
of at most eight characters leaves single DES, and ECB shows repeated blocks. Authorisation belongs to the network.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from wire.ctc_text import CtcError, Deviation

KEY_BYTES = 24
BLOCK_BYTES = 8
AUTHENTICATOR_MAX_CHARS = 1024
"""Longest hex text read; real ones have 240 to 272 characters."""

Md5Hex = Literal["padded", "unpadded"]
"""How a box prints the bytes of an MD5: always two digits, or without the leading zero (disagreement D1)."""

Padding = Literal["pkcs5", "ones-to-128", "zeros-to-48"]
"""PKCS#5; 0x01 up to 128 bytes in all; 0x00 up to 48 bytes in all (both at least up to a whole block)."""


class EncryptionType(Enum):
    """How the key string comes from the password."""

    PASSWORD = "0001"
    """The password itself; also when no type is announced."""
    MD5_SALTED = "0002"
    """First 8 characters of lower-hex MD5(password + "99991231")."""
    MD5_UPPER = "0003"
    """First 24 characters of upper-hex MD5(password)."""


@dataclass(frozen=True, slots=True)
class Authenticator:
    """The plaintext, field by field. A server compares ``encrypt_token``, ``user_id`` and ``stbid`` only."""

    random: str
    """5 to 8 decimal digits."""
    encrypt_token: str
    user_id: str
    stbid: str
    """32 characters, the last 12 of them the MAC address."""
    ip: str
    mac: str
    reserved: str | None = ""
    """Empty as a rule; None where the box leaves the field out (seven fields, ending ``$CM``)."""
    suffix: str = "CTC"
    deviations: tuple[Deviation, ...] = ()

    def build(self) -> bytes:
        """Write the plaintext.

        Raises:
            CtcError: a field has a ``$`` or is not printable ASCII.
        """
        fields = [self.random, self.encrypt_token, self.user_id, self.stbid, self.ip, self.mac]
        fields += [self.suffix] if self.reserved is None else [self.reserved, self.suffix]
        for each in fields:
            if "$" in each or not (each.isascii() and (each.isprintable() or not each)):
                raise CtcError(f"field {each!r} must be printable ASCII without $")
        return "$".join(fields).encode("ascii")


_MAC = re.compile(r"(?:[0-9A-F]{2}:){5}[0-9A-F]{2}")


def parse_plaintext(plain: bytes) -> Authenticator:
    """Read an unpadded plaintext leniently; what is unusual is listed in ``deviations``.

    Raises:
        CtcError: not printable ASCII (as a rule: the wrong key), or fewer than seven fields.
    """
    try:
        text = plain.decode("ascii")
    except UnicodeDecodeError as error:
        raise CtcError("plaintext is not ASCII; wrong password or key type?") from error
    if not text.isprintable():
        raise CtcError("plaintext has control characters; wrong password or key type?")
    fields = text.split("$")
    if len(fields) < 7:
        raise CtcError(f"plaintext has {len(fields)} fields, expected 8 (or 7 without the reserved one)")
    found = []
    if not re.fullmatch(r"\d{8}", fields[0]):
        found.append(Deviation("random-width", f"{len(fields[0])} characters"))
    if not _MAC.fullmatch(fields[5]):
        found.append(Deviation("mac-style", fields[5]))
    reserved = None if len(fields) == 7 else fields[6]
    if reserved is None:
        found.append(Deviation("seven-fields", fields[-1]))
    elif reserved:
        found.append(Deviation("reserved-filled", reserved))
    if len(fields) > 8:
        found.append(Deviation("extra-fields", f"{len(fields)} fields"))
    random, encrypt_token, user_id, stbid, ip, mac = fields[:6]
    return Authenticator(random, encrypt_token, user_id, stbid, ip, mac, reserved, fields[-1], tuple(found))


def key_string(password: str, kind: EncryptionType, md5_hex: Md5Hex = "padded") -> str:
    """Return the key string before it is filled up with ``0`` to 24 characters."""
    if kind is EncryptionType.PASSWORD:
        return password
    salt, length = ("99991231", 8) if kind is EncryptionType.MD5_SALTED else ("", KEY_BYTES)
    digest = hashlib.md5((password + salt).encode(), usedforsecurity=False).digest()
    digits = "".join(f"{each:02x}" if md5_hex == "padded" else f"{each:x}" for each in digest)
    return (digits if kind is EncryptionType.MD5_SALTED else digits.upper())[:length]


def key_bytes(text: str) -> bytes:
    """Fill a key string with ASCII ``0`` on the right, or cut it, to the 24 bytes of triple DES."""
    return text.encode()[:KEY_BYTES].ljust(KEY_BYTES, b"0")


def encrypt(
    plain: bytes,
    password: str,
    kind: EncryptionType = EncryptionType.PASSWORD,
    *,
    md5_hex: Md5Hex = "padded",
    padding: Padding = "pkcs5",
) -> str:
    """Pad and encrypt a plaintext; upper-case hex. Anything but PKCS#5 is a known oddity of some boxes."""
    encryptor = Cipher(TripleDES(key_bytes(key_string(password, kind, md5_hex))), modes.ECB()).encryptor()
    return (encryptor.update(_pad(plain, padding)) + encryptor.finalize()).hex().upper()


def decrypt(
    text: str,
    password: str,
    kind: EncryptionType = EncryptionType.PASSWORD,
    *,
    md5_hex: Md5Hex = "padded",
) -> tuple[bytes, tuple[Deviation, ...]]:
    """Decrypt hex of either case; the padding is off. A wrong key gives noise, not an error.

    Raises:
        CtcError: not hex, not whole blocks, or longer than ``AUTHENTICATOR_MAX_CHARS``.
    """
    if not text or len(text) > AUTHENTICATOR_MAX_CHARS:
        raise CtcError(f"Authenticator of {len(text)} characters; expected 1 to {AUTHENTICATOR_MAX_CHARS}")
    if not re.fullmatch(r"(?:[0-9A-Fa-f]{16})+", text):
        raise CtcError("Authenticator must be hex digits in whole blocks of 16")
    decryptor = Cipher(TripleDES(key_bytes(key_string(password, kind, md5_hex))), modes.ECB()).decryptor()
    plain, found = _unpad(decryptor.update(bytes.fromhex(text)) + decryptor.finalize())
    return plain, found if text.upper() == text else (*found, Deviation("hex-case", "lower case"))


def open_authenticator(
    text: str,
    password: str,
    kind: EncryptionType = EncryptionType.PASSWORD,
    *,
    md5_hex: Md5Hex = "padded",
) -> Authenticator:
    """Decrypt and parse.

    Raises:
        CtcError: not hex, or not a plaintext under this password and type.
    """
    plain, found = decrypt(text, password, kind, md5_hex=md5_hex)
    read = parse_plaintext(plain)
    return replace(read, deviations=(*found, *read.deviations))


def _pad(plain: bytes, padding: Padding) -> bytes:
    over = BLOCK_BYTES - len(plain) % BLOCK_BYTES
    if padding == "pkcs5":
        return plain + bytes([over]) * over
    fill, whole = (b"\x01", 128) if padding == "ones-to-128" else (b"\x00", 48)
    return plain.ljust(max(whole, len(plain) + over % BLOCK_BYTES), fill)


def _unpad(padded: bytes) -> tuple[bytes, tuple[Deviation, ...]]:
    """Strip PKCS#5 if valid; what is then left of bytes below 0x20 is another box's idea of padding."""
    last = padded[-1]
    valid = 1 <= last <= BLOCK_BYTES and padded.endswith(bytes([last]) * last)
    plain = padded[:-last] if valid else padded
    bare = plain.rstrip(bytes(range(0x20)))
    return bare, () if valid and bare == plain else (Deviation("padding", f"{len(padded) - len(bare)} bytes"),)
