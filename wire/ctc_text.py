"""Words, errors and text rules that all parts of the Huawei-style portal grammar share.

Source: the project's protocol notes, stb_protocols §2 (what boxes do; the normative text was not available).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import Enum


class CtcError(ValueError):
    """The text cannot be read (or written) as this grammar, not even leniently."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One way in which what was read differs from what the strict writer would have written."""

    code: str
    where: str = ""


class Face(Enum):
    """Operator face: the same portal under the names of China Telecom (CTC), Unicom (CU) or Mobile (CM)."""

    CTC = "CTC"
    CU = "CU"
    CM = "CM"

    @property
    def set_config(self) -> str:
        """Name of the box's script function, e.g. ``CTCSetConfig``."""
        return f"{self.value}SetConfig"


# What would break a record that clients read with one regular expression, by counting quotes, by splitting on commas,
# or by running it as script inside HTML. Each has a full-width twin that GB 2312 knows, so a title stays readable.
_TWINS = str.maketrans(
    {'"': "＂", "'": "’", ",": "，", "<": "＜", ">": "＞", "\\": "＼", "`": "｀"},
)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\"'<>\\]")
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")
_SURROGATES = re.compile("[\ud800-\udfff]")


def screen_text(text: str) -> str:
    """Make free text (a title) safe inside a record: quotes, comma, ``<``, ``>`` and backslash become full-width.

    Runs of white space, line breaks and control characters become one space. The result never breaks the grammar of
    a Channel record, a SetConfig line or a hidden input, and needs no unescaping, which regex clients do not do.
    """
    return _BREAKS.sub(" ", _SURROGATES.sub("�", text)).strip().translate(_TWINS)


def is_safe(text: str, *, also: str = "") -> bool:
    """Tell whether the text can stand in a quoted value, and has none of the characters ``also``."""
    return _UNSAFE.search(text) is None and not any(each in text for each in also)


def require_safe(text: str, what: str, *, also: str = "") -> str:
    """Return the text when it cannot break a quoted value.

    Raises:
        CtcError: it has a quote, ``<``, ``>``, backslash, control character, or one of ``also``.
    """
    if (bad := _UNSAFE.search(text)) or (bad := re.search(f"[{re.escape(also)}]", text) if also else None):
        raise CtcError(f"{what} may not contain {bad.group()!r}; pass free text through screen_text first")
    return text


def decode_page(body: bytes, content_type: str = "") -> tuple[str, tuple[Deviation, ...]]:
    """Decode a page as boxes do: UTF-8 if it fits, else GB 18030 (a superset of GBK); the header is not believed.

    Raises:
        CtcError: neither fits.
    """
    declared = re.search(r"charset\s*=\s*\"?([\w-]+)", content_type, re.IGNORECASE)
    for charset, names in (("utf-8", {"utf-8", "utf8"}), ("gb18030", {"gbk", "gb2312", "gb18030"})):
        try:
            text = body.decode(charset)
        except UnicodeDecodeError:
            continue
        if body.isascii() or declared is None or declared.group(1).lower() in names:
            return text, ()
        return text, (Deviation("charset-untrue", f"declared {declared.group(1)}, is {charset}"),)
    raise CtcError("page is neither UTF-8 nor GB 18030")


def temp_key(session_id: str, share_key: str = "") -> str:
    """Return the ``tempKey`` of H5: upper-hex MD5 of the JSESSIONID value and the share key (stb_protocols §2.3)."""
    return hashlib.md5((session_id + share_key).encode(), usedforsecurity=False).hexdigest().upper()
