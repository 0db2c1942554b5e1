"""How newer boxes and apps speak: Stalker, Xtream, M3U, and the habits of their HTTP (stb_protocols §5, §6)."""

from __future__ import annotations

from typing import Literal

import msgspec

from stb_emulator.boxes.parts import Strict


class StalkerFace(Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[stalker]`` table (stb_protocols §5)."""

    entry: Literal[
        "/stalker_portal/c/",
        "/stalker_portal/server/load.php",
        "/stalker_portal/c/portal.php",
        "/server/load.php",
        "/portal.php",
    ]
    """What was typed into the box behind the server's address; ``/c/`` stands for ``/server/load.php`` beside it."""
    user_agent: str
    """Of portal requests; media requests use the box's own."""
    x_user_agent: str = ""
    referer: bool = False
    cookie_encoding: Literal["percent", "plain"]
    """A real MAG percent-encodes what stands in its cookies, Kodi does not (D20)."""
    cookie_token: bool = False
    """The cookie repeats the token."""
    language: str = "zh"
    time_zone: str = "Asia/Shanghai"
    js_http_request: bool = True
    """``JsHttpRequest=1-xml`` in every query."""
    empty_bearer: bool = False
    """The handshake already carries ``Authorization: Bearer`` with nothing behind it."""
    range_from_zero: bool = False
    """Every portal GET asks for ``Range: bytes=0-`` (Kodi)."""
    host_without_port: bool = False
    random: bool = False
    """The box repeats the handshake's ``random`` in ``X-Random`` and ``Random``."""
    profile: dict[str, str] = msgspec.field(default_factory=dict)
    """What ``get_profile`` says of the device, beside its MAC address."""
    first_page: Literal[0, 1] = 1
    """Number of the first page of ``itv get_ordered_list``."""
    channels: Literal["all", "pages"] = "all"
    """The channel list in one answer, or page by page."""
    films: bool = True
    """Whether the box has a film library: Kodi's add-on has none."""
    text_numbers: bool = False
    """The box reads a channel's ``number`` only when it is text."""
    strips: tuple[str, ...] = ("ffrt", "ffrt2", "ffrt3", "ffrt4", "ffmpeg", "auto")
    """Words in front of an address that the box takes off; ``*``: whatever stands there."""
    retry_s: float = 5.0
    """Pause before it logs in again after ``Authorization failed.``"""
    tries: int = 5


class XtreamFace(Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[xtream]`` table (stb_protocols §6.2)."""

    live_output: Literal["ts", "m3u8"] = "ts"
    """Ending of the addresses of channels."""
    media_base: Literal["portal", "server_info"] = "portal"
    """Media come from where the portal is, or from where ``server_info`` says."""
    by_category: bool = False
    """Lists are asked for one category at a time."""
    shows: tuple[Literal["live", "vod"], ...] = ("live", "vod")
    asks_info: bool = True
    """``get_vod_info`` before a lesson is played."""


class M3uFace(Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[m3u]`` table (stb_protocols §6.1)."""

    path: str
    """Of the playlist, behind the server's address."""
    guide: bool = True
    """The player reads the XMLTV guide named in the first line."""
