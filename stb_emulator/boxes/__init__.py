"""Box models as data: one TOML file a box, read strictly (an unknown key is an error).

What every field means to a real box is in ``docs/boxes/``; protocol section numbers are those named there.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Literal, get_args

import msgspec

from stb_emulator.boxes.apps import M3uFace, StalkerFace, XtreamFace
from stb_emulator.boxes.cmcd import CmcdFace
from stb_emulator.boxes.multicast import MulticastFace
from stb_emulator.boxes.parts import (
    Account,
    Buffer,
    Caps,
    Charset,
    Device,
    HuaweiFace,
    Proof,
    Strict,
    ZteFace,
)
from stb_emulator.boxes.rtsp import TRANSPORT_ORDERS, RtspFace

__all__ = [
    "TRANSPORT_ORDERS",
    "Account",
    "Box",
    "BoxError",
    "Buffer",
    "Caps",
    "Charset",
    "CmcdFace",
    "Device",
    "HuaweiFace",
    "M3uFace",
    "MulticastFace",
    "Proof",
    "RtspFace",
    "StalkerFace",
    "XtreamFace",
    "ZteFace",
    "load_all",
    "parse",
    "unit",
]

PlayerName = Literal["rtsp", "hls_fmp4", "hls_ts", "progressive", "http_ts", "multicast", "whep", "any"]
"""Ways of playing; ``any`` plays whatever address it is given, as apps do."""
PortalName = Literal["huawei", "zte", "stalker", "xtream", "m3u", "web", "json_api"]
"""Portal families; a module of ``stb_emulator.portals`` each; its settings are a table of that name."""
WITHOUT_TABLE = ("web", "json_api")
"""Portal families that need no settings."""
WITH_PROOF = ("huawei", "zte")
"""Portal families that log in by an Authenticator: they need ``[device]`` and ``[proof]`` too."""

_MAC = re.compile("[0-9A-F]{2}(:[0-9A-F]{2}){5}")


class BoxError(ValueError):
    """A box file cannot be used; the message names the file and the key."""


class Box(Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model of box."""

    name: str
    title: str
    """Chinese name shown to people."""
    era: Literal["old", "new"]
    portal: PortalName
    player: PlayerName
    user_agent: str
    account: Account
    device: Device | None = None
    proof: Proof | None = None
    caps: Caps
    buffer: Buffer = Buffer()
    huawei: HuaweiFace | None = None
    zte: ZteFace | None = None
    stalker: StalkerFace | None = None
    xtream: XtreamFace | None = None
    m3u: M3uFace | None = None
    rtsp: RtspFace | None = None
    multicast: MulticastFace | None = None
    cmcd: CmcdFace | None = None
    tolerates: tuple[str, ...] = ()
    """Kinds of deviation (as the wire readers name them) that this model is known to live with."""


def unit(box: Box, number: int) -> Box:
    """Return another device of the same model: its own MAC address, and the STBID that ends with it.

    Two devices that log in as one would end each other's logins, as on a real platform.
    """
    if box.device is None:
        return box
    mac = f"{(int(box.device.mac.replace(':', ''), 16) + number) % (1 << 48):012X}"
    device = msgspec.structs.replace(
        box.device,
        mac=":".join(mac[i : i + 2] for i in range(0, 12, 2)),
        stb_id=box.device.stb_id and box.device.stb_id[:-12] + mac,
    )
    return msgspec.structs.replace(box, device=device)


def parse(text: str, name: str) -> Box:
    """Read one box file.

    Raises:
        BoxError: not TOML, an unknown or missing key, a wrong value, or a name unlike the file's.
    """
    try:
        box = msgspec.toml.decode(text, type=Box)
    except msgspec.ValidationError as error:
        raise BoxError(f"box {name}: {error}") from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BoxError(f"box {name}: not TOML: {error}") from error
    if fault := _fault(box, name):
        raise BoxError(f"box {name}: {fault}")
    return box


def _fault(box: Box, name: str) -> str:
    """What does not go together in a box file, or nothing."""
    if box.name != name:
        return f"the file says name = {box.name!r}; make them equal"
    for family in get_args(PortalName):
        if family not in WITHOUT_TABLE and (box.portal == family) is (getattr(box, family) is None):
            return f"a {family} portal and a [{family}] table belong together"
    if box.portal in WITH_PROOF and (box.proof is None or box.device is None):
        return f"a {box.portal} portal needs [device] and [proof]"
    if box.portal == "stalker" and box.device is None:
        return "a stalker portal needs [device]"
    if box.device is not None:
        if not _MAC.fullmatch(box.device.mac):
            return "device.mac must be six pairs of upper-case hexadecimal digits with colons"
        if box.device.stb_id and not box.device.stb_id.endswith(box.device.mac.replace(":", "")):
            return "device.stb_id must end with the 12 digits of mac"
    if box.player != "any" and (box.player == "rtsp") is (box.rtsp is None):
        return "the rtsp player and an [rtsp] table belong together"
    return ""


def load_all() -> dict[str, Box]:
    """Every box that ships, by name.

    Raises:
        BoxError: one of the files is wrong.
    """
    folder = resources.files(__name__)
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {b.name: b for b in (parse(f.read_text(encoding="utf-8"), f.name.removesuffix(".toml")) for f in files)}
