"""RTSP header block: ordered, case-insensitive, and forgiving about lines without a colon (RFC 2326 §4, §12).

Set-top boxes send bare header names (``x-Burst``, ``x-Timeshift_Range``) among the headers; such a line is kept with
an empty value and reported as a deviation (reference/stb_protocols §4.3, §4.8).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

HEAD_LINES_MAX = 128
"""More header lines than this in one message are refused."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class WireError(ValueError):
    """The peer's bytes cannot be read, not even leniently."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One way in which the bytes differ from the specification, and yet could be read."""

    code: str
    """Short name, e.g. ``bare-header``."""
    where: str
    """The offending word or line."""


class Headers:
    """Header fields in the order of the wire; names compare without regard to case. Never changes."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        """Keep the (name, value) pairs as they are."""
        self._items: tuple[tuple[str, str], ...] = tuple(items)

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of that name; "" for a bare header line; ``default`` when there is none."""
        wanted = name.lower()
        return next((value for each, value in self._items if each.lower() == wanted), default)

    def get_all(self, name: str) -> tuple[str, ...]:
        """Return every value of that name, in order."""
        wanted = name.lower()
        return tuple(value for each, value in self._items if each.lower() == wanted)

    def items(self) -> tuple[tuple[str, str], ...]:
        """Return all pairs, in order."""
        return self._items

    def __contains__(self, name: object) -> bool:
        """Tell whether a field of that name is there."""
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Walk the pairs."""
        return iter(self._items)

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        """Compare names without case, values exactly, order included."""
        if not isinstance(other, Headers):
            return NotImplemented
        return [(n.lower(), v) for n, v in self._items] == [(n.lower(), v) for n, v in other._items]

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(tuple((n.lower(), v) for n, v in self._items))

    def __repr__(self) -> str:
        """Show the pairs."""
        return f"Headers({list(self._items)!r})"


def is_token(word: str) -> bool:
    """Tell whether the word is a token of RFC 2326 §15.1 (methods, header names)."""
    return _TOKEN.match(word) is not None


def has_control(text: str) -> bool:
    """Tell whether the text holds a control character other than the tab."""
    return _CONTROL.search(text) is not None


def parse_headers(lines: Iterable[str], found: list[Deviation]) -> Headers:
    """Read header lines (without their line ends), adding what was odd to ``found``.

    Raises:
        WireError: a control character, a line that begins with a colon, or too many lines.
    """
    items: list[tuple[str, str]] = []
    for count, line in enumerate(lines, start=1):
        if count > HEAD_LINES_MAX:
            raise WireError(f"more than {HEAD_LINES_MAX} header lines")
        if has_control(line):
            raise WireError(f"control character in header line {count}")
        if line[0] in " \t":
            if not items:
                raise WireError("the first header line is a continuation")
            found.append(Deviation("folded-header", items[-1][0]))
            items[-1] = (items[-1][0], f"{items[-1][1]} {line.strip()}".strip())
            continue
        name, colon, value = line.partition(":")
        if not name.strip():
            raise WireError(f"header line {count} has no name")
        if not colon:
            found.append(Deviation("bare-header", name.strip()))
        elif not is_token(name):
            found.append(Deviation("odd-header-name", name))
        items.append((name.strip(), value.strip()))
    return Headers(items)


def write_headers(headers: Headers) -> str:
    """Write the block, each line ended by CRLF, without the empty line.

    Raises:
        ValueError: a name is no token, or a value would break the line.
    """
    for name, value in headers:
        if not is_token(name):
            raise ValueError(f"header name {name!r} is not a token")
        if has_control(value):
            raise ValueError(f"control character in the value of {name}")
    return "".join(f"{name}: {value}\r\n" for name, value in headers)
