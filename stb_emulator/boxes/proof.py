"""A box's Authenticator in the style of its model (stb_protocols §2.4), for every family of old portals. Pure."""

from __future__ import annotations

from stb_emulator.boxes import Box
from wire.ctc import Authenticator, EncryptionType, encrypt

RANDOM_BELOW = 10**8
"""The Authenticator's random number has at most eight digits."""


def authenticator(box: Box, token: str, *, random: int, ip: str) -> str:
    """Encrypt the proof for ``token``, as hexadecimal text; ``random`` is below ``RANDOM_BELOW``."""
    device, proof = box.device, box.proof
    assert device is not None and proof is not None, "boxes are checked when they are loaded"
    plain = Authenticator(
        random=random_text(box, random),
        encrypt_token=token,
        user_id=box.account.user,
        stbid=device.stb_id,
        ip=proof.ip or ip,
        mac=mac_text(box),
        reserved=None if proof.suffix == "CM" else proof.reserved,
        suffix=proof.suffix,
    ).build()
    kind = EncryptionType(proof.key_type)
    text = encrypt(plain, box.account.password, kind, md5_hex=proof.md5_hex, padding=proof.pad_style)
    return text.lower() if proof.hex_case == "lower" else text.upper()


def mac_text(box: Box) -> str:
    """Write the MAC address in the box's style."""
    device, proof = box.device, box.proof
    assert device is not None and proof is not None, "boxes are checked when they are loaded"
    if proof.mac_style == "bare":
        return device.mac.replace(":", "")
    return device.mac.lower() if proof.mac_style == "lower" else device.mac


def random_text(box: Box, number: int) -> str:
    """Write the Authenticator's random number in the box's style."""
    assert box.proof is not None, "boxes are checked when they are loaded"
    style = box.proof.random_style
    if style == "constant":
        return "99999"
    return f"{number:08d}" if style == "padded8" else str(max(number, 10_000))
