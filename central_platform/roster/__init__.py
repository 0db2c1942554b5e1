"""Who is known: edge servers and the keys with which they sign their records (SEC-07)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from sync.store.files import write_file

ROSTER_NAME = "roster.json"
ROSTER_MAX_BYTES = 64 * 1024 * 1024
KEYS_MAX_COUNT = 20
"""Of one edge, of all times: what an old key signed stays true."""

KeyText = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class RosterError(ValueError):
    """What was asked cannot be done; the message says what to do."""


class EdgeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One edge server."""

    keys: Annotated[tuple[KeyText, ...], Meta(min_length=1, max_length=KEYS_MAX_COUNT)]
    """Ed25519 public keys, newest last; only these may have signed its records."""
    title: Annotated[str, Meta(max_length=100)] = ""
    """Of the place, e.g. the township."""
    revoked: Annotated[tuple[KeyText, ...], Meta(max_length=KEYS_MAX_COUNT)] = ()
    """Of which nothing more is believed."""


class _Roster(msgspec.Struct, frozen=True, kw_only=True):
    format: int = 1
    edges: dict[Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,64}$")], EdgeEntry] = {}


class Roster:
    """The roster of a platform folder. What another process writes is seen at the next look."""

    def __init__(self, root: Path) -> None:
        """Nothing is read yet."""
        self._path = root / ROSTER_NAME

    def edges(self) -> Mapping[str, EdgeEntry]:
        """Return all edges by name.

        Raises:
            RosterError: the file is damaged.
            OSError: the disk fails.
        """
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        if len(raw) > ROSTER_MAX_BYTES:
            raise RosterError(f"{self._path} is longer than {ROSTER_MAX_BYTES} bytes")
        try:
            found = msgspec.json.decode(raw, type=_Roster)
        except msgspec.MsgspecError as error:
            raise RosterError(
                f"{self._path} 已损坏，请从备份恢复 / is damaged; bring it back from a copy: {error}"
            ) from error
        return found.edges

    def add(self, edge: str, key: str, *, title: str = "", replace: bool = False) -> None:
        """Enter an edge, or with ``replace`` a new key of one that is known.

        Raises:
            RosterError: the edge is known already, or the key is none.
        """
        edges = dict(self.edges())
        known = edges.get(edge)
        if known is not None and key in known.keys:
            return
        if known is not None and not replace:
            raise RosterError(f"{edge} 已登记；换密钥请加 --replace / is entered already; for a new key add --replace")
        keys = (*(known.keys if known else ()), key)
        self._write({**edges, edge: self._checked(keys, title or (known.title if known else ""), known)})

    def revoke(self, edge: str, key: str = "") -> None:
        """Believe nothing more that this key signs; all keys of the edge when none is named.

        Raises:
            RosterError: there is no such edge or key.
        """
        edges = dict(self.edges())
        known = edges.get(edge)
        if known is None or (key and key not in known.keys):
            raise RosterError(f"没有登记 / not entered: {edge} {key}".rstrip())
        gone = set(known.revoked) | ({key} if key else set(known.keys))
        revoked = tuple(each for each in known.keys if each in gone)
        self._write({**edges, edge: msgspec.structs.replace(known, revoked=revoked)})

    def keys_of(self, edge: str) -> tuple[Ed25519PublicKey, ...]:
        """Return the keys that may sign for an edge; none for one that is not known."""
        found = self.edges().get(edge)
        if found is None:
            return ()
        good = [key for key in found.keys if key not in found.revoked]
        return tuple(Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)) for key in good)

    @staticmethod
    def _checked(keys: tuple[str, ...], title: str, known: EdgeEntry | None) -> EdgeEntry:
        entry = EdgeEntry(keys=keys, title=title, revoked=known.revoked if known else ())
        try:
            entry = msgspec.json.decode(msgspec.json.encode(entry), type=EdgeEntry)
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(keys[-1]))
        except (msgspec.MsgspecError, ValueError) as error:
            raise RosterError(
                f"密钥须为 64 位十六进制（edge-server records key）/ the key is 64 hexadecimal digits: {error}"
            ) from error
        return entry

    def _write(self, edges: dict[str, EdgeEntry]) -> None:
        raw = msgspec.json.encode(_Roster(edges=edges))
        try:
            msgspec.json.decode(raw, type=_Roster)
        except msgspec.MsgspecError as error:
            raise RosterError(
                f"名称用 a-z 0-9 _ - / the name of an edge has 1 to 64 of a-z 0-9 _ -: {error}"
            ) from error
        write_file(self._path, msgspec.json.format(raw, indent=1) + b"\n", mode=0o600)
