"""Channel records of H5: ``Key="value"`` pairs in one fixed order (stb_protocols §2.6, disagreement D7)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from wire.ctc_config import parse_set_configs, write_set_config
from wire.ctc_text import CtcError, Deviation, Face, is_safe, require_safe

CHANNEL_KEYS = (
    "ChannelID",
    "ChannelName",
    "UserChannelID",
    "ChannelURL",
    "TimeShift",
    "TimeShiftLength",
    "ChannelSDP",
    "TimeShiftURL",
    "ChannelType",
    "IsHDChannel",
    "PreviewEnable",
    "ChannelPurchased",
    "ChannelLocked",
    "ChannelLogURL",
    "PositionX",
    "PositionY",
    "BeginTime",
    "Interval",
    "Lasting",
    "ActionType",
    "FCCEnable",
    "ChannelFCCIP",
    "ChannelFCCPort",
    "ChannelFECPort",
)
"""The order in which records are written; some clients match it with one regular expression."""

_DEFAULTS: Mapping[str, str] = {
    "TimeShift": "0",
    "TimeShiftLength": "0",
    "ChannelType": "1",
    "IsHDChannel": "1",
    "PreviewEnable": "0",
    "ChannelPurchased": "1",
    "ChannelLocked": "0",
    "PositionX": "0",
    "PositionY": "0",
    "BeginTime": "0",
    "Interval": "0",
    "Lasting": "0",
    "ActionType": "1",
    "FCCEnable": "0",
    "ChannelFCCPort": "0",
    "ChannelFECPort": "0",
}

Style = Literal["quote-scan", "regex"]
"""Two families of clients: one scans ``key="value"`` pairs in any order, the other matches the fixed order."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One record: what every client needs, and the other keys as they were."""

    channel_id: str
    name: str
    user_channel_id: str
    """Number on the remote control, decimal."""
    url: str
    """``igmp://``, ``rtsp://``, ``http://`` (opens a page), or several joined by ``|``."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Any further key of ``CHANNEL_KEYS``; missing ones get the usual value of a lesson (no time shift, no FCC)."""
    deviations: tuple[Deviation, ...] = ()

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs in order of preference; the word ``null`` and empty parts are none."""
        return tuple(each for each in self.url.split("|") if each and each != "null")

    def other(self, key: str) -> str:
        """Return another key's value; missing and the word ``null`` are empty."""
        value = self.others.get(key, "")
        return "" if value == "null" else value


def write_channel_list(channel: Channel) -> str:
    """Write the pairs of one record, all 24 keys in their order.

    Raises:
        CtcError: an unknown key, or a value with a quote, comma, ``<``, ``>``, backslash or control character.
    """
    own = {
        "ChannelID": channel.channel_id,
        "ChannelName": channel.name,
        "UserChannelID": channel.user_channel_id,
        "ChannelURL": channel.url,
    }
    if unknown := (set(channel.others) - set(CHANNEL_KEYS)) | (set(channel.others) & set(own)):
        raise CtcError(f"not a further key of a Channel record: {', '.join(sorted(unknown))}")
    values = {**_DEFAULTS, "ChannelSDP": channel.url, **channel.others, **own}
    if not is_safe("".join(values.values()), also=","):  # one look at all; a list may have thousands of records
        for key, value in values.items():
            require_safe(value, key, also=",")
    return ",".join(f'{key}="{values.get(key, "")}"' for key in CHANNEL_KEYS)


_PAIR = re.compile(r'([A-Za-z]\w{0,63})="([^"]*)"')  # a bound: a word without end would take its length squared
_ORDERED = re.compile(",".join(f'{key}="([^"]*)"' for key in CHANNEL_KEYS))


def parse_channel_list(text: str, style: Style = "quote-scan") -> Channel:
    """Read the pairs of one record.

    Raises:
        CtcError: ChannelID or ChannelURL is missing, or (style ``regex``) the order is not the fixed one.
    """
    if style == "regex":
        if (match := _ORDERED.fullmatch(text)) is None:
            raise CtcError("Channel record is not in the fixed order")
        pairs = list(zip(CHANNEL_KEYS, match.groups(), strict=True))
    else:
        pairs = [(each.group(1), each.group(2)) for each in _PAIR.finditer(text)]
    values = dict(pairs)
    if missing := [key for key in ("ChannelID", "ChannelURL") if key not in values]:
        raise CtcError(f"Channel record without {' and '.join(missing)}")
    found = []
    if len(values) != len(pairs):
        found.append(Deviation("key-twice", values["ChannelID"]))
    known = [key for key, _ in pairs if key in CHANNEL_KEYS]
    if known != [key for key in CHANNEL_KEYS if key in values]:
        found.append(Deviation("key-order", values["ChannelID"]))
    if unknown := [key for key in values if key not in CHANNEL_KEYS]:
        found.append(Deviation("key-unknown", ",".join(unknown)))
    if absent := [key for key in CHANNEL_KEYS if key not in values]:
        found.append(Deviation("key-missing", ",".join(absent)))
    if text != ",".join(f'{key}="{value}"' for key, value in pairs):
        found.append(Deviation("text-between-pairs", values["ChannelID"]))
    own = ("ChannelID", "ChannelName", "UserChannelID", "ChannelURL")
    others = {key: value for key, value in values.items() if key not in own}
    channel_id, name, number, url = (values.get(key, "") for key in own)
    return Channel(channel_id, name, number, url, others, tuple(found))


def write_channel_lines(face: Face, channels: Iterable[Channel]) -> str:
    """Write ``ChannelCount`` and one ``Channel`` line for each record, as the script lines of H5."""
    lists = [write_channel_list(each) for each in channels]
    lines = [f"iRet = {write_set_config(face, 'ChannelCount', str(len(lists)))}"]
    # Not through write_set_config, which refuses the double quotes round the values; those were checked one by one.
    lines += [f"iRet = Authentication.{face.set_config}('Channel','{each}');\n" for each in lists]
    return "".join(lines)


@dataclass(frozen=True, slots=True)
class ChannelPage:
    """What a box takes from the reply to H5."""

    count: int | None
    """The announced ChannelCount; None when the page has none."""
    channels: tuple[Channel, ...]
    deviations: tuple[Deviation, ...] = ()


def parse_channel_page(page: str, style: Style = "quote-scan") -> ChannelPage:
    """Read all Channel lines of a page.

    Raises:
        CtcError: a record cannot be read, or the page has neither count nor channel (as a rule: session lost).
    """
    calls = parse_set_configs(page)
    channels = tuple(parse_channel_list(each.value, style) for each in calls if each.key == "Channel")
    counts = [each.value for each in calls if each.key == "ChannelCount"]
    count = int(counts[-1]) if counts and re.fullmatch("[0-9]{1,9}", counts[-1]) else None
    if count is None and not channels:
        raise CtcError("page has no ChannelCount and no Channel")
    found = () if count == len(channels) else (Deviation("count-untrue", f"{count} announced, {len(channels)} listed"),)
    return ChannelPage(count, channels, found)
