"""Writer of XMLTV programme guides.

Source: the XMLTV document type (xmltv.dtd, version 0.5): channels first, then programmes; times are
``YYYYMMDDHHMMSS +0000``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape, quoteattr

MEDIA_TYPE = "application/xml; charset=utf-8"
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE tv SYSTEM "xmltv.dtd">\n'
# XML 1.0 §2.2: these cannot stand in a document at all, not even as character references.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class GuideChannel:
    """One channel of the guide."""

    channel_id: str
    names: tuple[str, ...]
    """At least one; the first is the one to show."""


@dataclass(frozen=True, slots=True)
class GuideProgramme:
    """What is on from ``start`` to ``stop``."""

    channel_id: str
    start: datetime
    stop: datetime
    title: str
    description: str = ""
    category: str = ""


def write_channel(channel: GuideChannel) -> str:
    """Write one ``channel`` element."""
    names = "".join(f"    <display-name>{_text(name)}</display-name>\n" for name in channel.names)
    return f"  <channel id={_attribute(channel.channel_id)}>\n{names}  </channel>\n"


def write_programme(programme: GuideProgramme) -> str:
    """Write one ``programme`` element."""
    told = f"    <title>{_text(programme.title)}</title>\n"
    if programme.description:
        told += f"    <desc>{_text(programme.description)}</desc>\n"
    if programme.category:
        told += f"    <category>{_text(programme.category)}</category>\n"
    times = f'start="{_moment(programme.start)}" stop="{_moment(programme.stop)}"'
    return f"  <programme {times} channel={_attribute(programme.channel_id)}>\n{told}  </programme>\n"


def write_guide(channels: Iterable[GuideChannel], programmes: Iterable[GuideProgramme], source: str = "") -> str:
    """Write a whole document. ``source`` says who made it."""
    named = f" source-info-name={_attribute(source)}" if source else ""
    body = "".join(map(write_channel, channels)) + "".join(map(write_programme, programmes))
    return f"{HEAD}<tv{named}>\n{body}</tv>\n"


def _text(text: str) -> str:
    return escape(_FORBIDDEN.sub("�", text))


def _attribute(text: str) -> str:
    return quoteattr(_FORBIDDEN.sub("�", text))


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%d%H%M%S} +0000"
