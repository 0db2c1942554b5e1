"""Box models as data: one TOML file a box, read strictly (an unknown key is an error).

What every field means to a real box is in ``docs/boxes/``; protocol section numbers are those named there.
"""

from __future__ import annotations

from importlib import resources
from typing import Literal

import msgspec

TRANSPORT_ORDERS: tuple[tuple[str, ...], ...] = (
    ("MP2T/TCP", "MP2T/RTP/TCP", "MP2T/RTP/UDP", "MP2T/UDP"),
    ("MP2T/UDP", "MP2T/RTP/UDP", "MP2T/TCP", "MP2T/RTP/TCP"),
    ("MP2T/RTP/TCP", "MP2T/TCP", "MP2T/RTP/UDP", "MP2T/UDP"),
    ("MP2T/RTP/UDP", "MP2T/UDP", "MP2T/TCP", "MP2T/RTP/TCP"),
)
"""The four orders in which boxes offer RTSP transports, by the number in their settings menu."""

PlayerName = Literal["rtsp", "hls_fmp4", "hls_ts", "progressive"]
PortalName = Literal["huawei", "web"]
"""Portal families; a module of ``stb_emulator.portals`` each; its settings are a table of that name."""


class BoxError(ValueError):
    """A box file cannot be used; the message names the file and the key."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all parts of a box file: frozen, and a misspelt key is an error."""


class Account(_Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Login of the box; synthetic."""

    user: str
    password: str


class Caps(_Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the box's decoder can do. Anything beyond fails on the real box, so it fails here."""

    video: tuple[str, ...]
    """Codec names as FFmpeg spells them, e.g. ``h264``."""
    audio: tuple[str, ...]
    max_width: int
    max_height: int
    max_level: int
    """Ten times the level: 30 is level 3."""
    max_bit_rate_bps: int


class Buffer(_Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the box starts, and starts again after a stall (seconds of media in the buffer)."""

    start_s: float = 1.0
    restart_s: float = 1.0


class HuaweiFace(_Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the box logs in to a Huawei-style portal and reads it."""

    operator: Literal["CTC", "CU"]
    suffix: Literal["CTC", "CU", "CM"]
    key_type: Literal["0001", "0002", "0003"]
    md5_hex: Literal["padded", "unpadded"]
    random_style: Literal["unpadded", "padded8", "constant"]
    mac_style: Literal["upper", "lower", "bare"]
    pad_style: Literal["pkcs5", "ones-to-128", "zeros-to-48"]
    parser: Literal["regex", "quote-scan"]
    browse: Literal["channels", "template"]
    mac: str
    stb_id: str
    stb_type: str
    stb_version: str


class RtspFace(_Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the box speaks RTSP."""

    user_agent: str
    transport_order: Literal[0, 1, 2, 3]
    extra_transports: tuple[str, ...] = ()
    """Offered after the four of the order."""
    bare_headers: tuple[str, ...] = ()
    """Header names without a colon, sent on DESCRIBE."""
    keep_alive: Literal["GET_PARAMETER", "SET_PARAMETER", "OPTIONS"]
    keep_alive_s: float
    max_redirects: int
    retry_extra: bool = False
    """After a 461, ask once more with ``extra_transports`` alone."""
    client_address: Literal["destination", "client_address"] = "destination"
    """How the box writes its own address into a UDP alternative."""

    @property
    def transports(self) -> tuple[str, ...]:
        """Profiles in the order offered in SETUP."""
        return TRANSPORT_ORDERS[self.transport_order] + self.extra_transports


class Box(_Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model of box."""

    name: str
    title: str
    """Chinese name shown to people."""
    era: Literal["old", "new"]
    portal: PortalName
    player: PlayerName
    user_agent: str
    account: Account
    caps: Caps
    buffer: Buffer = Buffer()
    huawei: HuaweiFace | None = None
    rtsp: RtspFace | None = None
    tolerates: tuple[str, ...] = ()
    """Kinds of deviation (as the wire readers name them) that this model is known to live with."""


def unit(box: Box, number: int) -> Box:
    """Return another device of the same model: its own MAC address, and the STBID that ends with it.

    Two devices that log in as one would end each other's logins, as on a real platform.
    """
    if box.huawei is None:
        return box
    mac = f"{(int(box.huawei.mac.replace(':', ''), 16) + number) % (1 << 48):012X}"
    face = msgspec.structs.replace(
        box.huawei,
        mac=":".join(mac[i : i + 2] for i in range(0, 12, 2)),
        stb_id=box.huawei.stb_id[:-12] + mac,
    )
    return msgspec.structs.replace(box, huawei=face)


def parse(text: str, name: str) -> Box:
    """Read one box file.

    Raises:
        BoxError: not TOML, an unknown or missing key, a wrong value, or a name unlike the file's.
    """
    try:
        box = msgspec.toml.decode(text, type=Box)
    except msgspec.ValidationError as error:
        raise BoxError(f"box {name}: {error}") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise BoxError(f"box {name}: not TOML: {error}") from error
    if box.name != name:
        raise BoxError(f"box {name}: the file says name = {box.name!r}; make them equal")
    if (box.portal == "huawei") is (box.huawei is None):
        raise BoxError(f"box {name}: a huawei portal and a [huawei] table belong together")
    if box.huawei is not None and not box.huawei.stb_id.endswith(box.huawei.mac.replace(":", "").upper()):
        raise BoxError(f"box {name}: stb_id must end with the 12 digits of mac")
    if (box.player == "rtsp") is (box.rtsp is None):
        raise BoxError(f"box {name}: the rtsp player and an [rtsp] table belong together")
    return box


def load_all() -> dict[str, Box]:
    """Every box that ships, by name.

    Raises:
        BoxError: one of the files is wrong.
    """
    folder = resources.files(__name__)
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {b.name: b for b in (parse(f.read_text(encoding="utf-8"), f.name.removesuffix(".toml")) for f in files)}
