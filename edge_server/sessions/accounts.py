"""Accounts of old boxes: one JSON file, readable by its owner only.

The passwords stand there in clear, because the old login makes its cipher key from the password: a hash cannot answer
it (stb_protocols §2.4). So an account *identifies* a box on the station's own network and authorises nothing beyond
it; never give it a password that opens anything else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from edge_server.sessions.kept import fingerprint, locked
from sync.store.files import write_file

ACCOUNTS_FORMAT = 1
ACCOUNTS_MAX_BYTES = 16 * 1024 * 1024
USER_ID_MAX_CHARS = 64
PASSWORD_MAX_CHARS = 64


class AccountError(Exception):
    """Something is wrong with the accounts file; the message says what to do."""


class AccountsExposed(AccountError):
    """Others than the owner may read or change the file."""


class AccountsUnreadable(AccountError):
    """The file is too large, not JSON of this shape, or of a newer format."""


class AccountInvalid(AccountError):
    """User name, password or STBID cannot be used."""


class AccountMissing(AccountError):
    """No account of that name."""


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the edge must know of one box or one group of boxes. Never a person's name (SEC-11)."""

    user_id: str
    """As the box sends it, e.g. ``edu001@itv``."""
    password: str
    encryption_type: Literal["0001", "0002", "0003"] | None = None
    """Announced to the box; None announces the portal's default. All types are tried whatever is announced."""
    face: Literal["CTC", "CU", "CM"] = "CTC"
    """Page names on the login page, before the box has shown which it uses."""
    charset: Literal["utf-8", "gbk"] = "utf-8"
    """Of all pages for this box (disagreement D6)."""
    stbid: str | None = None
    """When given, only this box may use the account (SEC-07)."""
    times: Literal["", "local", "utc"] = ""
    """What its boxes mean by a moment without a zone (disagreement D12); empty: what is usual for their model."""

    def __repr__(self) -> str:
        """Hide the password from logs and tracebacks."""
        return f"Account(user_id={self.user_id!r}, face={self.face!r}, encryption_type={self.encryption_type!r})"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    accounts: tuple[Account, ...] = ()
    format: int = ACCOUNTS_FORMAT


class AccountBook:
    """The accounts in one file. Changes made by another process are seen at the next ``find``."""

    def __init__(self, path: Path) -> None:
        """Read the file; no file yet is an empty book.

        Raises:
            AccountError: the file is there and cannot be used.
        """
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._accounts: dict[str, Account] = {}
        self.problem: AccountError | None = None
        """Why the last change of the file was not taken over; None when all is well."""
        self.reload()

    def __iter__(self) -> Iterator[Account]:
        """All accounts in the order in which they were added."""
        return iter(tuple(self._accounts.values()))

    def __len__(self) -> int:
        """Number of accounts."""
        return len(self._accounts)

    def reload(self) -> None:
        """Read the file again.

        Raises:
            AccountError: it cannot be used; the accounts known before stay.
        """
        seen = fingerprint(self._path)
        try:
            self._accounts = {each.user_id: each for each in load(self._path)} if seen else {}
            self.problem = None
        except AccountError as error:
            self.problem = error
            raise
        finally:
            self._seen = seen

    def find(self, user_id: str) -> Account | None:
        """Return the account of that name, or None. A broken file leaves the last good accounts in force."""
        if fingerprint(self._path) != self._seen:
            with suppress(AccountError):  # kept in self.problem for the health page; boxes must go on logging in
                self.reload()
        return self._accounts.get(user_id)

    def add(self, account: Account) -> None:
        """Add one account, or change it, and store the file.

        Raises:
            AccountInvalid: a field cannot be used.
            AccountError: the file that is there cannot be used.
        """
        _validate(account)

        def change(accounts: dict[str, Account]) -> None:
            accounts[account.user_id] = account

        self._change(change)

    def remove(self, user_id: str) -> None:
        """Remove one account and store the file.

        Raises:
            AccountMissing: no account of that name.
        """

        def change(accounts: dict[str, Account]) -> None:
            if accounts.pop(user_id, None) is None:
                raise AccountMissing(f"no account {user_id}")

        self._change(change)

    def _change(self, change: Callable[[dict[str, Account]], None]) -> None:
        with locked(self._path):
            self.reload()
            accounts = dict(self._accounts)
            change(accounts)
            save(self._path, accounts.values())
            self.reload()


def load(path: Path) -> tuple[Account, ...]:
    """Read an accounts file.

    Raises:
        AccountsExposed: group or others have any right on it.
        AccountsUnreadable: too large, not of this shape, or an account in it is invalid.
    """
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            if mode := stat.S_IMODE(state.st_mode) & 0o077:
                raise AccountsExposed(
                    f"{path} holds passwords and gives others rights {mode:03o}; run: chmod 600 {path}"
                )
            if state.st_size > ACCOUNTS_MAX_BYTES:
                raise AccountsUnreadable(f"{path} has {state.st_size} bytes; at most {ACCOUNTS_MAX_BYTES}")
            raw = file.read(ACCOUNTS_MAX_BYTES)
        read = msgspec.json.decode(raw, type=_File)
        if read.format != ACCOUNTS_FORMAT:
            raise AccountsUnreadable(f"{path} has format {read.format}; this version reads {ACCOUNTS_FORMAT}")
        for each in read.accounts:
            _validate(each)
    except (OSError, msgspec.MsgspecError, AccountInvalid, UnicodeDecodeError, RecursionError) as error:
        raise AccountsUnreadable(f"{path} is not an accounts file: {error}") from error
    if len({each.user_id for each in read.accounts}) != len(read.accounts):
        raise AccountsUnreadable(f"{path} names an account twice; remove one of the two")
    return read.accounts


def save(path: Path, accounts: Iterable[Account]) -> None:
    """Replace the file in one step, mode 0600, on disk before this returns."""
    raw = msgspec.json.format(msgspec.json.encode(_File(tuple(accounts))), indent=2) + b"\n"
    write_file(path, raw, mode=0o600)


def _validate(account: Account) -> None:
    for what, text, longest in (
        ("user name", account.user_id, USER_ID_MAX_CHARS),
        ("password", account.password, PASSWORD_MAX_CHARS),
        ("STBID", account.stbid if account.stbid is not None else "any", 64),
    ):
        if (
            not 1 <= len(text) <= longest
            or not (text.isascii() and text.isprintable())
            or set(text) & set(" $\"'<>\\&,")
        ):
            raise AccountInvalid(
                f"{what} must be 1 to {longest} printable ASCII characters, no blank $ \" ' < > \\ & ,"
            )
