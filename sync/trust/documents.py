"""Single metadata documents: signing one, reading one, and what they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from sync.trust import ANCHOR_NAME, BIN_BITS, BIN_PREFIX, ROOT_ROTATIONS_MAX, Road

TIMESTAMP_NAME = "timestamp.json"
ROAD_MEMBER = "x-road"
"""In a timestamp: the road it is good for; absent means ``network``."""
BIN_MEMBER = "x-bin"
"""In a hash bin: its own role. TUF does not say it, and one key signs all bins, so that without this one bin could be
sent in place of another of the same version, and its channels would be gone."""

Document = TypeVar("Document", Root, Snapshot, Targets, Timestamp)
Read = Callable[[str], bytes]
Taken = Callable[[str], bool]
"""Tells whether a metadata file of that name exists. Leftovers of a crash keep their name for ever: what was once
readable under a name is never replaced by something else."""


def after(now: datetime, days: int) -> datetime:
    """Return the moment so many days later, in UTC."""
    return now.astimezone(UTC) + timedelta(days=days)


def sign(document: Document, signers: Sequence[CryptoSigner]) -> bytes:
    """Return the bytes to publish: compact JSON with one signature of each signer."""
    metadata = Metadata[Document](document)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes(JSONSerializer(compact=True))


def name_in(document: Root | Snapshot | Targets, role: str = "") -> str:
    """Return the name of the file of that document; bins need their role to be given."""
    return f"{document.version}.{role or document.type}.json"


def next_version(version: int, role: str, taken: Taken) -> int:
    """Return the first higher version whose name is free."""
    version += 1
    while taken(f"{version}.{role}.json"):
        version += 1
    return version


def timestamp_of(version: int, snapshot_version: int, expires: datetime, road: Road) -> Timestamp:
    """Return timestamp metadata for that road."""
    extra = {} if road == "network" else {ROAD_MEMBER: road}
    return Timestamp(version, None, expires, MetaFile(snapshot_version), extra)


def meta_of(targets: Targets, bins: Mapping[str, Targets]) -> dict[str, MetaFile]:
    """Return what the snapshot metadata lists."""
    listed = {"targets.json": MetaFile(targets.version)}
    return listed | {f"{role}.json": MetaFile(each.version) for role, each in bins.items()}


def bin_of(role: str, version: int, expires: datetime, named: Mapping[str, TargetFile]) -> Targets:
    """Return a hash bin that names these targets."""
    return Targets(version, None, expires, dict(named), None, {BIN_MEMBER: role})


def bins_of(signer: CryptoSigner) -> Delegations:
    """Return the delegation of every name to hash bins that this key signs."""
    key = signer.public_key
    return Delegations({key.keyid: key}, succinct_roles=SuccinctRoles([key.keyid], 1, BIN_BITS, BIN_PREFIX))


def bins_in(targets: Targets) -> tuple[Delegations, SuccinctRoles]:
    """Return the delegation in the targets metadata.

    Raises:
        RepositoryError: it does not delegate to hash bins.
    """
    if targets.delegations is None or targets.delegations.succinct_roles is None:
        raise RepositoryError("the targets metadata does not delegate to hash bins")
    return targets.delegations, targets.delegations.succinct_roles


def holds(delegator: Root | Targets, role: str, raw: bytes) -> bool:
    """Tell whether the document is signed as the delegator asks."""
    metadata = Metadata[Targets].from_bytes(raw)
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except RepositoryError:
        return False
    return True


def read_roots(read: Read) -> list[tuple[Root, bytes]]:
    """Read the chain of roots, from version 1 to the newest.

    Raises:
        RepositoryError: one is not signed by its predecessor and itself.
        FileNotFoundError: there is no first.
    """
    chain: list[tuple[Root, bytes]] = []
    name = ANCHOR_NAME
    while len(chain) <= ROOT_ROTATIONS_MAX:
        try:
            raw = read(name)
        except FileNotFoundError:
            if chain:
                break
            raise
        metadata = Metadata[Root].from_bytes(raw)
        root = metadata.signed
        for judge in (chain[-1][0] if chain else root, root):
            judge.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
        if root.version != len(chain) + 1:
            raise RepositoryError(f"{name} holds version {root.version}")
        chain.append((root, raw))
        name = f"{root.version + 1}.root.json"
    return chain


def read_document(
    judges: Sequence[Root] | Sequence[Targets], role: str, kind: type[Document], raw: bytes, version: int | None
) -> Document:
    """Return the document when it is of that kind and version, and signed as one of the judges asks.

    Raises:
        RepositoryError: it is not.
    """
    metadata = Metadata[Document].from_bytes(raw)
    if not any(holds(judge, role, raw) for judge in judges):
        judges[0].verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    if not isinstance(metadata.signed, kind):
        raise RepositoryError(f"{role} metadata is of type {metadata.signed.type}")
    if version not in (None, metadata.signed.version):
        raise RepositoryError(f"{role} metadata is of version {metadata.signed.version}, not {version}")
    return metadata.signed
