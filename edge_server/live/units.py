"""H.264 access units in Annex B form: what is in them, and what must be added (H.264 §7.3.1, Annex B). Pure."""

from __future__ import annotations

import re

SLICE, IDR, SPS, PPS, DELIMITER = 1, 5, 7, 8, 9
START = b"\x00\x00\x00\x01"
_CODE = re.compile(b"\x00\x00\x01")


def split(data: bytes) -> tuple[bytes, ...]:
    """Return the NAL units, without start codes, delimiters and zeros at the end."""
    places = [match.start() for match in _CODE.finditer(data)]
    ends = [*places[1:], len(data)]
    found = (data[begin + 3 : end].rstrip(b"\x00") for begin, end in zip(places, ends, strict=False))
    return tuple(unit for unit in found if unit and unit[0] & 31 != DELIMITER)


def join(units: tuple[bytes, ...]) -> bytes:
    """Write them with start codes."""
    return b"".join(START + unit for unit in units)


class ParameterSets:
    """Keeps the parameter sets seen last, so that every key picture carries them."""

    def __init__(self) -> None:
        """None are known."""
        self._sps: bytes | None = None
        self._pps: tuple[bytes, ...] = ()

    @property
    def known(self) -> bool:
        """A decoder could begin."""
        return self._sps is not None and bool(self._pps)

    @property
    def profile_level_id(self) -> str:
        """Six hexadecimal digits (RFC 6184 §8.1)."""
        return self._sps[1:4].hex() if self._sps is not None and len(self._sps) >= 4 else "42e01f"

    def learn(self, units: tuple[bytes, ...]) -> None:
        """Look for parameter sets."""
        found = {kind: tuple(unit for unit in units if unit[0] & 31 == kind) for kind in (SPS, PPS)}
        if found[SPS]:
            self._sps = found[SPS][-1]
        if found[PPS]:
            self._pps = found[PPS]

    def complete(self, units: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Put the parameter sets in front of a key picture that lacks them."""
        kinds = {unit[0] & 31 for unit in units}
        return units if {SPS, PPS} <= kinds or self._sps is None else ordered((self._sps, *self._pps, *units))


def ordered(units: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Put parameter sets first, each once: some senders repeat them in front of every slice, where none may stand."""
    sets = dict.fromkeys(unit for unit in units if unit[0] & 31 in (SPS, PPS))
    return (
        *sorted(sets, key=lambda unit: unit[0] & 31),
        *(unit for unit in units if unit[0] & 31 not in (SPS, PPS)),
    )


def is_idr(units: tuple[bytes, ...]) -> bool:
    """Tell whether a decoder may begin here."""
    return any(unit[0] & 31 == IDR for unit in units)


def has_picture(units: tuple[bytes, ...]) -> bool:
    """Tell whether there is a slice at all."""
    return any(SLICE <= unit[0] & 31 <= IDR for unit in units)


def is_referred(units: tuple[bytes, ...]) -> bool:
    """Tell whether other pictures may refer to this one (nal_ref_idc)."""
    return any(unit[0] & 0x60 and SLICE <= unit[0] & 31 <= IDR for unit in units)


def begins_whole(units: tuple[bytes, ...]) -> bool:
    """Tell whether the first slice is the picture's first (first_mb_in_slice = 0)."""
    first = next((unit for unit in units if SLICE <= unit[0] & 31 <= IDR), b"")
    return len(first) > 1 and bool(first[1] & 0x80)
