"""What the head of an HTTP answer means for a transfer (``docs/formats/sync.md`` §1). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sync import Corrupt, Missing, TooLong, Unreachable
from sync.road import NoRanges

SKIP_MAX_BYTES = 4 * 1024 * 1024
"""A server without ranges sends the file from its start: so much of it is thrown away to get at a part, no more."""

_ABSENT = (403, 404, 410)
"""Buckets answer 403 for a name they do not have when listing is forbidden."""
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,18}")


def accept_whole(url: str, status: int, headers: Mapping[str, str], limit_bytes: int) -> None:
    """Accept the head of an answer to a request for a whole file.

    Raises:
        Missing, Unreachable: by the status; redirects are not followed.
        Corrupt: encoded on the way.
        TooLong: announces more than ``limit_bytes``.
    """
    if status != 200:
        raise _refused(url, status)
    _check_encoding(url, headers)
    length = _content_length(url, headers)
    if length is not None and length > limit_bytes:
        raise TooLong(f"{url}: {length} bytes; at most {limit_bytes} are allowed or signed")


def accept_part(url: str, status: int, headers: Mapping[str, str], start: int, stop: int) -> int:
    """Accept the head of an answer to a request for ``[start, stop)``; return how many body bytes come before that.

    Raises:
        NoRanges: the server sends the whole file, and too much of it would have to be thrown away.
        Missing, Unreachable: by the status; 416 says that the file ends before ``start``.
        Corrupt: encoded on the way, or another part than the one that was asked for.
    """
    if status == 416:
        raise Missing(f"{url}: has no byte {start}")
    if status not in (200, 206):
        raise _refused(url, status)
    _check_encoding(url, headers)
    length = _content_length(url, headers)
    if status == 200:
        if start > SKIP_MAX_BYTES:
            raise NoRanges(f"{url}: the server ignores Range; use one that serves parts of files")
        if length is not None and length < stop:
            raise Corrupt(f"{url}: has {length} bytes where {stop} are needed")
        return start
    said = headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(said.strip())
    if match is None or (int(match[1]), int(match[2])) != (start, stop - 1):
        raise Corrupt(f"{url}: answers Content-Range {said[:80]!r} to bytes={start}-{stop - 1}")
    if match[3] != "*" and int(match[3]) < stop:
        raise Corrupt(f"{url}: Content-Range {said[:80]!r} contradicts itself")
    if length is not None and length != stop - start:
        raise Corrupt(f"{url}: announces {length} bytes for a range of {stop - start}")
    return 0


def _refused(url: str, status: int) -> Unreachable:
    kind = Missing if status in _ABSENT else Unreachable
    return kind(f"{url}: status {status}")


def _check_encoding(url: str, headers: Mapping[str, str]) -> None:
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise Corrupt(f"{url}: sent with Content-Encoding {encoding[:80]}; turn it off on the server or proxy")


def _content_length(url: str, headers: Mapping[str, str]) -> int | None:
    said = headers.get("Content-Length")
    if said is None:
        return None
    if not _LENGTH.fullmatch(said):
        raise Corrupt(f"{url}: Content-Length {said[:80]!r} is no length")
    return int(said)
