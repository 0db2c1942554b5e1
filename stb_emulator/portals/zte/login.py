"""Logging in to a ZTE-style portal, a pure state machine: Z1 to Z5 (stb_protocols §3.1), and other doors (§2.9).

Made from the notes on what boxes do; it does not know how our own portal answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import parse_qs, quote, urlencode, urljoin, urlsplit

from stb_emulator.boxes import Box, ZteFace
from stb_emulator.boxes.charset import page_text
from stb_emulator.boxes.proof import authenticator
from stb_emulator.observe import PlayError, Stage
from stb_emulator.observe.line import Reply
from stb_emulator.portals.zte import pages
from wire.ctc import CtcError

HOPS_MAX = 5
"""Pages and redirects between the proof and the page with ``authform``: load balancers hand a box on."""
REDIRECTS = (301, 302, 303, 307)


@dataclass(frozen=True, slots=True)
class Door:
    """Where a login begins, and where the proof goes when the page does not say."""

    first: str
    proof: str
    extra: Mapping[str, str] = field(default_factory=dict)


DOORS: Mapping[str, Door] = {
    "index": Door(
        "/iptvepg/platform/index.jsp?UserID={user}&Action=Login",
        "/iptvepg/platform/auth.jsp?easip=&ipVersion=4&networkid=1",
    ),
    "getencrypttoken": Door(
        "/iptvepg/platform/getencrypttoken.jsp?UserID={user}&Action=Login&TerminalFlag=1&TerminalOsType=0"
        "&STBID={stb_id}&stbtype={stb_type}",
        "/iptvepg/platform/auth.jsp?easip=&ipVersion=4&networkid=1&serterminalno=",
    ),
    "iptv3a": Door(
        "/iptv3a/UserAuthenticationAction.do?UserID={user}&Action=login", "/iptv3a/ValidAuthenticatorAction.do"
    ),
    "ctc2": Door("/auth?UserID={user}&Action=Login", "/uploadAuthInfo", {"AccessMethod": "dhcp", "AccessUserName": ""}),
}


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
    index_page: str
    """The text of all pages between the proof and the guide: the oldest boxes take their channels from there."""
    told: Mapping[str, str] = field(default_factory=dict)
    """What the box was told to remember with its token."""


class State(Enum):
    """Which reply is awaited."""

    TOKEN = auto()
    PROOF = auto()
    INDEX = auto()
    AUTHFORM = auto()
    SCRIPT = auto()
    FRAME = auto()


@dataclass(slots=True)
class Login:
    """One attempt. ``start`` and ``reply`` return the next request, or the session."""

    box: Box
    portal_url: str
    random: int
    ip: str
    deviations: list[str] = field(default_factory=list)
    state: State = State.TOKEN
    _hops: int = 0
    _epg: str = ""
    _user_token: str = ""
    _fields: dict[str, str] = field(default_factory=dict)
    _seen: list[str] = field(default_factory=list)
    _told: dict[str, str] = field(default_factory=dict)

    @property
    def face(self) -> ZteFace:
        """The box's ``[zte]`` table."""
        assert self.box.zte is not None, "boxes are checked when they are loaded"
        return self.box.zte

    def start(self) -> Ask:
        """Z1: ask at the box's own door."""
        device = self.box.device
        assert device is not None, "boxes are checked when they are loaded"
        path = DOORS[self.face.entry].first.format(
            user=quote(self.box.account.user, safe="@"), stb_id=device.stb_id, stb_type=quote(device.stb_type)
        )
        return Ask("GET", urljoin(self.portal_url, path))

    def reply(self, reply: Reply) -> Ask | Session:
        """Take a reply.

        Raises:
            PlayError: at stage login.
        """
        page = self._text(reply)
        if (number := pages.error(reply.location) or pages.error(page)) is not None:
            raise _failed(f"平台报错 {number}", f"the portal shows error {number} (qrcodeerror)")
        if reply.status in REDIRECTS:
            return self._follow(reply.location)
        if reply.status != 200:
            raise _failed(f"登录应答 HTTP {reply.status}", f"HTTP {reply.status} for {urlsplit(reply.url).path}")
        match self.state:
            case State.TOKEN:
                return self._prove(reply.url, page)
            case State.PROOF:
                return self._enter(reply, page)
            case State.INDEX:
                return self._index(reply.url, page)
            case State.AUTHFORM:
                return self._framed(reply)
            case State.SCRIPT:
                self.state = State.FRAME
                return Ask("GET", f"{self._epg}/iptvepg/function/frame.jsp")
            case State.FRAME:
                return Session(self._epg, self._user_token, "\n".join(self._seen), self._told)

    def _text(self, reply: Reply) -> str:
        try:
            text, odd = page_text(self.face.charset, reply.body, reply.headers.get("Content-Type", ""))
        except CtcError as error:
            raise _failed("页面编码有误", f"wrong charset: {error}") from error
        self.deviations += odd
        return text

    def _follow(self, target: str) -> Ask:
        self._hops += 1
        if self._hops > HOPS_MAX or not target:
            raise _failed("登录跳转过多", f"hop {self._hops} to {target[:80]!r}")
        return Ask("GET", target)

    def _prove(self, url: str, page: str) -> Ask:
        """Z2: the page's token, encrypted, to the page's form."""
        token = pages.token(page)
        if token is None:
            raise _failed("平台没有给出令牌", "the page has no GetAuthInfo token")
        door, form = DOORS[self.face.entry], pages.form(page)
        self.state = State.PROOF
        fields = {} if form is None else form.fields
        proof = {
            "UserID": self.box.account.user,
            "Authenticator": authenticator(self.box, token, random=self.random, ip=self.ip),
            "StbIP": self.ip,
        }
        action = form.action if form is not None and form.action else door.proof
        return Ask("POST", urljoin(url, action), {**fields, **door.extra, **proof})

    def _enter(self, reply: Reply, page: str) -> Ask:
        """Z2's answer: a cookie, a token that lasts until a stated time, and the way into the guide."""
        self._seen.append(page)
        told = self._told = pages.settings(page)
        target = pages.jump(page)
        if target is None and told.get("EPGDomain") and told.get("UserToken"):
            query = {"UserToken": told["UserToken"], "UserID": self.box.account.user, "UserIP": self.ip}
            target = f"{told['EPGDomain']}?{urlencode(query)}"
        if target is None:
            raise _failed("平台拒绝登录（没有进入指南的地址）", "login refused: the page does not lead into the guide")
        if self.face.entry in ("index", "getencrypttoken"):
            if "JSESSIONID" not in reply.cookies:
                raise _failed("平台没有给出 JSESSIONID", "no JSESSIONID cookie")
            if not pages.is_time(told.get("TokenExpiredTime", "")):
                self.deviations.append("token-time")
        self._note_token(target, told.get("UserToken", ""))
        self.state = State.INDEX
        return self._follow(urljoin(reply.url, target))

    def _note_token(self, target: str, spare: str) -> None:
        query = {k: v[0] for k, v in parse_qs(urlsplit(target).query, keep_blank_values=True).items()}
        self._fields.update(query)
        self._user_token = query.get("UserToken") or spare or self._user_token

    def _index(self, url: str, page: str) -> Ask:
        """Z3: the page with ``authform``, maybe after a page that hands the box to another server."""
        self._seen.append(page)
        form = pages.form(page, "authform")
        if form is None:
            target = pages.jump(page)
            if target is None:
                raise _failed("指南首页没有 authform", "the guide's first page has no authform")
            self._note_token(target, "")
            return self._follow(urljoin(url, target))
        parts = urlsplit(url)
        self._epg = f"{parts.scheme}://{parts.netloc}"
        self._user_token = form.fields.get("UserToken") or self._user_token
        if not self._user_token:
            raise _failed("平台没有给出 UserToken", "no UserToken, neither in the address nor in authform")
        self.state = State.AUTHFORM
        action = urljoin(url, form.action or "/iptvepg/function/funcportalauth.jsp")
        return Ask("POST", action, {**self._portal_fields(), **{k: v for k, v in form.fields.items() if v}})

    def _portal_fields(self) -> dict[str, str]:
        """Z4's body as far as the box knows it itself."""
        device = self.box.device
        assert device is not None, "boxes are checked when they are loaded"
        return {
            "UserToken": self._user_token,
            "UserID": self.box.account.user,
            "STBID": device.stb_id,
            "stbinfo": "",
            "prmid": "",
            "easip": self._fields.get("easip", ""),
            "networkid": self._fields.get("networkid", "1"),
            "stbtype": device.stb_type,
            "drmsupplier": "",
            "stbversion": device.stb_version,
        }

    def _framed(self, reply: Reply) -> Ask:
        """Z4's answer: the token once more, in a header."""
        framed = reply.headers.get("X-Frame-UserToken", "")
        if not framed:
            raise _failed("应答没有 X-Frame-UserToken", "no X-Frame-UserToken header: the guide did not take the token")
        if framed != self._user_token:
            self.deviations.append("frame-token")
            self._user_token = framed
        self.state = State.SCRIPT
        return Ask("GET", f"{self._epg}/iptvepg/js/setConfig.js")


def _failed(zh: str, en: str) -> PlayError:
    return PlayError(Stage.LOGIN, zh, en)
