"""The heartbeat text of H7: an INI-like body with CRLF line ends (stb_protocols §2.5, disagreement D19)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from wire.ctc_text import CtcError, Deviation, require_safe

DEFAULT_INTERVAL_S = 900
"""What a box waits when the reply names no interval."""
HEARTBEAT_PATHS = ("/EPG/jsp/GetHeartBit", "/EPG/jsp/gethearbit.jsp")
"""Both spellings are real."""
_HEARTBEAT_PATH = re.compile(r"/EPG/(?:jsp/)?get_?heart?b(?:ea|i)t(?:\.jsp)?", re.IGNORECASE)


def is_heartbeat_path(path: str) -> bool:
    """Tell whether a box that asks for this path, in whatever spelling, means H7."""
    return _HEARTBEAT_PATH.fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the platform says on each heartbeat."""

    user_valid: bool
    """False sends the box back to its login."""
    next_call_interval_s: int = DEFAULT_INTERVAL_S
    channel_ver: str = ""
    """When it changes, the box asks for the channel list again."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Further keys, e.g. ``PVRVer``, ``BulletinVer``, ``Vnet``."""
    messages: tuple[str, ...] = ()
    deviations: tuple[Deviation, ...] = ()


def write_heartbeat(beat: Heartbeat) -> str:
    """Write the reply to H7.

    Raises:
        CtcError: a value would break a line.
    """
    pairs = {
        "UserValid": "true" if beat.user_valid else "false",
        "NextCallInterval": str(beat.next_call_interval_s),
        **({"ChannelVer": beat.channel_ver} if beat.channel_ver else {}),
        **beat.others,
    }
    lines = ["[HEARTBIT]"]
    lines += [
        f"{require_safe(key, 'heartbeat key', also='=[')}={require_safe(value, key)}" for key, value in pairs.items()
    ]
    lines += ["[MESSAGE]", *(require_safe(each, "message", also="[") for each in beat.messages), "[END]", ""]
    return "\r\n".join(lines)


def parse_heartbeat(text: str) -> Heartbeat:
    """Read a reply to H7.

    Raises:
        CtcError: no ``[HEARTBIT]`` section, or no ``UserValid``.
    """
    found = [] if "\n" not in text.replace("\r\n", "") else [Deviation("bare-lf")]
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in filter(None, (each.strip() for each in text.splitlines())):
        if line.startswith("[") and line.endswith("]"):
            current = sections.setdefault(line[1:-1].upper(), [])
        else:
            current.append(line)
    if "HEARTBIT" not in sections:
        raise CtcError("not a heartbeat reply: no [HEARTBIT] section")
    if "END" not in sections:
        found.append(Deviation("end-missing"))
    pairs = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in sections["HEARTBIT"])}
    if "UserValid" not in pairs:
        raise CtcError("heartbeat reply has no UserValid")
    interval = pairs.pop("NextCallInterval", "")
    if not re.fullmatch("[1-9][0-9]{0,8}", interval):
        found.append(Deviation("interval", interval or "missing"))
        interval = str(DEFAULT_INTERVAL_S)
    valid, version = pairs.pop("UserValid"), pairs.pop("ChannelVer", "")
    if valid not in ("true", "false"):
        found.append(Deviation("user-valid-spelling", valid))
    return Heartbeat(
        valid.lower() == "true", int(interval), version, pairs, tuple(sections.get("MESSAGE", ())), tuple(found)
    )
