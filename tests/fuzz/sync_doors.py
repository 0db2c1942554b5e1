"""Doors of ``sync``, ``domain`` and the edge's own records: what mirrors, neighbours and sticks may have changed.

What is compressed or has a checksum is changed inside, too, and wrapped again: else nothing gets past the first line.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from securesystemslib.exceptions import StorageError
from tuf.api.exceptions import RepositoryError
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from domain.courseware import CatalogueError, decode_catalogue, encode_catalogue
from edge_server.sessions.accounts import AccountError
from edge_server.sessions.accounts import load as load_accounts
from edge_server.sessions.boxes import BoxError
from edge_server.sessions.boxes import load as load_boxes
from edge_server.sessions.last_seen import read_seen
from sync import Corrupt, Unreachable, Untrusted
from sync.bundle.label import Content, Listed, decode_label, encode_label, make_label
from sync.bundle.receipt import Imported, decode_receipt, encode_receipt, make_receipt
from sync.card import Card, decode_card, encode_card
from sync.framing import _HEAD
from sync.head import Head, NeedSkips, decode_head, decode_skips, encode_head, route
from sync.listing import NamedFile, decode_listing, encode_listing, make_listing, write_moment
from sync.patch import apply_patch, expand, patch, squeeze
from sync.places import Places
from sync.recipe import Recipe, Table, decode_recipe, encode_recipe
from sync.recipe.assemble import skeleton_pieces
from sync.release import RecipeEntry, Release, apply_release, decode_release, encode_release
from sync.road.answers import accept_part, accept_whole
from sync.trust.memory import _check_root
from tests.fuzz import Door
from tests.old_boxes import CATALOGUE
from tests.trust_lab import NOW as TRUST_NOW
from tests.trust_lab import House

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
DECODED_MAX_BYTES = 1 << 20
"""Long enough to see how time and memory grow; the real bounds are up to a hundred times as much."""


def sha(n: int) -> str:
    return f"{n:064x}"


_FILES = tuple(NamedFile(f"a/{n}.mp4", sha(n), 100 * n + 1, sha(50 + n), 1) for n in range(9))
_LISTING = make_listing("main", 3, NOW, _FILES)


def _recipe() -> Recipe:
    return Recipe(
        hashlib.sha256(b"x" * 30).hexdigest(),
        30,
        b"s" * 20,
        (Table(0, 1, 4), Table(4, 1, 8)),
        np.array([2, 8], np.uint32),
        np.array([0, 1], np.uint8),
        np.array([4, 6], np.uint32),
        np.array([0, 1, 1], np.uint8),
        np.array([4, 2, 4], np.uint32),
        b"".join(hashlib.sha256(bytes([n])).digest() for n in range(3)),
    )


def _listing() -> Door:
    return Door("listing", (encode_listing(_LISTING),), decode_listing, (Corrupt,), DECODED_MAX_BYTES)


def _unframed(raw: bytes) -> tuple[bytes, bytes]:
    _, squeezed, length = _HEAD.unpack_from(raw)
    end = _HEAD.size + squeezed
    return expand(raw[_HEAD.size : end], length, most=1 << 24), raw[end:]


def _framed(magic: bytes, header: bytes, rest: bytes) -> bytes:
    squeezed = squeeze(header, level=1)
    return _HEAD.pack(magic, len(squeezed), len(header)) + squeezed + rest


def _release_raw() -> bytes:
    entries = tuple(RecipeEntry(sha(n), sha(50 + n), 9, b"r" * 5, "", Places([], [])) for n in (1, 2))
    return encode_release(Release("main", 2, 3, NOW, ("old/1.mp4",), _FILES[1:4], (sha(70),), entries))


def _release() -> Door:
    def take(data: bytes) -> None:
        apply_release(replace(_LISTING, seq=2), decode_release(data))

    return Door("release", (_release_raw(),), take, (Corrupt, Untrusted), DECODED_MAX_BYTES)


def _release_inside() -> Door:
    raw = _release_raw()
    header, rest = _unframed(raw)

    def take(data: bytes) -> None:
        apply_release(replace(_LISTING, seq=2), decode_release(data))

    return Door(
        "release-inside",
        (header,),
        take,
        (Corrupt, Untrusted),
        DECODED_MAX_BYTES,
        peak_bytes=32 << 20,
        wrap=lambda data: _framed(raw[:4], data, rest),
    )


def _card_raw() -> bytes:
    return encode_card(Card(sha(1), sha(2), 9, b"r" * 5, (sha(70), sha(71)), Places([(0, 1, 0, 3)], [(1, 100)])))


def _card() -> Door:
    return Door(
        "card",
        (_card_raw(),),
        lambda data: decode_card(data, sha256=sha(1), recipe_sha256=sha(2)),
        (Corrupt,),
        DECODED_MAX_BYTES,
    )


def _card_inside() -> Door:
    raw = _card_raw()
    header, rest = _unframed(raw)
    return Door(
        "card-inside",
        (header,),
        lambda data: decode_card(data, sha256=sha(1), recipe_sha256=sha(2)),
        (Corrupt,),
        DECODED_MAX_BYTES,
        peak_bytes=32 << 20,
        wrap=lambda data: _framed(raw[:4], data, rest),
    )


def _recipes() -> Door:
    raw = encode_recipe(_recipe())

    def take(data: bytes) -> None:
        recipe = decode_recipe(data, sha256=_recipe().sha256, length_bytes=30)
        assert recipe.length_bytes == 30 and sum(len(part) for _, part in skeleton_pieces(recipe)) <= 30

    return Door("recipe", (raw,), take, (Corrupt,), DECODED_MAX_BYTES)


def _patches() -> Door:
    base = bytes(range(256)) * 8
    raw = base[:900] + b"new" * 20 + base[900:]

    def take(data: bytes) -> None:
        assert len(apply_patch(data, base, len(raw), most=4096)) == len(raw)

    return Door("patch", (patch(raw, base), squeeze(raw)), take, (Corrupt,), DECODED_MAX_BYTES)


def _head() -> Door:
    head = Head(
        format=2,
        area="",
        channel="main",
        seq=5,
        issued=write_moment(NOW),
        root=sha(9),
        files=9,
        release=(sha(1), 10),
        skips=(sha(2), 10),
    )
    skips = b'{"format":2,"channel":"main","seq":5,"full":[1,"%s",10],"steps":[[3,"%s",10],[1,"%s",10]]}' % (
        sha(3).encode(),
        sha(4).encode(),
        sha(5).encode(),
    )

    def take(data: bytes) -> None:
        if b'"steps"' in data:
            route(1, head, decode_skips(data))
        else:
            route(1, decode_head(data), None)

    return Door("head-skips", (encode_head(head), skips), take, (Corrupt, Untrusted, NeedSkips), DECODED_MAX_BYTES)


def _label_raw() -> bytes:
    small = (Listed(f"targets/ch/main/{sha(1)}.head.json", 10, sha(1)),)
    pack = Listed(f"packs/{sha(7)[:2]}/{sha(7)}", 10, sha(7))
    content = Content("", {"main": (0, 3)}, small, ((pack,), ()))
    return encode_label(make_label(content, 1, Listed("metadata/timestamp.json", 9, sha(3)), write_moment(NOW)))


def _with_check(data: bytes) -> bytes:
    """Write the right checksum into a label that was changed, if it is JSON at all."""
    try:
        told = msgspec.json.decode(data)
        told["check"] = ""
        told["check"] = hashlib.sha256(msgspec.json.encode(told)).hexdigest()
        return msgspec.json.encode(told)
    except (msgspec.MsgspecError, TypeError, UnicodeError, RecursionError):
        return data


def _label() -> Door:
    return Door("bundle-label", (_label_raw(),), decode_label, (Corrupt,), DECODED_MAX_BYTES, wrap=_with_check)


def _receipt() -> Door:
    imported = Imported(bundle=sha(1), part=1, parts=2, channels={"main": 3}, bytes=9)
    made = make_receipt("edge-1", NOW, {"main": 3}, missing_bytes=5, imported=imported, program="1.0")
    return Door("receipt", (encode_receipt(made),), decode_receipt, (Corrupt,), DECODED_MAX_BYTES)


@cache
def _house() -> House:
    house = House(Path(tempfile.mkdtemp(prefix="fuzz-")) / "central")
    house.publish()
    return house


def _tuf() -> Door:
    house = _house()
    names = sorted(path.name for path in (house.published / "metadata").iterdir() if path.suffix == ".json")
    raw = {name: house.metadata(name).read_bytes() for name in names}
    anchor = house.anchor
    of = {kind: next(name for name in names if kind in name) for kind in ("timestamp", "snapshot", "targets")}

    def take(data: bytes) -> None:
        kind, body = data[:1], data[1:]
        if kind == b"r":
            _check_root(body)
            return
        held = TrustedMetadataSet(anchor, EnvelopeType.METADATA)
        held.reference_time = TRUST_NOW
        if kind == b"R":
            held.update_root(body)
            return
        held.update_timestamp(body if kind == b"t" else raw[of["timestamp"]])
        if kind == b"t":
            return
        held.update_snapshot(body if kind == b"s" else raw[of["snapshot"]])
        if kind != b"s":
            held.update_targets(body)

    seeds = tuple(
        letter + data
        for letter, data in (
            *((b"r", anchor), (b"R", anchor), (b"t", raw[of["timestamp"]])),
            *((b"s", raw[of["snapshot"]]), (b"T", raw[of["targets"]])),
        )
    )
    return Door("tuf-metadata", seeds, take, (RepositoryError, Untrusted, StorageError), 256 * 1024)


def _answers() -> Door:
    def take(data: bytes) -> None:
        head, _, rest = data.partition(b"\n")
        headers = dict(line.partition(": ")[::2] for line in rest.decode("latin-1").split("\n"))
        status = int(head) if head.isdigit() and len(head) == 3 else 200
        with suppress(Unreachable, Corrupt):
            accept_whole("http://m/x", status, headers, 1000)
        assert 0 <= accept_part("http://m/x", status, headers, 10, 20) <= 10

    seeds = (
        b"206\nContent-Range: bytes 10-19/99\nContent-Length: 10",
        b"200\nContent-Length: 99\nContent-Encoding: gzip",
    )
    return Door("road-answer", seeds, take, (Unreachable, Corrupt), 16 * 1024)


def _catalogue() -> Door:
    return Door("catalogue", (encode_catalogue(CATALOGUE),), decode_catalogue, (CatalogueError,), DECODED_MAX_BYTES)


def _records() -> Door:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm"))
    file = folder / "records.json"
    file.touch(mode=0o600)
    box = b'{"mac":"00:1A:79:AA:BB:CC","station":"S1","since":"2026-01-01T00:00:00Z","until":"","successor":""}'
    boxes = b'{"boxes":[%s],"format":1}' % box
    accounts = b'{"accounts":[{"user_id":"edu001@itv","password":"123456","charset":"gbk","stbid":"0"}],"format":1}'
    seen = b'{"00:1A:79:AA:BB:CC":{"at":"2026-01-01T00:00:00Z","remote":"192.0.2.1"}}'

    def take(data: bytes) -> None:
        file.write_bytes(data)
        read_seen(file)
        if b'"accounts"' in data:
            load_accounts(file)
        else:
            load_boxes(file)

    return Door(
        "edge-records", (boxes, accounts, seen), take, (BoxError, AccountError), DECODED_MAX_BYTES, peak_bytes=32 << 20
    )


SYNC: Mapping[str, Callable[[], Door]] = {
    "listing": _listing,
    "release": _release,
    "release-inside": _release_inside,
    "card": _card,
    "card-inside": _card_inside,
    "recipe": _recipes,
    "patch": _patches,
    "head-skips": _head,
    "bundle-label": _label,
    "receipt": _receipt,
    "tuf-metadata": _tuf,
    "road-answer": _answers,
    "catalogue": _catalogue,
    "edge-records": _records,
}
