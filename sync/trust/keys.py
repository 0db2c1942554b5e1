"""The publisher's private keys: one Ed25519 key for each role, PKCS #8 PEM, readable by the owner only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from sync import SyncError
from sync.store.files import sync_directory

Role = Literal["root", "targets", "snapshot", "timestamp"]
ROLES: tuple[Role, ...] = get_args(Role)


class KeyUnavailable(SyncError):
    """A private key that is needed now cannot be read."""


class Keys:
    """A folder of private keys. The root key is needed for ``init`` only: keep it off line afterwards."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read yet."""
        self._folder = folder

    def generate(self) -> None:
        """Make new keys for all roles, replacing what is there; durable when this returns."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        for role in ROLES:
            path = self._path(role)
            path.unlink(missing_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(CryptoSigner.generate_ed25519().private_bytes)
                out.flush()
                os.fsync(out.fileno())
        sync_directory(self._folder)

    def signer(self, role: Role) -> CryptoSigner:
        """Return the signer of that role.

        Raises:
            KeyUnavailable: the file is missing, unreadable or not an Ed25519 key.
        """
        path = self._path(role)
        try:
            key = load_pem_private_key(path.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise KeyUnavailable(f"cannot read the {role} key {path}: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyUnavailable(f"{path} is not an Ed25519 key")
        return CryptoSigner(key)

    def _path(self, role: Role) -> Path:
        return self._folder / f"{role}.pem"
