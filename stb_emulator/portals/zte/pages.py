"""What a box picks out of the pages of a ZTE-style portal: tokens, forms, jumps, errors (stb_protocols §3). Pure."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from wire.ctc import parse_inputs, parse_set_configs

_TOKEN = re.compile(r"\b(?:CTC|CU)?GetAuthInfo\s*\(\s*(['\"])([^'\"\r\n]+)\1\s*\)")
_JUMP = re.compile(r"\b(?:document|window)\.location(?:\.href)?\s*=\s*(['\"])([^'\"\r\n]+)\1")
_FORM = re.compile(r"<form\b([^>]*)>(.*?)</form>", re.IGNORECASE | re.DOTALL)
_ATTRIBUTE = re.compile(r"([\w:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_ACTION = re.compile(r"\b\w+\.action\s*=\s*(['\"])([^'\"\r\n]+)\1")
_ERROR = re.compile(r"qrcodeerror\.jsp\?(?:[^'\"\s]*&)?errorcode=(\w+)", re.IGNORECASE)
_REBUILD = re.compile(r"weburl\s*=\s*'([^'\r\n]*)'\s*\+\s*usertoken\s*(?:\+\s*'([^'\r\n]*)')?", re.IGNORECASE)
_EXPIRED = "rebuildsessionresponse.jsp"
_TIME = "%Y.%m.%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a page."""

    name: str
    action: str
    fields: dict[str, str]


def token(page: str) -> str | None:
    """Find what the page hands to ``GetAuthInfo``; it may begin with ``@@``."""
    found = _TOKEN.search(page)
    return found[2] if found else None


def jump(page: str) -> str | None:
    """Find where the page sends the browser; of several, the one into the guide counts."""
    targets = [html.unescape(each[2]) for each in _JUMP.finditer(page)]
    guide = [each for each in targets if "/iptvepg/function/index.jsp" in each]
    return next(iter(guide or targets), None)


def form(page: str, name: str = "") -> Form | None:
    """Find a form by its name; without one, the first form. A script may give its action."""
    for tag in _FORM.finditer(page):
        words = {k.lower(): html.unescape(a or b) for k, a, b in _ATTRIBUTE.findall(tag[1])}
        own = words.get("name") or words.get("id") or ""
        if not name or own == name:
            scripted = _ACTION.search(page)
            action = words.get("action") or (html.unescape(scripted[2]) if scripted else "")
            return Form(own, action, parse_inputs(tag[2])[0])
    return None


def settings(page: str) -> dict[str, str]:
    """Read the ``CTCSetConfig`` calls before the login; the last of a name counts."""
    return {call.key: call.value for call in parse_set_configs(page)}


def error(text: str) -> str | None:
    """Read the number of the error page that the portal shows or sends to."""
    found = _ERROR.search(text)
    return found[1] if found else None


def is_expired(page: str) -> bool:
    """Tell whether the page says that the session has expired."""
    return _EXPIRED in page


def rebuild_address(page: str, user_token: str) -> str | None:
    """Put together the address that brings an expired session back, as the page's script would."""
    found = _REBUILD.search(page)
    return f"{found[1]}{quote(user_token, safe='')}{found[2] or ''}" if found else None


def is_time(text: str) -> bool:
    """Tell whether the text is a moment as this portal writes it: ``YYYY.MM.DD HH:MM:SS``."""
    try:
        return datetime.strptime(text, _TIME).strftime(_TIME) == text  # noqa: DTZ007 the portal names no zone
    except ValueError:
        return False
