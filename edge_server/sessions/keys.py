"""Which key opens an Authenticator: every rule that boxes are known to follow (stb_protocols §2.4, D1). Pure."""

from __future__ import annotations

from edge_server.sessions.accounts import Account
from wire import ctc


def open_with_any_key(text: str, account: Account) -> tuple[ctc.Authenticator, str] | None:
    """Try all key rules, the announced one first; the one that shows this account's own name is right (D1).

    Returns None when no key fits or the text is not hex.
    """
    announced = ctc.EncryptionType(account.encryption_type or "0001")
    tried: set[str] = set()
    for kind in sorted(ctc.EncryptionType, key=lambda each: each is not announced):
        spellings: tuple[ctc.Md5Hex, ...] = ("padded", "unpadded")
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
