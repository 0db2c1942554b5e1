"""Titles by the initials of their pinyin (拼音首字母): 滴灌 is found by ``dg``, and by every reading of a character.

The table of readings is a file of the package ``pypinyin`` (MIT). The package itself is not imported: its phrases would
take 45 MB on an edge, for telling readings apart that are all accepted here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

import msgspec

PACKAGE, TABLE_NAME = "pypinyin", "pinyin_dict.json"
TITLES_KNOWN_MAX_COUNT = 20_000
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
"""What a pad for the remote control offers."""


@lru_cache(TITLES_KNOWN_MAX_COUNT)
def spelt(title: str) -> str:
    """Write for each character of a title the letters that it may begin with, ``|d|gh|jq|``; others are left out."""
    found = []
    for letter in unicodedata.normalize("NFKC", title).casefold():
        if letter in LETTERS:
            found.append(letter)
        elif letters := _table().get(ord(letter)):
            found.append(letters)
    return f"|{'|'.join(found)}|" if found else ""


@lru_cache(64)
def _pattern(typed: str) -> re.Pattern[str]:
    return re.compile(r"(?=\|" + "".join(rf"[^|]*{re.escape(letter)}[^|]*\|" for letter in typed) + "([^|]*))")


def is_spelt(title: str, typed: str) -> bool:
    """Tell whether characters of a title, one after the other, may begin with these letters."""
    return _pattern(typed).search(spelt(title)) is not None


def keys_that_lead_on(titles: Iterable[str], typed: str) -> set[str]:
    """Return the letters after which something is still found."""
    found: set[str] = set()
    pattern = _pattern(typed)
    for title in titles:
        for after in pattern.findall(spelt(title)):
            found.update(after)
        if len(found) == len(LETTERS):
            break
    return found


def is_typed(term: str) -> bool:
    """Tell whether a word can be initials."""
    return bool(term) and all(letter in LETTERS for letter in term)


@cache
def _bare(letter: str) -> str:
    """Take the tone away: ā is a."""
    return unicodedata.normalize("NFD", letter)[0]


@cache
def _table() -> Mapping[int, str]:
    """Read the initials of every character: 13 ms and 3 MB, at the first search."""
    spec = find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise ModuleNotFoundError(PACKAGE)
    readings = msgspec.json.decode((Path(folders[0]) / TABLE_NAME).read_bytes(), type=dict[str, str])
    plain: dict[str, str] = {}
    found = {}
    for code, spoken in readings.items():
        letters = "".join(sorted({_bare(each[0]) for each in spoken.split(",") if each}))
        found[int(code)] = plain.setdefault(letters, letters)
    return found
