"""The operator's password on the disk: a hash by Argon2id (RFC 9106). Blocking, and slow on purpose."""

from __future__ import annotations

from pathlib import Path

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from sync.store.files import write_file

NAME = "operator.json"
FILE_MAX_BYTES = 4096


class _Kept(msgspec.Struct, frozen=True):
    hash: str


class PasswordFile:
    """``operator.json`` of an edge folder."""

    def __init__(self, root: Path) -> None:
        """Nothing is read yet."""
        self._path, self._hasher = root / NAME, PasswordHasher()

    def is_set(self) -> bool:
        """Whether there is one. A file that is damaged counts as one that nobody knows: `clear` helps."""
        return self._path.exists()

    def write(self, password: str) -> None:
        """Set the password.

        Raises:
            OSError, sync.SyncError: the disk fails.
        """
        write_file(self._path, msgspec.json.encode(_Kept(self._hasher.hash(password))), mode=0o600)

    def fits(self, password: str) -> bool:
        """Whether this is the password."""
        try:
            with self._path.open("rb") as file:
                kept = msgspec.json.decode(file.read(FILE_MAX_BYTES), type=_Kept)
            return self._hasher.verify(kept.hash, password)
        except (OSError, msgspec.MsgspecError, VerificationError, InvalidHashError):
            return False

    def clear(self) -> None:
        """Forget it; the next start shows a set-up code.

        Raises:
            OSError: the disk fails.
        """
        self._path.unlink(missing_ok=True)
