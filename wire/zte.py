"""The ZTE-style portal grammar (``/iptvepg``): what it writes otherwise than the Huawei-style one; stb_protocols §3.

The Authenticator, ``CTCSetConfig`` and the Channel record are those of ``wire.ctc``. Writers are strict; readers are
lenient and report what was unusual as ``Deviation``. Made from what public clients parse; no vendor's text was seen.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta, timezone

from wire.ctc_channel import Channel, parse_channel_list, write_channel_list
from wire.ctc_text import CtcError, Deviation, require_safe
from wire.ctc_text import screen_text as ctc_screen_text

USER_TOKEN_HEADER = "X-Frame-UserToken"
"""Field of the reply to Z4; its value is the UserToken."""
REBUILD_PAGE = "rebuildsessionresponse.jsp"
ERROR_PAGE = "qrcodeerror.jsp"
_TIME = re.compile(r"([0-9]{4})\.([0-9]{1,2})\.([0-9]{1,2}) +([0-9]{1,2}):([0-9]{2}):([0-9]{2})")
_BRACKETS = str.maketrans("()", "（）")


def screen_text(text: str) -> str:
    """Make free text safe inside a positional call too: a client ends it at the first ``)``."""
    return ctc_screen_text(text).translate(_BRACKETS)


def write_time(moment: datetime, utc_offset: timedelta) -> str:
    """Write a moment in the box's local time as ``2026.11.24 08:00:00``."""
    local = moment.astimezone(timezone(utc_offset))
    return f"{local.year:04d}.{local:%m.%d %H:%M:%S}"


def parse_time(text: str, utc_offset: timedelta) -> datetime:
    """Read a local time; the text names no zone, so the reader must know it.

    Raises:
        CtcError: not such a time.
    """
    match = _TIME.fullmatch(text.strip())
    try:
        if match is not None:
            year, month, day, hour, minute, second = (int(each) for each in match.groups())
            return datetime(year, month, day, hour, minute, second, tzinfo=timezone(utc_offset)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise CtcError(f"not a time like 2026.11.24 08:00:00: {text[:40]!r}")


_AUTH_INFO = re.compile(r"GetAuthInfo\s*\(\s*(['\"])([^'\"\r\n]*)\1\s*\)")


def write_auth_info(token: str, *, old: bool, form: str = "authform") -> str:
    """Write the script line by which a box makes its Authenticator: Z1a (``old``) or Z1b."""
    function = "Authentication.CTCGetAuthInfo" if old else "GetAuthInfo"
    return f"document.{form}.Authenticator.value = {function}('{require_safe(token, 'EncryptToken')}');\n"


def parse_auth_info(page: str) -> str:
    """Find the EncryptToken in the reply to Z1; it may begin with ``@@`` and is taken as it is.

    Raises:
        CtcError: the page has none.
    """
    match = _AUTH_INFO.search(page)
    if match is None or not match.group(2):
        raise CtcError("page has no GetAuthInfo('…')")
    return match.group(2)


_ACTION = re.compile(r"<form\b[^<>]*\baction\s{0,16}=\s{0,16}(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_LOCATION = re.compile(r"(?:window|document|self)\.location(?:\.href)?\s*=\s*(['\"])([^'\"\r\n]*)\1")


def parse_form_action(page: str) -> str:
    """Return where the page's first form goes; empty when it has none."""
    match = _ACTION.search(page)
    return html.unescape(match.group(1) or match.group(2) or "") if match else ""


def write_location(url: str, *, of: str = "window") -> str:
    """Write the script line that sends a box on."""
    return f"{of}.location = '{require_safe(url, 'URL')}';\n"


def parse_location(page: str) -> str:
    """Return where the page sends the box on; empty when nowhere."""
    match = _LOCATION.search(page)
    return html.unescape(match.group(2)) if match else ""


_REBUILD = re.compile(r"weburl\s*=\s*'([^'\r\n]*)'\s*\+\s*usertoken\s*\+\s*'([^'\r\n]*)'", re.IGNORECASE)
_ERROR = re.compile(re.escape(ERROR_PAGE) + r"\?errorcode=([0-9]{1,9})")


def write_rebuild(before: str, after: str = "") -> str:
    """Write the line of a page of a lost session: the box puts its own UserToken between the two parts."""
    return f"var weburl = '{require_safe(before, 'URL')}' + usertoken + '{require_safe(after, 'URL')}';\n"


def parse_rebuild(page: str, user_token: str) -> str | None:
    """Return the URL that rebuilds the session, empty when the page names none; None: the session is not lost."""
    if REBUILD_PAGE not in page:
        return None
    match = _REBUILD.search(page)
    return f"{match.group(1)}{user_token}{match.group(2)}" if match else ""


def write_error(code: int, folder: str = "/iptvepg/platform/") -> str:
    """Write the line that sends a box to the page of a fatal error."""
    return write_location(f"{folder}{ERROR_PAGE}?errorcode={code}")


def parse_error(page: str) -> int | None:
    """Return the code of a fatal error; None when there is none."""
    match = _ERROR.search(page)
    return int(match.group(1)) if match else None


_JS_CONFIG = re.compile(
    r"jsSetConfig\s*\(\s*(['\"])([^'\"\r\n]*)\1\s*,\s*(?:'([^'\r\n]*)'|\"([^\"\r\n]*)\")\s*\)", re.IGNORECASE
)


def write_js_set_config(key: str, value: str) -> str:
    """Write one ``jsSetConfig`` line, the SetConfig after login.

    Raises:
        CtcError: key or value would break the line.
    """
    return f"jsSetConfig('{require_safe(key, 'SetConfig key', also=',')}','{require_safe(value, key)}');\n"


def parse_js_set_configs(page: str) -> tuple[tuple[str, str], ...]:
    """Read key and value of all ``jsSetConfig`` calls of a page in their order."""
    return tuple((match[2], match[3] or match[4] or "") for match in _JS_CONFIG.finditer(page))


def write_service_entry(url: str, hot_key: str) -> str:
    """Write the ServiceEntry of a key of the remote control, as older boxes read it."""
    return (
        f"Authentication.CTCSetConfig('ServiceEntry','URL=\"{require_safe(url, 'URL', also=',')}\","
        f'HotKey="{require_safe(hot_key, "HotKey", also=",")}"\');\n'
    )


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """The 21 positional values of ``jsSetChannelInfo`` (§3.2), by their names there; all are text."""

    user_channel_id: str
    time_shift: str
    tstv_time: str
    is_igmp: str
    channel_id: str
    channel_name: str
    column_id: str
    channel_type: str = "1"
    pip_enable: str = "0"
    lpvr_enable: str = "0"
    channel_level: str = "0"
    is_can_lock: str = "0"
    is_ippv: str = "0"
    mixno: str = "0"
    cdn_channel_code: str = ""
    advertise_content: str = ""
    definition: str = "1"
    tv_pause_enable: str = "0"
    ott_cdn_channel_code: str = ""
    func_switch: str = ""
    allow_net_type: str = ""


INFO_COUNT = len(fields(ChannelInfo))
_INFO = re.compile(r"jsSetChannelInfo\s*\(([^()\r\n]*)\)", re.IGNORECASE)
_ARGUMENT = re.compile(r"\s{0,64}+(?:'([^']*)'|\"([^\"]*)\"|([^,'\"\s]{0,256}+))\s{0,64}+(?:,|\Z)")
"""Bounds, since a value without end would take its length squared."""


def write_channel_info(info: ChannelInfo) -> str:
    """Write one ``jsSetChannelInfo`` line.

    Raises:
        CtcError: a value would break the call.
    """
    values = [require_safe(each, "channel value", also=",()") for each in astuple(info)]
    return "jsSetChannelInfo(" + ",".join(f"'{each}'" for each in values) + ");\n"


def parse_channel_infos(page: str) -> tuple[tuple[ChannelInfo, ...], tuple[Deviation, ...]]:
    """Read all calls of a page; missing values at the end are the usual ones, further ones are left out."""
    found: list[ChannelInfo] = []
    odd: list[Deviation] = []
    for match in _INFO.finditer(page):
        values = [single or double or bare for single, double, bare in _ARGUMENT.findall(match[1])]
        if values and not match[1].rstrip().endswith(","):
            values = values[: match[1].count(",") + 1]
        if len(values) < 7:
            odd.append(Deviation("info-short", f"{len(values)} values"))
            continue
        if len(values) != INFO_COUNT:
            odd.append(Deviation("info-count", f"{len(values)} values"))
        found.append(ChannelInfo(*values[:INFO_COUNT]))
    return tuple(found), tuple(odd)


@dataclass(frozen=True, slots=True)
class BuilderPage:
    """What a box takes from the reply to Z7."""

    count: int | None
    channels: tuple[Channel, ...]
    infos: tuple[ChannelInfo, ...]
    deviations: tuple[Deviation, ...] = ()


def write_builder_lines(listed: Iterable[tuple[Channel, ChannelInfo]]) -> str:
    """Write the script lines of Z7: the count, then each channel's record and its positional call."""
    lines = [
        f"jsSetConfig('Channel','{write_channel_list(channel)}');\n{write_channel_info(info)}"
        for channel, info in listed
    ]
    return write_js_set_config("ChannelCount", str(len(lines))) + "".join(lines)


def parse_builder_page(page: str) -> BuilderPage:
    """Read the reply to Z7.

    Raises:
        CtcError: a record cannot be read, or the page has neither count nor channel (as a rule: session lost).
    """
    calls = parse_js_set_configs(page)
    channels = tuple(parse_channel_list(value) for key, value in calls if key == "Channel")
    counts = [value for key, value in calls if key == "ChannelCount"]
    count = int(counts[-1]) if counts and re.fullmatch("[0-9]{1,9}", counts[-1]) else None
    if count is None and not channels:
        raise CtcError("page has no ChannelCount and no Channel")
    infos, odd = parse_channel_infos(page)
    found = list(odd)
    if count != len(channels):
        found.append(Deviation("count-untrue", f"{count} announced, {len(channels)} listed"))
    if [each.channel_id for each in infos] != [each.channel_id for each in channels]:
        found.append(Deviation("infos-differ", f"{len(infos)} of {len(channels)}"))
    return BuilderPage(count, channels, infos, tuple(found))
