"""What a MAG box or Kodi says to a Stalker portal, and how it reads the answers (stb_protocols §5). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec

from stb_emulator.boxes import Box, StalkerFace
from stb_emulator.observe import Family, Offer, PlayError, Stage
from stb_emulator.portals import Guide, Window

REFUSED = (b"Authorization failed", b"Unauthorized request", b"Access denied")
"""Plain text instead of JSON, with status 200."""
RANGE = "bytes=0-"


def api_of(url: str, entry: str) -> str:
    """Where the portal's API is: what was typed, with the profile's path when only the server was."""
    parts = urlsplit(url)
    path = parts.path if parts.path.strip("/") else entry
    if path.endswith("/c/"):
        path = path.removesuffix("c/") + "server/load.php"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def head_of(box: Box, api: str, *, token: str | None, random: str) -> dict[str, str]:
    """Headers of one portal request, in the order in which they are sent; ``token`` None: not yet shaken hands."""
    face, device = box.stalker, box.device
    assert face is not None and device is not None, "boxes are checked when they are loaded"
    parts = urlsplit(api)
    head: dict[str, str] = {}
    if face.host_without_port:
        head["Host"] = parts.hostname or ""
    head["User-Agent"] = face.user_agent
    if face.x_user_agent:
        head["X-User-Agent"] = face.x_user_agent
    if face.referer:
        base = parts.path.rpartition("server/load.php")[0] or parts.path.rpartition("/")[0] + "/"
        head["Referer"] = f"{parts.scheme}://{parts.netloc}{base}{'' if base.endswith('c/') else 'c/'}"
    head["Cookie"] = _cookie(face, device.mac, token)
    if token is not None:
        head["Authorization"] = f"Bearer {token}"
    elif face.empty_bearer:
        head["Authorization"] = "Bearer "
    if face.random and random:
        head["X-Random"] = head["Random"] = random
    if face.range_from_zero:
        head["Range"] = RANGE
    return head


def _cookie(face: StalkerFace, mac: str, token: str | None) -> str:
    pairs = {"mac": mac, "stb_lang": face.language, "timezone": face.time_zone}
    if face.cookie_token and token:
        pairs["token"] = token
    safe = "" if face.cookie_encoding == "percent" else ":/"
    return "; ".join(f"{name}={quote(value, safe=safe)}" for name, value in pairs.items())


def query_of(face: StalkerFace, kind: str, action: str, **rest: str) -> str:
    """Write the query of one action."""
    pairs = {"type": kind, "action": action, **rest}
    if face.js_http_request:
        pairs["JsHttpRequest"] = "1-xml"
    return urlencode(pairs, quote_via=quote)


def is_refused(body: bytes) -> bool:
    """Whether the portal says, in plain text, that it does not know the token."""
    return body.strip().startswith(REFUSED)


def js_of(body: bytes, stage: Stage, action: str) -> Any:
    """Take the answer out of its wrapper ``{"js": …}``.

    Raises:
        PlayError: not JSON, or no ``js`` in it.
    """
    try:
        return msgspec.json.decode(body, type=dict[str, Any])["js"]
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError, RecursionError) as error:
        raise PlayError(stage, f"{action} 的应答无法解析", f"unreadable answer to {action}: {error}"[:160]) from error


def whole(value: Any) -> int | None:
    """Read a number that a portal wrote as number or as text."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    if isinstance(value, int):
        return value
    digits = value.strip()
    return int(digits) if digits.isdecimal() and len(digits) < 20 else None


def texts(value: Any) -> str:
    """Read an id or a name, whichever way it is written."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def rows_of(js: Any, action: str) -> list[dict[str, Any]]:
    """Read the rows of a list, plain or under ``data``.

    Raises:
        PlayError: there is none.
    """
    rows = js.get("data") if isinstance(js, dict) else js
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise PlayError(Stage.BROWSE, f"{action} 没有给出列表", f"{action}: no list of records in the answer")
    return rows


def pages_of(js: Any, action: str) -> int:
    """How many pages a list has: its total over what fits on a page, rounded up.

    Raises:
        PlayError: it does not say.
    """
    total = whole(js.get("total_items")) if isinstance(js, dict) else None
    each = whole(js.get("max_page_items")) if isinstance(js, dict) else None
    if total is None or (total and not each):
        raise PlayError(Stage.BROWSE, f"{action} 没有说明页数", f"{action}: no total_items or max_page_items")
    return -(-total // each) if each else 0


def names_of(js: Any, action: str) -> dict[str, str]:
    """Read genres or categories as id → title, in their order; the entry for everything is left out."""
    found = {texts(row.get("id")): texts(row.get("title")) for row in rows_of(js, action)}
    return {key: title for key, title in found.items() if key not in ("", "*")}


def channel_of(row: dict[str, Any], genres: dict[str, str], face: StalkerFace) -> tuple[Offer, bool]:
    """Read a channel; also whether its address must be asked for.

    Raises:
        PlayError: what this box needs is not there.
    """
    item_id, name, cmd = texts(row.get("id")), texts(row.get("name")), texts(row.get("cmd"))
    if not item_id or not name or not cmd:
        raise PlayError(Stage.BROWSE, "频道记录不完整", f"a channel without id, name or cmd: {item_id!r} {name!r}")
    if face.text_numbers and not isinstance(row.get("number"), str):
        raise PlayError(Stage.BROWSE, "频道号不是文本", f"channel {item_id}: number is not text")
    asks = any(whole(row.get(key)) == 1 for key in ("use_http_tmp_link", "use_load_balancing"))
    return _offer(item_id, name, genres.get(texts(row.get("tv_genre_id")), ""), cmd, "itv", face, asks=asks), asks


def film_of(row: dict[str, Any], category: str, face: StalkerFace) -> Offer:
    """Read a film; its address must always be asked for.

    Raises:
        PlayError: what this box needs is not there.
    """
    item_id, name, cmd = texts(row.get("id")), texts(row.get("name")), texts(row.get("cmd"))
    if not item_id or not name or not cmd:
        raise PlayError(Stage.BROWSE, "影片记录不完整", f"a film without id, name or cmd: {item_id!r} {name!r}")
    return _offer(item_id, name, category, cmd, "vod", face, asks=True)


def _offer(item_id: str, name: str, column: str, cmd: str, kind: str, face: StalkerFace, *, asks: bool) -> Offer:
    url = "" if asks else address_in(cmd, face)
    return Offer(
        item_id=item_id,
        title=name,
        column=column,
        family=family_of(url),
        url=url,
        lookup=f"{kind} {cmd}" if asks else "",
        live=kind == "itv",
    )


def address_in(cmd: str, face: StalkerFace) -> str:
    """Take the address out of a command: the word in front names the player, and only some words are known.

    Raises:
        PlayError: another word stands there.
    """
    word, _, rest = cmd.strip().partition(" ")
    if not rest:
        return word
    if word not in face.strips and "*" not in face.strips:
        raise PlayError(Stage.BROWSE, f"盒子不认识播放方式 {word}", f"this box does not know the player {word[:40]!r}")
    return rest.strip()


def family_of(url: str) -> Family:
    """Say whether an address opens a page: one that ends like a folder or an HTML file."""
    path = urlsplit(url).path if url.startswith(("http://", "https://")) else "x"
    return "picture_text" if path.endswith(("/", ".html", ".htm")) else "video"


class _Shown(msgspec.Struct):
    """A programme of ``get_epg_info``."""

    start_timestamp: int


def guide_of(told: Any, names: Mapping[str, str], window: Window) -> Guide:
    """Read ``get_epg_info``: programmes by channel id.

    Raises:
        PlayError: it is none.
    """
    try:
        rows = msgspec.convert(told, dict[str, list[_Shown]])
    except msgspec.ValidationError as error:
        raise PlayError(Stage.BROWSE, "节目单无法解析", f"get_epg_info: {error}"[:160]) from error
    return {
        names[key]: window.starts(datetime.fromtimestamp(each.start_timestamp, UTC) for each in shown)
        for key, shown in rows.items()
        if key in names
    }
