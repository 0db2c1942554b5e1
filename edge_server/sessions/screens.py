"""Which page a browser can show: the size and the charset, by what it says of itself and by its account. Pure.

The page of an old box is 640 by 530 (it says so in ``page-view-size``, and the box enlarges it), everybody else gets
one that fits itself to the window. A browser that says nothing of itself is a box (some real pages judge so, too).
A television is told apart where nobody can scroll: in picture-text lessons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from edge_server.sessions.logins import Logins

USER_AGENT_JUDGED_MAX_CHARS = 512
_OLD = re.compile(
    r"Resolution\(|\bCTC/|HW_STB|SkWebKit|ztebw|Fhbw|iPanel|\bEIS\b|\bziva\b|\bEscape\b|Galio|\bRANGER\b|MSIE [3-6]\."
    r"|AppleWebKit(?:/53[0-4][\d.]*)?\s*\Z",
    re.IGNORECASE,
)
"""Words of browsers in boxes made until about 2012 (stb_protocols §2, public box clients); those of ZTE and FiberHome
name no browser behind an engine of 2010."""
_TELEVISION = re.compile(
    r"\bMAG\d{3}\b|\bstbapp\b|\bSTB\b|smart-?tv|hbbtv|web0s|netcast|\bTizen\b.*\bTV\b|BRAVIA|VIERA|AQUOS|\bAFT\w+|CrKey|Roku"
    r"|Google ?TV|Android ?TV|\bMi ?(?:TV|BOX)|\bTV ?(?:Bro|Box)|PhilipsTV|Large Screen",
    re.IGNORECASE,
)
"""Words of televisions and of newer boxes (makers' developer pages)."""


@dataclass(frozen=True, slots=True)
class Screen:
    """What a page is made for."""

    old: bool = False
    """640 by 530 pixels, a script engine of 2008, no scrolling."""
    charset: str = "utf-8"
    """``utf-8`` or ``gbk``."""
    television: bool = False
    """1280 by 720 pixels, seen from three metres, walked by a remote control."""


def is_old(headers: Mapping[str, str]) -> bool:
    """Tell whether the browser of an old box asks."""
    agent = headers.get("User-Agent", "")[:USER_AGENT_JUDGED_MAX_CHARS]
    return not agent.strip() or _OLD.search(agent) is not None


def screen_of(headers: Mapping[str, str], account_charset: str | None = None) -> Screen:
    """Judge a browser.

    Args:
        headers: of the request, case-insensitive.
        account_charset: that of the account which is logged in from the same address; None when there is none.
    """
    if not is_old(headers):
        agent = headers.get("User-Agent", "")[:USER_AGENT_JUDGED_MAX_CHARS]
        return Screen(television=_TELEVISION.search(agent) is not None)
    accepted = headers.get("Accept-Charset", "").lower()
    reads_utf8 = not accepted or "utf-8" in accepted or "*" in accepted
    return Screen(True, account_charset or ("utf-8" if reads_utf8 else "gbk"))


def charset_at(logins: Logins, remote: str, now_s: float) -> str | None:
    """Return the charset of the box at an address that was seen last; None when none is logged in there."""
    login = logins.newest_at(remote)
    if login is None or now_s - login.last_seen_s > logins.limits.login_idle_s:
        return None
    return login.charset
