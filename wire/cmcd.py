"""Common media client data, version 1, as a player writes it (CTA-5004). No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import quote

SID_MAX_CHARS: Final = 64
CID_MAX_CHARS: Final = 64
_GROUPS: Final = {
    "CMCD-Object": ("br", "d", "ot", "tb"),
    "CMCD-Request": ("bl", "dl", "mtp", "nor", "nrr", "su"),
    "CMCD-Session": ("cid", "pr", "sf", "sid", "st", "v"),
    "CMCD-Status": ("bs", "rtp"),
}
"""In which header each key goes (§2)."""


class Kind(StrEnum):
    """Object type, key ``ot``."""

    MANIFEST = "m"
    AUDIO = "a"
    VIDEO = "v"
    MUXED = "av"
    INIT = "i"
    CAPTION = "c"
    TIMED_TEXT = "tt"
    KEY = "k"
    OTHER = "o"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmcd:
    """What a request says; None and False are left out. Lengths and rates are rounded as the standard says."""

    br_kbps: float | None = None
    """Encoded bit rate of the object."""
    bl_ms: float | None = None
    """Media in the buffer; rounded to 100 ms."""
    bs: bool = False
    """The buffer ran dry since the request before."""
    cid: str | None = None
    """The lesson, at most 64 characters."""
    d_ms: float | None = None
    """Duration of the object."""
    dl_ms: float | None = None
    """Until when the object must be there; rounded to 100 ms."""
    mtp_kbps: float | None = None
    """Measured throughput; rounded to 100 kb/s."""
    nor: str | None = None
    """Path of the next object, relative to this one."""
    nrr: str | None = None
    """Byte range of the next object, like ``500-999``."""
    ot: Kind | None = None
    pr: float = 1.0
    """Speed of play; 1 is left out."""
    rtp_kbps: float | None = None
    """Throughput that is enough; rounded to 100 kb/s."""
    sf: str | None = None
    """Format of the stream: ``d`` DASH, ``h`` HLS, ``s`` Smooth, ``o`` other."""
    sid: str | None = None
    """Number of this playing, at most 64 characters."""
    st: str | None = None
    """``v`` on demand, ``l`` live."""
    su: bool = False
    """Needed at once: at the start, after a seek or a stall."""
    tb_kbps: float | None = None
    """Highest bit rate of the list that the player may play."""


def query(data: Cmcd) -> str:
    """Write the argument ``CMCD=…`` of a query; empty when there is nothing to say."""
    text = ",".join(_word(key, value) for key, value in _pairs(data))
    return f"CMCD={quote(text, safe='')}" if text else ""


def headers(data: Cmcd) -> dict[str, str]:
    """Write the request headers that are not empty."""
    pairs = list(_pairs(data))
    found = {}
    for name, keys in _GROUPS.items():
        words = [_word(key, value) for key, value in pairs if key in keys]
        if words:
            found[name] = ",".join(words)
    return found


class _Token(str):
    """A value without quotes."""

    __slots__ = ()


def _pairs(data: Cmcd) -> Iterator[tuple[str, bool | int | float | str]]:
    """Yield what is said, sorted by key."""
    found: dict[str, bool | int | float | str | None] = {
        "bl": _hundreds(data.bl_ms),
        "br": _whole(data.br_kbps),
        "bs": data.bs or None,
        "cid": None if data.cid is None else data.cid[:CID_MAX_CHARS],
        "d": _whole(data.d_ms),
        "dl": _hundreds(data.dl_ms),
        "mtp": _hundreds(data.mtp_kbps),
        "nor": None if data.nor is None else quote(data.nor, safe=""),
        "nrr": data.nrr,
        "ot": None if data.ot is None else _Token(data.ot.value),
        "pr": None if data.pr == 1.0 else data.pr,
        "rtp": _hundreds(data.rtp_kbps),
        "sf": None if data.sf is None else _Token(data.sf),
        "sid": None if data.sid is None else data.sid[:SID_MAX_CHARS],
        "st": None if data.st is None else _Token(data.st),
        "su": data.su or None,
        "tb": _whole(data.tb_kbps),
    }
    for key in sorted(found):
        value = found[key]
        if value is not None:
            yield key, value


def _word(key: str, value: bool | int | float | str) -> str:
    if value is True:
        return key
    if isinstance(value, str) and not isinstance(value, _Token):
        escaped = re.sub(r'(["\\])', r"\\\1", value)
        return f'{key}="{escaped}"'
    return f"{key}={value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{key}={value}"


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _hundreds(value: float | None) -> int | None:
    """Round to the nearest 100, halves upwards."""
    return None if value is None else max(0, int((value + 50) // 100) * 100)
