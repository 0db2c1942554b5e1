"""The tables of a box file, without the RTSP one: device, login proof, decoder, and one face a portal family."""

from __future__ import annotations

from typing import Literal

import msgspec


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all tables of a box file: frozen, and a misspelt key is an error."""


class Account(Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Login of the box; synthetic."""

    user: str
    password: str


class Device(Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one device that stands there."""

    mac: str
    """Six hexadecimal pairs with colons."""
    stb_id: str = ""
    """32 characters, the last 12 of them the MAC address; empty: the box has none."""
    stb_type: str = ""
    stb_version: str = ""
    clock_skew_s: float = 0.0
    """How far the box's clock is ahead when it is switched on (D21)."""


class Proof(Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the box writes its Authenticator (stb_protocols §2.4; disagreements D1 to D4)."""

    suffix: Literal["CTC", "CU", "CM"]
    """Last field. ``CM`` stands without the empty field before it."""
    reserved: str = ""
    """Field before the suffix; one old browser writes the word ``Reserved``."""
    key_type: Literal["0001", "0002", "0003"]
    md5_hex: Literal["padded", "unpadded"]
    random_style: Literal["unpadded", "padded8", "constant"]
    mac_style: Literal["upper", "lower", "bare"]
    ip: str = ""
    """Address that the box claims to have; empty: the one that it has. Behind a translator they differ (D3)."""
    pad_style: Literal["pkcs5", "ones-to-128", "zeros-to-48"]
    hex_case: Literal["upper", "lower"] = "upper"


class Caps(Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the box's decoder can do. Anything beyond fails on the real box, so it fails here."""

    containers: tuple[Literal["mpegts", "mp4", "h264", "webrtc"], ...] = ("mpegts", "mp4", "h264")
    """What the box unpacks: transport stream, MP4 whole or in fragments, H.264 straight from RTP, or by WebRTC."""
    video: tuple[str, ...]
    """Codec names as FFmpeg spells them, e.g. ``h264``."""
    audio: tuple[str, ...]
    max_width: int
    max_height: int
    max_level: int
    """Ten times the level: 30 is level 3."""
    max_bit_rate_bps: int
    pages: bool = True
    """Whether it has a browser: without one it shows no picture-text lesson, and need not list it."""


class Buffer(Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the box starts, and starts again after a stall (seconds of media in the buffer)."""

    start_s: float = 1.0
    restart_s: float = 1.0


Charset = Literal["guess", "gbk", "utf-8"]
"""How a box reads portal pages: UTF-8 if it fits, else GB 18030 (whatever the header says); or always the same one."""


class HuaweiFace(Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the box speaks to a Huawei-style portal (stb_protocols §2)."""

    operator: Literal["CTC", "CU"]
    """Names of pages (``…HWCTC.jsp``) and of the SetConfig calls. China Mobile boxes ask for CTC's pages."""
    entry: Literal["eds", "epg"] = "eds"
    """First address: the redirector, or the guide server itself."""
    charset: Charset = "guess"
    parser: Literal["regex", "quote-scan"]
    browse: Literal["channels", "template"]
    heartbeat: Literal["GetHeartBit", "gethearbit.jsp"] = "GetHeartBit"
    heartbeat_max_s: int = 600
    """Longest pause between two heartbeats, whatever the portal asks for."""
    fcc_support: bool = False
    """The box says ``FCCSupport=1`` with its first request."""


class ZteFace(Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the box speaks to a ZTE-style portal (stb_protocols §3), or to an older door that leads into one (§2.9)."""

    entry: Literal["index", "getencrypttoken", "iptv3a", "ctc2"]
    """First address: ZTE's older (Z1a) or newer (Z1b) one, UTStarcom's ``/iptv3a``, or China Telecom's platform 2.0."""
    charset: Charset = "gbk"
    main_window: str = "/iptvepg/frame205/portal.jsp"
    """``MAIN_WIN_SRC`` of the last step, when the page before names none."""
    parser: Literal["regex", "quote-scan"] = "quote-scan"
    """How the box reads ``jsSetChannelInfo`` and the channel records."""
    channels_at: Literal["builder", "index"] = "builder"
    """Where the box takes its channels: from the last page, or already from the first one after its login (B600)."""
