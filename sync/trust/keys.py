"""The publisher's private keys: Ed25519, PKCS #8 PEM, readable by the owner only.

A key has a *name*, which is that of its file and stands in the metadata beside the public key (``x-name``): so it can
be said which file is missing when the folder of the offline keys is not there. The first keys are called
``root-1`` … ``root-3``, ``targets-1`` … ``targets-3``, ``snapshot``, ``timestamp`` and ``channels``; a key that takes
the place of another gets the next number. A file counts only while the metadata in force names its key.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import Root, Targets

from sync import SyncError
from sync.store.files import sync_directory, write_file
from sync.trust import KEYS_PER_OFFLINE_ROLE

OfflineRole = Literal["root", "targets"]
OnlineRole = Literal["snapshot", "timestamp", "channels"]
OFFLINE_ROLES: tuple[OfflineRole, ...] = get_args(OfflineRole)
ONLINE_ROLES: tuple[OnlineRole, ...] = get_args(OnlineRole)

NAME_MEMBER = "x-name"
_NAME = re.compile(r"(root|targets|snapshot|timestamp|channels)(?:-([1-9][0-9]{0,5}))?")


class KeyUnavailable(SyncError):
    """A private key that is needed now cannot be read."""


class Keys:
    """Two folders of private keys: ``online``, and ``offline``, which may be elsewhere or away."""

    def __init__(self, folder: Path, *, offline: Path | None = None) -> None:
        """Nothing is read yet.

        Args:
            folder: Holds ``online/``, and ``offline/`` unless that is given.
            offline: Where the offline keys are now: on a stick that was just put in, say.
        """
        self.online = folder / "online"
        self.offline = offline or folder / "offline"

    def generate(self) -> None:
        """Make the first keys of all roles; durable when this returns. A key that is there already is kept."""
        for role in OFFLINE_ROLES:
            for number in range(1, KEYS_PER_OFFLINE_ROLE + 1):
                self._make_once(f"{role}-{number}")
        for online in ONLINE_ROLES:
            self._make_once(online)

    def make(self, role: str, in_use: Collection[str]) -> CryptoSigner:
        """Make one more key of that role, under a name that is neither in use nor taken by a file; durable.

        Args:
            role: One of OFFLINE_ROLES and ONLINE_ROLES.
            in_use: Names of keys, also of other roles.
        """
        numbers = [int(match[2] or 1) for name in in_use if (match := _NAME.fullmatch(name)) and match[1] == role]
        number = max(numbers, default=0) + 1
        while self.path(f"{role}-{number}").exists():  # a ceremony that was cut off
            number += 1
        return self._make_once(f"{role}-{number}")

    def path(self, name: str) -> Path:
        """Return where the key of that name belongs.

        Raises:
            KeyUnavailable: no key is called like that.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise KeyUnavailable(f"{name[:80]!r} is not the name of a key")
        return (self.offline if match[1] in OFFLINE_ROLES else self.online) / f"{name}.pem"

    def signer(self, name: str) -> CryptoSigner:
        """Return the signer of that key.

        Raises:
            KeyUnavailable: the file is missing, unreadable or not an Ed25519 key.
        """
        path = self.path(name)
        try:
            key = load_pem_private_key(path.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise KeyUnavailable(f"cannot read the {name} key {path}: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyUnavailable(f"{path} is not an Ed25519 key")
        signer = CryptoSigner(key)
        signer.public_key.unrecognized_fields[NAME_MEMBER] = name
        return signer

    def available(self, delegator: Root | Targets, role: str) -> tuple[list[CryptoSigner], list[str]]:
        """Return the signers that can sign for that role now, and a sentence for each that cannot."""
        found, missing = [], []
        for keyid in delegator.get_delegated_role(role).keyids:
            name = name_of(delegator.get_key(keyid))
            try:
                signer = self.signer(name)
            except KeyUnavailable as error:
                missing.append(str(error))
                continue
            if signer.public_key.keyid == keyid:
                found.append(signer)
            else:
                missing.append(f"{self.path(name)} is another key than the one that the metadata names")
        return found, missing

    def of(self, delegator: Root | Targets, role: str) -> list[CryptoSigner]:
        """Return as many signers as that role needs, and no more: fewer signatures are shorter metadata.

        Raises:
            KeyUnavailable: fewer can be read; says which, and where they were looked for.
        """
        found, missing = self.available(delegator, role)
        return enough(found, missing, delegator.get_delegated_role(role).threshold, role)

    def retire(self, in_use: Collection[str]) -> None:
        """Remove the files of keys that nothing names any more. Only when the newest metadata is published."""
        for folder in (self.online, self.offline):
            for file in folder.glob("*.pem"):
                if file.stem not in in_use and _NAME.fullmatch(file.stem):
                    file.unlink()
            if folder.is_dir():
                sync_directory(folder)

    def _make_once(self, name: str) -> CryptoSigner:
        path = self.path(name)
        for folder in (path.parent.parent, path.parent):
            if not folder.exists():
                folder.mkdir(mode=0o700, parents=True)
                sync_directory(folder.parent)
        with suppress(PermissionError):  # of a stick whose file system knows no owners
            path.parent.chmod(0o700)
        if not path.exists():
            write_file(path, CryptoSigner.generate_ed25519().private_bytes, mode=0o600)
        return self.signer(name)


def enough(found: list[CryptoSigner], missing: list[str], threshold: int, role: str) -> list[CryptoSigner]:
    """Return the first ``threshold`` of the signers.

    Raises:
        KeyUnavailable: there are fewer.
    """
    if len(found) < threshold:
        raise KeyUnavailable(f"signing as {role} needs {threshold} keys, {len(found)} are there: {'; '.join(missing)}")
    return found[:threshold]


def name_of(key: Key) -> str:
    """Return the name of a public key in the metadata."""
    return str(key.unrecognized_fields.get(NAME_MEMBER, ""))
