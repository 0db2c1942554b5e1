"""What a Stalker request carries, and what every reply is made of (stb_protocols §5.1)."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import unquote

import msgspec

from edge_server.portal import PortalReply, PortalRequest, is_usable_host
from edge_server.sessions.box_logins import BoxRefused, Refusal
from edge_server.sessions.boxes import normal_mac

TOKEN_MAX_CHARS = 64
PAGE_ITEMS_COUNT = 14
"""Rows of a page on the box's screen."""
NUMBER_MAX = 1_000_000
_PROXIED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
_HEADERS = (("Cache-Control", "no-store"),)

_WORDS = {
    Refusal.OUTSIDE: "机顶盒只能在站点的本地网络使用。 / Boxes are served on the station's own network only.",
    Refusal.UNREGISTERED: "这台机顶盒没有登记，请联系站点管理员。 / This box is not registered; ask the administrator.",
    Refusal.RETIRED: "这台机顶盒已停用或已更换。 / This box was taken out of service.",
    Refusal.NEEDS_ACCOUNT: "请输入账号和密码。 / Enter account and password.",
    Refusal.WRONG_PASSWORD: "账号或密码不对。 / Wrong account or password.",
    Refusal.THROTTLED: "尝试次数过多，请一分钟后再试。 / Too many attempts; wait a minute.",
}


def parameter(request: PortalRequest, name: str) -> str:
    """Return a query or form field; empty when there is none."""
    return request.query.get(name, request.form.get(name, ""))


def number(request: PortalRequest, name: str, otherwise: int) -> int:
    """Return a field that is a number from 0 to ``NUMBER_MAX``; ``otherwise`` when it is none."""
    text = parameter(request, name).strip()
    return min(int(text), NUMBER_MAX) if text.isascii() and text.isdecimal() and len(text) <= 9 else otherwise


def mac_of(request: PortalRequest) -> str | None:
    """Return the box's MAC from its cookie, which some send percent-encoded; None when there is none."""
    return normal_mac(unquote(request.cookies.get("mac", "")))


def token_of(request: PortalRequest) -> str:
    """Return the token of the Authorization header; empty when there is none."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and len(token) <= TOKEN_MAX_CHARS else ""


def base_of(request: PortalRequest, *, intolerant: Collection[str] = ()) -> str | None:
    """Return what URLs begin with that the box will open; None: the Host header cannot be used.

    One kind of client leaves the port out of ``Host`` (stb_protocols §5.3), so without a port the one that the request
    came in by is added, unless a proxy stands between.
    """
    if not is_usable_host(request.host):
        return None
    if "D20" in intolerant:
        return request.base
    has_port = request.host.rpartition("]")[2].count(":") == 1
    default = {"http": 80, "https": 443}[request.scheme]
    if has_port or request.port in (0, default) or any(each in request.headers for each in _PROXIED):
        return request.base
    return f"{request.base}:{request.port}"


def js(value: object, text: str = "") -> PortalReply:
    """Answer with ``{"js": …}``; ``text`` is for people who look at the traffic."""
    told = {"js": value, "text": text} if text else {"js": value}
    return PortalReply(200, msgspec.json.encode(told), "application/json; charset=utf-8", _HEADERS)


def failed() -> PortalReply:
    """Tell the box to log in again; these very words make clients do so."""
    return PortalReply(200, b"Authorization failed.", "text/html; charset=utf-8", _HEADERS)


def words(refused: BoxRefused, mac: str) -> str:
    """Say why a box is not let in, Chinese first."""
    return f"{_WORDS[refused.reason]} (MAC {mac})"


def page(rows: list[dict[str, object]], total: int, at: int) -> dict[str, object]:
    """Wrap one page of rows; ``at`` counts pages from 0."""
    return {
        "total_items": total,
        "max_page_items": PAGE_ITEMS_COUNT,
        "selected_item": 0,
        "cur_page": at + 1,
        "data": rows,
    }
