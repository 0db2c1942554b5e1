"""The channels of the last page: ``jsSetConfig('Channel', …)`` and the positional ``jsSetChannelInfo`` (§3.2). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

import msgspec

from stb_emulator.observe import PlayError, Stage
from wire.ctc import Channel, CtcError, parse_channel_list, parse_set_configs
from wire.zte import parse_time

Parser = Literal["regex", "quote-scan"]
PLACES = 21
"""Values of one ``jsSetChannelInfo``, by place: number, time-shift, its length, by multicast, id, name, column, …"""
ID, NAME, COLUMN = 4, 5, 6

_CALL = re.compile(r"\bjsSetConfig\s*\(\s*(['\"])(\w+)\1\s*,\s*(?:'([^'\r\n]*)'|\"((?:[^\"\\\r\n]|\\.)*)\")\s*\)")
_NARROW_CALL = re.compile(r"jsSetConfig\('(Channel)', *'([^']+)'\)")
_POSITIONS = re.compile(r"\bjsSetChannelInfo\s*\(")
_NARROW_POSITIONS = re.compile(r"jsSetChannelInfo\(([^)]+)\);")
_VALUE = re.compile(r"\s*(?:'((?:[^'\\\r\n]|\\.)*)'|\"((?:[^\"\\\r\n]|\\.)*)\"|([^\s,'\"()]*))\s*([,)])")


@dataclass(frozen=True, slots=True)
class Listing:
    """What a box takes from the page."""

    channels: tuple[Channel, ...]
    columns: dict[str, str]
    """Column by channel id, as ``jsSetChannelInfo`` says."""
    deviations: tuple[str, ...]


def parse(page: str, parser: Parser) -> Listing:
    """Read all channels with one of two kinds of client: by narrow patterns, or place by place.

    Raises:
        CtcError: a record or a positional call cannot be read.
    """
    if parser == "regex":
        records = [found[1] for found in _NARROW_CALL.findall(page)]
        calls = [_as_json(text) for text in _NARROW_POSITIONS.findall(page)]
    else:
        found = [(key, single or double.replace('\\"', '"')) for _, key, single, double in _CALL.findall(page)]
        records = [value for key, value in found if key == "Channel"]
        calls = [_scan(page, match.end()) for match in _POSITIONS.finditer(page)]
    channels = tuple(parse_channel_list(record, parser) for record in records)
    odd = [d.code for c in channels for d in c.deviations]
    if any(len(call) != PLACES for call in calls):
        odd.append("channel-info-places")
    info = {call[ID]: call for call in calls if len(call) > COLUMN}
    ids = [c.channel_id for c in channels]
    if len(set(ids)) != len(ids):
        odd.append("channel-twice")
    if set(info) != set(ids):
        odd.append("channel-info-missing" if set(ids) - set(info) else "channel-info-unknown")
    if any(c.channel_id in info and info[c.channel_id][NAME] != c.name for c in channels):
        odd.append("channel-info-name")
    return Listing(channels, {i: call[COLUMN] for i, call in info.items()}, tuple(dict.fromkeys(odd)))


def parse_early(page: str, parser: Parser) -> Listing:
    """Read the channels on the pages of the login: ``CTCSetConfig``, for ``jsSetConfig`` exists only later (§3.4).

    Raises:
        CtcError: a record cannot be read.
    """
    records = [call.value for call in parse_set_configs(page) if call.key == "Channel"]
    found = {c.channel_id: c for c in (parse_channel_list(record, parser) for record in records)}
    return Listing(tuple(found.values()), {}, tuple(d.code for c in found.values() for d in c.deviations))


class _Shown(msgspec.Struct):
    """A programme of ``prevueList.jsp``."""

    begintime: str


class _Day(msgspec.Struct):
    """Its answer."""

    returncode: str
    data: list[_Shown]


def begins(text: str, zone: timezone) -> list[datetime]:
    """When the programmes of a day begin; times are local.

    Raises:
        PlayError: unreadable.
    """
    try:
        day = msgspec.json.decode(text.encode(), type=_Day)
        return [parse_time(each.begintime, zone.utcoffset(None)) for each in day.data]
    except (msgspec.DecodeError, CtcError, RecursionError) as error:
        raise PlayError(Stage.BROWSE, "节目单无法解析", f"unreadable programme list: {error}"[:160]) from error


def _scan(page: str, at: int) -> list[str]:
    values: list[str] = []
    while (match := _VALUE.match(page, at)) is not None and len(values) < 2 * PLACES:
        single, double, bare, stop = match.groups()
        values.append(next(v for v in (single, double, bare, "") if v is not None))
        if stop == ")":
            return values
        at = match.end()
    raise CtcError("jsSetChannelInfo cannot be read")


def _as_json(text: str) -> list[str]:
    """Read the values as one client does: single quotes for double ones, then JSON."""
    try:
        return [str(v) for v in msgspec.json.decode(f"[{text.replace(chr(39), chr(34))}]".encode(), type=list)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CtcError(f"jsSetChannelInfo({text[:60]}) is no list: {error}") from error
