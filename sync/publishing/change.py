"""What somebody asks the publisher to change, and the listing that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from sync.listing import PRIORITY_MAX, Listing, NamedFile, make_listing
from sync.publishing.errors import PublishError
from sync.publishing.intake import Taken
from sync.publishing.priority import priority_of
from sync.publishing.reading import Current

Priority = Mapping[str, int] | Callable[[str], int]
"""Tells the priority of names. A mapping may leave names out (they keep theirs, or get one by their ending), and may
name files that are not added, to change only that."""


@dataclass(frozen=True)
class Change:
    """What to change in one channel."""

    add: Mapping[str, Path | bytes] = field(default_factory=dict)
    """Content by name: new, or in place of what is there."""
    remove: Collection[str] = ()
    priority: Priority = field(default_factory=dict)


def check_readable(name: str, content: Path | bytes) -> None:
    """Look whether a file can be opened, before anything is begun.

    Raises:
        PublishError: it cannot.
    """
    if isinstance(content, bytes):
        return
    try:
        with content.open("rb"):
            pass
    except OSError as error:
        raise PublishError(f"cannot read {content} for {name!r}: {error.strerror}") from error


def check_change(channel: str, change: Change, previous: Current | None) -> None:
    """Check what can be checked before content is read.

    Raises:
        PublishError: the change makes no sense for what is published now.
    """
    old = previous.listing.files if previous else {}
    for name in change.remove:
        if name in change.add or name not in old:
            raise PublishError(f"cannot remove {name!r} from {channel}: it is not there, or is also added")
    if isinstance(change.priority, Mapping):
        for name, priority in change.priority.items():
            if name not in change.add and (name not in old or name in change.remove):
                raise PublishError(f"cannot change the priority of {name!r} in {channel}: it is not there")
            if not 0 <= priority <= PRIORITY_MAX:
                raise PublishError(f"{name!r}: priority {priority}; at most {PRIORITY_MAX}")


def changed(
    channel: str, change: Change, previous: Current | None, taken: Mapping[str, Taken], now: datetime
) -> Listing:
    """Return the listing after the change.

    Args:
        channel: Its name.
        change: What was asked for.
        previous: What is published now.
        taken: What was taken in, by name.
        now: When.

    Raises:
        Corrupt: a number or count is out of bounds.
    """
    files = dict(previous.listing.files) if previous else {}
    for name in change.remove:
        del files[name]
    told = change.priority
    for name, new in taken.items():
        old = files.get(name)
        if isinstance(told, Mapping):
            priority = told.get(name, old.priority if old else priority_of(name))
        else:
            priority = told(name)
        files[name] = NamedFile(name, new.sha256, new.length_bytes, new.recipe_sha256, priority)
    if isinstance(told, Mapping):
        for name in told.keys() - taken.keys():
            files[name] = msgspec.structs.replace(files[name], priority=told[name])
    seq = previous.listing.seq + 1 if previous else 1
    return make_listing(channel, seq, now, files.values())
