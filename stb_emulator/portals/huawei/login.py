"""Logging in, as a pure state machine: redirect, login page, token page, Authenticator (stb_protocols §2.1–2.4).

Made from the notes on what boxes do; it does not know how our own portal answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import quote, urljoin, urlsplit

from stb_emulator.boxes import Box, HuaweiFace
from stb_emulator.boxes.charset import page_text
from stb_emulator.boxes.proof import authenticator, mac_text
from stb_emulator.observe import PlayError, Stage
from stb_emulator.observe.line import Reply
from wire.ctc import (
    CtcError,
    parse_inputs,
    parse_set_configs,
    parse_token_page,
)

REDIRECTS_MAX = 3
REDIRECTS = (301, 302, 303, 307)


@dataclass(frozen=True, slots=True)
class Ask:
    """Send this request and bring back the reply."""

    method: str
    url: str
    form: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """What the box knows once it is logged in."""

    epg: str
    """Scheme, host and port of the guide."""
    user_token: str
    temp_key: str
    """As the page gave it; empty when the box must derive it."""
    jsessionid: str
    channel_version: str = ""


class State(Enum):
    """Which reply is awaited."""

    REDIRECT = auto()
    TOKEN = auto()
    VALIDATE = auto()


@dataclass(slots=True)
class Login:
    """One attempt. ``start`` and ``reply`` return the next request, or the session."""

    box: Box
    portal_url: str
    random: int
    """The number at the head of the Authenticator."""
    ip: str
    deviations: list[str] = field(default_factory=list)
    state: State = State.REDIRECT
    _hops: int = 0
    _epg: str = ""
    _jsessionid: str = ""

    @property
    def face(self) -> HuaweiFace:
        """The box's ``[huawei]`` table."""
        assert self.box.huawei is not None, "boxes are checked when they are loaded"
        return self.box.huawei

    def start(self) -> Ask:
        """H1: ask the address where the box was told to begin."""
        user = quote(self.box.account.user, safe="@")
        if "AuthenticationURL" in self.portal_url:
            return Ask("GET", self.portal_url)
        folder = "EPG" if self.face.entry == "epg" else "EDS"
        fcc = "&FCCSupport=1" if self.face.fcc_support else ""
        return Ask("GET", urljoin(self.portal_url, f"/{folder}/jsp/AuthenticationURL?UserID={user}&Action=Login{fcc}"))

    def reply(self, reply: Reply) -> Ask | Session:
        """Take a reply.

        Raises:
            PlayError: at stage login.
        """
        self._jsessionid = reply.cookies.get("JSESSIONID", self._jsessionid)
        if self.state is State.REDIRECT and reply.status in REDIRECTS:
            return self._follow(reply)
        if reply.status != 200:
            raise _failed(f"登录应答 HTTP {reply.status}", f"HTTP {reply.status} for {urlsplit(reply.url).path}")
        page = self._text(reply)
        if self.state is State.REDIRECT:
            parts = urlsplit(reply.url)
            self._epg = f"{parts.scheme}://{parts.netloc}"
            self.state = State.TOKEN
            return Ask("POST", self._page("authLogin"), {"UserID": self.box.account.user, "VIP": ""})
        if self.state is State.TOKEN:
            return self._prove(page)
        return self._enter(page)

    def _follow(self, reply: Reply) -> Ask:
        self._hops += 1
        if self._hops > REDIRECTS_MAX or not reply.location:
            raise _failed("登录重定向有误", f"redirect {self._hops} to {reply.location[:80]!r}")
        return Ask("GET", reply.location)

    def _page(self, name: str) -> str:
        return f"{self._epg}/EPG/jsp/{name}HW{self.face.operator}.jsp"

    def _text(self, reply: Reply) -> str:
        try:
            text, found = page_text(self.face.charset, reply.body, reply.headers.get("Content-Type", ""))
        except CtcError as error:
            raise _failed("页面编码有误", f"wrong charset: {error}") from error
        self.deviations += found
        return text

    def _prove(self, page: str) -> Ask:
        try:
            tokens = parse_token_page(page)
        except CtcError as error:
            raise _failed("平台没有给出令牌", f"no token: {error}") from error
        self.deviations += [d.code for d in tokens.deviations]
        self.state = State.VALIDATE
        return Ask("POST", self._page("ValidAuthentication"), self._form(tokens.encrypt_token, tokens.user_token))

    def _form(self, encrypt_token: str, user_token: str) -> dict[str, str]:
        device = self.box.device
        assert device is not None, "boxes are checked when they are loaded"
        mac = mac_text(self.box)
        form = {
            "UserID": self.box.account.user,
            "Lang": "1",
            "SupportHD": "1",
            "NetUserID": "",
            "Authenticator": authenticator(self.box, encrypt_token, random=self.random, ip=self.ip),
            "STBType": device.stb_type,
            "STBVersion": device.stb_version,
            "conntype": "dhcp",
            "STBID": device.stb_id,
            "templateName": "",
            "areaId": "",
            "userToken": user_token,
            "userGroupId": "",
            "productPackageId": "-1",
            "mac": mac,
            "SoftwareVersion": device.stb_version,
            "VIP": "",
        }
        if self.face.operator == "CTC":
            form |= dict.fromkeys(("UserField", "desktopId", "stbmaker", "XMPPCapability", "ChipID"), "")
            form["IsSmartStb"] = "undefined"
        return form

    def _enter(self, page: str) -> Session:
        fields, found = parse_inputs(page)
        calls = parse_set_configs(page)
        settings = {c.key: c.value for c in calls}
        from_page = fields if self.face.operator == "CTC" else settings
        token = from_page.get("UserToken", "")
        if not token:
            raise _failed("平台拒绝登录（没有 UserToken）", "login refused: no UserToken in the page")
        if self.face.operator == "CTC":
            self.deviations += [d.code for d in found]
        elif any(c.face.value != self.face.operator for c in calls):
            self.deviations.append("other-face")
        if not self._jsessionid:
            raise _failed("平台没有给出 JSESSIONID", "no JSESSIONID cookie")
        return Session(self._epg, token, from_page.get("tempKey", ""), self._jsessionid)


def _failed(zh: str, en: str) -> PlayError:
    return PlayError(Stage.LOGIN, zh, en)
