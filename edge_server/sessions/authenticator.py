"""Opens the Authenticator of an old box, whatever its maker made of the specification (D1 to D4). Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from edge_server.sessions.accounts import Account
from wire import ctc

ODD: Final[Mapping[str, frozenset[str]]] = {
    "D2": frozenset(("seven-fields", "reserved-filled", "extra-fields")),
    "D3": frozenset(("random-width", "mac-style")),
    "D4": frozenset(("padding", "hex-case")),
}
"""What is tolerated, and counted, by the disagreement that it belongs to: codes of ``wire.ctc``."""


def open_with_any_key(
    text: str, account: Account, *, intolerant: Collection[str] = ()
) -> tuple[ctc.Authenticator, str] | None:
    """Try all key rules, the announced one first; the one that shows this account's own name is right (D1).

    ``intolerant`` names disagreements that are not lived with: D1 knows only MD5 printed in two digits a byte.

    Returns None when no key fits or the text is not hex.
    """
    announced = ctc.EncryptionType(account.encryption_type or "0001")
    spellings: tuple[ctc.Md5Hex, ...] = ("padded",) if "D1" in intolerant else ("padded", "unpadded")
    tried: set[str] = set()
    for kind in sorted(ctc.EncryptionType, key=lambda each: each is not announced):
        for md5_hex in spellings:
            key = ctc.key_string(account.password, kind, md5_hex)
            if key in tried:
                continue
            tried.add(key)
            try:
                plain = ctc.open_authenticator(text, account.password, kind, md5_hex=md5_hex)
            except ctc.CtcError:
                continue
            if plain.user_id == account.user_id:
                return plain, f"{kind.value} {md5_hex}"
    return None


def refused_as_odd(plain: ctc.Authenticator, remote: str, intolerant: Collection[str]) -> bool:
    """Tell whether a disagreement that is not lived with shows: another suffix (D2), another address (D3), oddities."""
    if ("D2" in intolerant and plain.suffix != "CTC") or ("D3" in intolerant and plain.ip != remote):
        return True
    codes = {each.code for each in plain.deviations}
    return any(row in intolerant and codes & ODD[row] for row in ODD)
