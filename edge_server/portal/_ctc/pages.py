"""What replies of these portals are made of: the reading of parameters, charset, HTML shell, words of refusals."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from edge_server.portal import PortalReply, PortalRequest, PortalState, is_usable_host
from edge_server.sessions.logins import LoginRefused, Refusal

_EMPTY = ("", "undefined", "null")
# GB 18030 is a superset of GBK: what GBK knows has the same bytes, and nothing else need be lost.
_CODECS = {"utf-8": "utf-8", "gbk": "gb18030"}

REFUSED = {
    Refusal.UNKNOWN_USER: "账号或密码不对。 / Wrong account or password.",
    Refusal.WRONG_PASSWORD: "账号或密码不对。 / Wrong account or password.",
    Refusal.TOKEN_STALE: "登录超时，请重试。 / The login took too long; try again.",
    Refusal.OTHER_BOX: "此账号不属于这台机顶盒。 / This account belongs to another box.",
    Refusal.THROTTLED: "尝试次数过多，请稍后再试。 / Too many attempts; wait a minute.",
}
"""What the screen says; it never tells which accounts exist."""


def parameter(request: PortalRequest, name: str) -> str:
    """Return a form or query field; the literal words ``undefined`` and ``null`` of old scripts are empty."""
    value = request.form.get(name, request.query.get(name, ""))
    return "" if value in _EMPTY else value


def model(request: PortalRequest) -> str:
    """Return what the box calls itself, as far as it tells."""
    return f"{parameter(request, 'STBType') or parameter(request, 'stbtype')} {request.headers.get('User-Agent', '')}"


def echo(value: str) -> str:
    """Return a short word of the box as it was; anything that might break a page is dropped."""
    return value if re.fullmatch(r"[\w.:-]{0,64}", value, re.ASCII) else ""


def retry_after(refused: LoginRefused) -> dict[str, str]:
    """Return the header that says how long a throttled box must wait; none otherwise."""
    return {"Retry-After": str(int(refused.retry_after_s) + 1)} if refused.retry_after_s else {}


@dataclass(frozen=True, slots=True)
class Paper:
    """The charset that one box reads; declared in the header and in the page (D6)."""

    charset: str = "utf-8"

    def page(
        self, title: str, *, script: str = "", body: str = "", headers: Mapping[str, str] | None = None
    ) -> PortalReply:
        """Answer 200 with an HTML page. ``title`` is escaped here; script and body come ready."""
        name = self.charset.upper()
        text = (
            "<!DOCTYPE html>\n<html>\n<head>\n"
            f'<meta http-equiv="Content-Type" content="text/html; charset={name}">\n'
            f"<title>{html.escape(title)}</title>\n</head>\n<body>\n{body}"
            + (f'<script type="text/javascript">\n{script}</script>\n' if script else "")
            + "</body>\n</html>\n"
        )
        return self.text(text, "text/html", headers=headers)

    def json(self, value: object, *, status: int = 200) -> PortalReply:
        """Answer with JSON."""
        return self.text(msgspec.json.encode(value).decode(), "application/json", status=status)

    def plain(self, text: str, *, status: int = 200) -> PortalReply:
        """Answer with plain text."""
        return self.text(text, "text/plain", status=status)

    def text(
        self, text: str, media_type: str, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> PortalReply:
        """Answer with text of any type."""
        fields = {"Cache-Control": "no-store", **(headers or {})}
        declared = f"{media_type}; charset={self.charset.upper()}"
        return PortalReply(status, text.encode(_CODECS[self.charset]), declared, tuple(fields.items()))

    def unusable(self, request: PortalRequest, state: PortalState) -> PortalReply | None:
        """Refuse who is not on the local segment (SEC-07), or whose Host header cannot be written into URLs."""
        if not state.is_local:
            words = "此门户只对本地网段开放 / this portal is for boxes on the local network only (legacy_networks)\n"
            return self.plain(words, status=403)
        if not is_usable_host(request.host):
            return self.plain("Host 头不对 / bad Host header\n", status=400)
        return None
