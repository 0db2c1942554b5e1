"""Reading a whole stick before anything of it is taken in.

What is found here is what accidents do: a stick that is damaged, incomplete, old, or somebody else's. Whether it is
*genuine* is told by the signatures when it is imported; a label can be forged, and nothing here rests on it but which
sentence somebody reads. Only names of the label are opened, so whatever else is on the stick costs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sync import Corrupt, Missing, TooLong, Unreachable
from sync.bundle import words
from sync.bundle.label import LABEL_MAX_BYTES, Label, Listed, OtherFormat, decode_label
from sync.bundle.names import (
    LABEL_NAME,
    UNFINISHED_NAME,
    channel_of_head,
    has_signatures,
    is_pack,
    is_signature,
)
from sync.bundle.stick import NotPlain, Stick
from sync.bundle.words import StickRefused
from sync.head import HEAD_MAX_BYTES, SKIPS_MAX_BYTES, Head, Skips, decode_head, decode_skips, route
from sync.ids import sha256_hex

OnProgress = Callable[[int, int], None]
"""Called with the bytes that were read and those that are to be read; what it raises ends the inspection."""


@dataclass(frozen=True)
class News:
    """What a stick brings of one channel."""

    channel: str
    held: int
    """Release; 0 for nothing."""
    seq: int
    """Release on the stick."""


@dataclass(frozen=True)
class Inspected:
    """A stick that was read to the end and is what its label says.

    To import it::

        source = StickSource(stick, trust_dir)
        puller = Puller(source=source, trust_dir=trust_dir, road="bundle", lacking=inspected.lacking, …)
        for news in inspected.news:
            await puller.pull(news.channel, …)      # OnOtherSticks: take in the other channels, then the next stick
    """

    bundle: str
    """Names the set of sticks."""
    part: int
    parts: int
    issued: str
    news: tuple[News, ...]
    """Channels of which the stick brings something newer that this edge can take."""
    others: tuple[News, ...]
    """Channels that were asked for, but are as new here, or begin too late for this edge."""
    files: int
    bytes: int
    """Of all files."""
    packs: frozenset[str]
    """Names of the packs on this stick."""
    elsewhere: Mapping[str, int]
    """Names of packs that are on another stick of the set, and its number."""

    def lacking(self, name: str) -> bool:
        """Tell whether a pack is known to lie on another stick of the set, and not on this one."""
        return name in self.elsewhere and name not in self.packs

    def sticks_with(self, packs: Iterable[str]) -> tuple[int, ...]:
        """Return the numbers of the other sticks that have any of these packs (by their names), ascending."""
        return tuple(sorted({self.elsewhere[name] for name in packs if name in self.elsewhere}))


def inspect(
    stick: Path,
    *,
    area: str,
    held: Mapping[str, int],
    on_progress: OnProgress,
    channels: Collection[str] | None = None,
) -> Inspected:
    """Read a stick to its end; what is quickly found out comes first. Blocking; takes as long as the stick does.

    Args:
        stick: The folder with ``bundle.json``.
        area: Of this edge; empty: any stick will do.
        held: By channel: the release that is held in full. 0 or absent: nothing.
        on_progress: See OnProgress.
        channels: Those that this edge follows; None: all.

    Raises:
        StickRefused: see ``sync.bundle.words``. Nothing was changed anywhere.
        Unreachable: the stick is not there, or was pulled out.
    """
    disk = Stick(stick)
    try:
        return _inspect(disk, area, held, on_progress, channels)
    except StickRefused as refused:
        if refused.reason != "not_a_bundle" and not _is_there(disk):
            raise Unreachable(f"{stick} was pulled out while it was read") from refused
        raise


def _inspect(
    disk: Stick, area: str, held: Mapping[str, int], on_progress: OnProgress, channels: Collection[str] | None
) -> Inspected:
    label = _label(disk)
    if not has_signatures(file.name for file in label.files):
        raise words.unsigned("metadata")
    if label.area and area and label.area != area:
        raise words.other_area(label.area, area)
    _check_there(disk, label)
    whole = sum(file.length_bytes for file in label.files)
    if 0 < disk.capacity_bytes() < whole:  # files with holes, or one under many names: reading it would not end
        raise words.damaged(LABEL_NAME)
    heads = _heads(disk, label, area)
    news, others = _compare(disk, label, heads, held, channels)
    done = 0
    on_progress(0, whole)
    for file in label.files:
        digest = hashlib.sha256()
        for piece in _pieces(disk, file):
            digest.update(piece)
            done += len(piece)
            on_progress(done, whole)
        if digest.hexdigest() != file.sha256:
            raise words.damaged(file.name)
    return Inspected(
        bundle=label.bundle,
        part=label.part,
        parts=label.parts,
        issued=label.issued,
        news=news,
        others=others,
        files=len(label.files),
        bytes=whole,
        packs=frozenset(file.name for file in label.files if is_pack(file.name)),
        elsewhere={pack.name: pack.part for pack in label.elsewhere},
    )


def _label(disk: Stick) -> Label:
    try:
        length = disk.length(LABEL_NAME)
        if length is None:
            raise words.unfinished() if disk.length(UNFINISHED_NAME) is not None else words.not_a_bundle()
        return decode_label(disk.read(LABEL_NAME, LABEL_MAX_BYTES))
    except NotPlain as error:
        raise words.not_a_bundle() from error
    except OtherFormat as error:
        raise words.other_version() from error
    except (Corrupt, OSError) as error:
        raise words.damaged(LABEL_NAME) from error


def _check_there(disk: Stick, label: Label) -> None:
    """Look at every file of the label; nothing is read yet."""
    missing = []
    for file in label.files:
        try:
            length = disk.length(file.name)
        except (NotPlain, OSError) as error:
            raise words.damaged(file.name) from error
        if length is None:
            missing.append(file.name)
        elif length != file.length_bytes:
            raise words.damaged(file.name)
    for name in missing:
        if is_signature(name):
            raise words.unsigned(name)
    if missing:
        raise words.incomplete(missing[0], len(missing))


def _heads(disk: Stick, label: Label, area: str) -> dict[str, Head]:
    """Read the heads: they tell channel, release and area better than a label."""
    heads: dict[str, Head] = {}
    for file in label.files:
        channel = channel_of_head(file.name)
        if channel is None:
            continue
        raw = _read(disk, file, HEAD_MAX_BYTES)
        try:
            head = decode_head(raw)
        except Corrupt as error:
            raise words.damaged(file.name) from error
        if head.channel != channel or channel in heads:
            raise words.damaged(file.name)
        if head.area and area and head.area != area:
            raise words.other_area(head.area, area)
        heads[channel] = head
    if {channel: head.seq for channel, head in heads.items()} != {
        name: span[1] for name, span in label.channels.items()
    }:
        raise words.damaged(LABEL_NAME)
    return heads


def _compare(
    disk: Stick,
    label: Label,
    heads: Mapping[str, Head],
    held: Mapping[str, int],
    channels: Collection[str] | None,
) -> tuple[tuple[News, ...], tuple[News, ...]]:
    """Return what can be taken in, and what cannot or need not."""
    listed = {file.name: file for file in label.files}
    news, current, gaps = [], [], []
    for channel, head in sorted(heads.items()):
        if channels is not None and channel not in channels:
            continue
        each = News(channel, held.get(channel, 0), head.seq)
        if each.held >= each.seq:
            current.append(each)
        elif _leads_on(disk, listed, head, each.held):
            news.append(each)
        else:
            gaps.append(each)
    if not news and gaps:
        raise words.starts_later(gaps[0].channel, label.channels[gaps[0].channel][0], gaps[0].held)
    if not news:
        raise words.older([(each.channel, each.seq, each.held) for each in current])
    return tuple(news), tuple([*current, *gaps])


def _leads_on(disk: Stick, listed: Mapping[str, Listed], head: Head, held: int) -> bool:
    """Tell whether the stick has the releases that lead from the held one to the head's."""
    name = f"skips/{head.skips[0]}"
    file = listed.get(name)
    if file is None:
        raise words.incomplete(name, 1)
    try:
        skips: Skips = decode_skips(_read(disk, file, SKIPS_MAX_BYTES))
        steps = route(held, head, skips)
    except Corrupt as error:
        raise words.damaged(name) from error
    return all(f"releases/{step.sha256}" in listed for step in steps)


def _read(disk: Stick, file: Listed, most_bytes: int) -> bytes:
    raw = b"".join(_pieces(disk, file))
    if len(raw) > most_bytes or sha256_hex(raw) != file.sha256:
        raise words.damaged(file.name)
    return raw


def _pieces(disk: Stick, file: Listed) -> Iterable[bytes]:
    """Yield exactly the listed number of bytes, or refuse."""
    length = 0
    try:
        for piece in disk.pieces(file.name, file.length_bytes):
            length += len(piece)
            yield piece
    except (Missing, TooLong, NotPlain, OSError) as error:
        raise words.damaged(file.name) from error
    if length != file.length_bytes:
        raise words.damaged(file.name)


def _is_there(disk: Stick) -> bool:
    """Tell whether the stick is still plugged in: an empty mount point looks like files that are missing."""
    try:
        return disk.length(LABEL_NAME) is not None
    except NotPlain:
        return True
    except (OSError, Unreachable):
        return False
