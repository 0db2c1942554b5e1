"""New keys for old: after a theft, a loss, or when a key has served long enough.

A ceremony needs two of the three root keys (and two targets keys when the channels key or targets keys change). It
makes the new keys, a next root signed by the old quorum and the new one, and signs anew whatever the replaced keys
had signed. Every version of the root stays published for ever: an edge follows the chain from its anchor.

*Fast-forward*: a thief of the timestamp key can sign version 1,000,000, and an edge that believed it refuses the real
one as a rollback. Replacing the timestamp and the snapshot key together cures that: edges drop what the old keys
signed, over the line and from a bundle alike. If the channels key was stolen as well, replace all three; heads that
edges believed before then no longer bound what they accept (``sync/trust/memory.py``).
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Root

from sync.trust import ROOT_EXPIRY_DAYS
from sync.trust.clock import check_publisher_clock
from sync.trust.documents import Taken, after, bins_of, name_in, sign
from sync.trust.keys import Keys, KeyUnavailable, enough, name_of
from sync.trust.signing import Ledger

EVERYTHING_ONLINE = ("timestamp", "snapshot", "channels")
"""What to replace when the publishing machine was broken into."""


def rotated(
    ledger: Ledger, names: Collection[str], keys: Keys, now: datetime, taken: Taken, *, sure: bool = False
) -> Ledger:
    """Replace keys and sign the next set; with no names, only renew the root.

    The new key files are on the disk when this returns, the replaced ones still are: call ``keys.retire`` once the
    set is published. The clock may be behind the last signing when the timestamp key is replaced: that is how a
    publisher recovers that signed with a wrong clock.

    Args:
        ledger: What is published.
        names: Of keys (``root-2``, ``timestamp``), or roles for all keys of a role (``root``, ``channels``).
        keys: With the offline folder in place.
        now: When.
        taken: See ``Ledger.naming``.
        sure: See ``Ledger.naming``.

    Raises:
        KeyUnavailable: a name is unknown, or too few offline keys can be read. No key was made then.
        ClockDoubtful: see ``sync.trust.clock``.
    """
    in_use = set(ledger.key_names)
    unknown = [name for name in names if not _meant(name, in_use)]
    if unknown:
        raise KeyUnavailable(f"no key or role {', '.join(unknown)}; in use are {', '.join(sorted(in_use))}")
    replaced = {each for name in names for each in _meant(name, in_use)}
    if "timestamp" not in {_role(name) for name in replaced}:
        check_publisher_clock(now, ledger.signed_at, sure=sure)
    in_bins = {name for name in replaced if _role(name) == "channels"}
    in_root = replaced - in_bins
    if in_root or not replaced:
        keys.of(ledger.root, "root")
    if any(_role(name) in ("channels", "targets") for name in replaced):
        keys.of(ledger.root, "targets")
    if in_root or not replaced:
        ledger = _under_new_root(ledger, in_root, keys, now)
    bins = bins_of(keys.make("channels", in_use)) if in_bins else None
    return ledger.reissued(keys, now, taken, bins=bins)


def _under_new_root(ledger: Ledger, replaced: Collection[str], keys: Keys, now: datetime) -> Ledger:
    previous = ledger.root
    root = copy.deepcopy(previous)
    root.version, root.expires = previous.version + 1, after(now, ROOT_EXPIRY_DAYS)
    in_use = set(ledger.key_names)
    for role, held in previous.roles.items():
        for keyid in held.keyids:
            name = name_of(previous.keys[keyid])
            if name in replaced:
                fresh = keys.make(role, in_use).public_key
                in_use.add(name_of(fresh))
                root.revoke_key(keyid, role)
                root.add_key(fresh, role)
    raw = sign(root, _both_quorums(keys, previous, root))
    return replace(ledger, root=root, raw={**ledger.raw, name_in(root): raw})


def _both_quorums(keys: Keys, previous: Root, root: Root) -> Sequence[CryptoSigner]:
    """Return as few signers as satisfy the former root and the new one."""
    chosen: dict[str, CryptoSigner] = {}
    both = set(previous.roles["root"].keyids) & set(root.roles["root"].keyids)
    for judge in (previous, root):
        found, missing = keys.available(judge, "root")
        found.sort(key=lambda signer: (signer.public_key.keyid not in chosen, signer.public_key.keyid not in both))
        for signer in enough(found, missing, judge.roles["root"].threshold, "root"):
            chosen[signer.public_key.keyid] = signer
    return list(chosen.values())


def _meant(name: str, in_use: Collection[str]) -> set[str]:
    return {name} if name in in_use else {each for each in in_use if _role(each) == name}


def _role(name: str) -> str:
    return name.partition("-")[0]
