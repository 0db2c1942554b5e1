"""How a box asks for another place or moment: Range in three spellings, a query in five (stb_protocols §4.7). Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from stb_emulator.boxes import RtspFace
from wire.rtsp import write_clock

NEAR_START_S = 5.0
"""A place nearer to the start than this becomes the start itself."""


def place(seconds: float, face: RtspFace) -> str:
    """Write the Range of a place in a lesson."""
    if seconds < NEAR_START_S:
        return "npt=beginning-"
    return f"npt={seconds:.3f}-" if face.seek_style == "npt-millis" else f"npt={seconds:.0f}-"


def moment_range(moment: datetime) -> str:
    """Write the Range of a moment of a channel: ``clock=…Z-``, always UTC."""
    return write_clock(moment)


def moment_address(url: str, begin: datetime, end: datetime, face: RtspFace) -> str:
    """Add the window to a channel's address in the box's spelling and zone."""
    window = f"{face.time_query}={moment_text(begin, face)}-{moment_text(end, face)}"
    return f"{url}{'&' if '?' in url else '?'}{window}"


def moment_text(moment: datetime, face: RtspFace) -> str:
    """Spell a moment. ``GMT``, ``Z`` and Unix seconds say UTC themselves; the others are in the box's own zone."""
    zone = timezone(timedelta(minutes=face.time_zone_min))
    local, utc = moment.astimezone(zone), moment.astimezone(UTC)
    match face.time_style:
        case "14":
            return f"{local:%Y%m%d%H%M%S}"
        case "14-gmt":
            return f"{utc:%Y%m%d%H%M%S}GMT"
        case "iso-compact":
            return f"{utc:%Y%m%dT%H%M%S}Z"
        case "iso":
            return f"{utc:%Y-%m-%dT%H:%M:%S}Z"
        case "unix":
            return str(int(utc.timestamp()))
