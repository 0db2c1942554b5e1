"""The box's side of an RTSP session as a pure state machine: what may follow what, and what is sent when.

Made from the box dialect in stb_protocols §4 and RFC 2326; it does not know how our own server behaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import urlsplit

from stb_emulator.boxes import RtspFace
from stb_emulator.observe import PlayError, Stage
from stb_emulator.players.rtsp.offer import Media, choose_media, lines, match_profile
from wire.rtsp import Headers, Request, Response, Transport, WireError, parse_transport, write_request
from wire.sdp import SdpError
from wire.sdp import parse as parse_sdp

REPLY_S = 10.0
"""Longest wait for an answer."""
TEARDOWN_S = 2.0
"""A box waits so long for the answer to TEARDOWN (stb_protocols §4.2)."""
REDIRECTS = (301, 302)
END_NOTICES = ("2101", "2103")
UNDERSTOOD_FROM_SERVER = ("ANNOUNCE", "REDIRECT")


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Close, and begin again at this address on a new connection."""

    url: str


@dataclass(frozen=True, slots=True)
class Receive:
    """Data will come like this from now on."""

    transport: Transport
    media: Media
    profile: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The server says that the lesson is over."""

    how: str


@dataclass(frozen=True, slots=True)
class Deviated:
    """The server departed from the protocol."""

    kind: str


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more to say; close."""


Command = Send | Reconnect | Receive | Ended | Deviated | Done


class State(Enum):
    """Where the session is."""

    DESCRIBE = auto()
    SETUP = auto()
    PLAY = auto()
    PLAYING = auto()
    TEARDOWN = auto()
    DONE = auto()


_STAGE = {State.DESCRIBE: Stage.DESCRIBE, State.SETUP: Stage.SETUP}


class Conversation:
    """One session on one connection. Methods return commands; ``now`` is monotonic seconds."""

    def __init__(self, url: str, face: RtspFace, *, ports: tuple[int, int], address: str) -> None:
        """``ports``: the UDP pair that the box has open; ``address``: its own IP."""
        self.state = State.DESCRIBE
        self.media: Media | None = None
        self._url, self._base, self._face = url, url, face
        self._ports, self._address = ports, address
        self._offered: Sequence[str] = face.transports
        self._cseq = 0
        self._waiting: dict[int, str] = {}
        self._reply_due: float | None = None
        self._keep_due: float | None = None
        self._keep_alive: str = face.keep_alive
        self._session = ""

    def start(self, now: float) -> list[Command]:
        """Begin, once connected."""
        return [self._send("DESCRIBE", self._url, now, ("Accept", "application/sdp"), bare=self._face.bare_headers)]

    def next_timer(self) -> float | None:
        """When ``tick`` wants to be called at the latest."""
        due = [t for t in (self._reply_due, self._keep_due) if t is not None]
        return min(due) if due else None

    def tick(self, now: float) -> list[Command]:
        """Look at the time.

        Raises:
            PlayError: an answer is overdue.
        """
        if self._reply_due is not None and now >= self._reply_due:
            if self.state is State.TEARDOWN:
                return self._over()
            method = next(iter(self._waiting.values()), "")
            raise self._fail(f"{method} 没有应答", f"no answer to {method} within {REPLY_S:g} s")
        if self._keep_due is not None and now >= self._keep_due:
            self._keep_due = now + self._face.keep_alive_s
            return [self._stay(now)]
        return []

    def teardown(self, now: float) -> list[Command]:
        """Leave: TEARDOWN when there is a session, else just close."""
        if self.state in (State.TEARDOWN, State.DONE):
            return []
        if not self._session:
            return self._over()
        self.state, self._keep_due = State.TEARDOWN, None
        self._waiting.clear()
        command = self._send("TEARDOWN", self._base, now)
        self._reply_due = now + TEARDOWN_S
        return [command]

    def closed(self) -> list[Command]:
        """The server closed the connection.

        Raises:
            PlayError: before the lesson was playing.
        """
        if self.state is State.PLAYING:
            self._session = ""
            return [Ended("close"), *self._over()]
        if self.state in (State.TEARDOWN, State.DONE):
            return self._over()
        raise self._fail("服务器断开了连接", "the server closed the connection")

    def request(self, message: Request) -> list[Command]:
        """The server asked something: boxes never answer, and know only two methods (stb_protocols §4.5, §4.9)."""
        commands: list[Command] = [Deviated(d.code) for d in message.deviations]
        if message.method not in UNDERSTOOD_FROM_SERVER:
            return [*commands, Deviated(f"server-method-{message.method}")]
        notice = message.headers.get("x-notice") or message.headers.get("Notice") or ""
        if self.state is State.PLAYING and notice.split(" ")[0] in END_NOTICES:
            commands.append(Ended(f"ANNOUNCE {notice}"))
        return commands

    def response(self, message: Response, now: float) -> list[Command]:
        """The server answered.

        Raises:
            PlayError: the answer ends the attempt.
        """
        commands: list[Command] = [Deviated(d.code) for d in message.deviations]
        number = message.headers.get("CSeq") or ""
        method = self._waiting.pop(int(number), None) if number.isdecimal() else None
        if method is None:
            return [*commands, Deviated("cseq")]
        if not self._waiting:
            self._reply_due = None
        handler = {
            State.DESCRIBE: self._described,
            State.SETUP: self._set_up,
            State.PLAY: self._started,
            State.PLAYING: self._stayed,
        }.get(self.state)
        if handler is None:
            return [*commands, *self._over()]
        return [*commands, *handler(message, now)]

    def _described(self, message: Response, now: float) -> list[Command]:
        if message.status in REDIRECTS:
            target = message.headers.get("Location") or ""
            if urlsplit(target).scheme != "rtsp":
                raise self._fail("重定向没有给出地址", f"redirect to {target[:80]!r}")
            return [Reconnect(target)]
        self._require_ok(message)
        self._base = (
            message.headers.get("Content-Base") or message.headers.get("Content-Location") or self._url
        ).strip()
        try:
            session = parse_sdp(message.body)
        except SdpError as error:
            raise self._fail("描述（SDP）无法解析", f"unreadable SDP: {error}") from error
        self.media = choose_media(session)
        self._base = self._base.rstrip("/")
        self.state = State.SETUP
        return [*(Deviated(f"sdp-{d}") for d in session.deviations), self._setup(now)]

    def _setup(self, now: float) -> Command:
        assert self.media is not None
        value = lines(self._offered, self._ports, self._address, self._face.client_address)
        return self._send("SETUP", self._control(self.media.control), now, ("Transport", value))

    def _control(self, control: str) -> str:
        if not control or control == "*":
            return self._base
        return control if urlsplit(control).scheme else f"{self._base}/{control.lstrip('/')}"

    def _set_up(self, message: Response, now: float) -> list[Command]:
        assert self.media is not None
        spare = self._face.extra_transports
        if message.status == 461 and self._face.retry_extra and spare and tuple(self._offered) != spare:
            self._offered = spare
            return [self._setup(now)]
        self._require_ok(message)
        try:
            answers = parse_transport(message.headers.get("Transport") or "")
        except WireError as error:
            raise self._fail("Transport 应答有误", f"unreadable Transport: {error}") from error
        if len(answers) != 1:
            raise self._fail("Transport 应答不止一个", f"{len(answers)} transports in the answer, one is right")
        answer = answers[0]
        profile = match_profile(answer, self._offered)
        if profile is None:
            raise self._fail(
                f"服务器选了盒子没有提出的 {answer.profile}",
                f"the server answered {answer.profile}, which was not offered",
            )
        if profile.endswith("TCP"):
            if answer.interleaved is None:
                raise self._fail("应答没有 interleaved", "no interleaved channels in the answer")
        elif answer.client_port is not None and answer.client_port[0] != self._ports[0]:
            raise self._fail("应答的端口不是盒子的", f"client_port {answer.client_port[0]} is not {self._ports[0]}")
        self._session = (message.headers.get("Session") or "").partition(";")[0].strip()
        if not self._session:
            raise self._fail("应答没有 Session", "no Session in the answer")
        self.state = State.PLAY
        play = self._send("PLAY", self._base, now, ("Scale", "1"), ("Range", "npt=0-"))
        return [Receive(answer, self.media, profile), play]

    def _started(self, message: Response, now: float) -> list[Command]:
        self._require_ok(message)
        self.state = State.PLAYING
        self._keep_due = now + self._face.keep_alive_s
        return []

    def _stayed(self, message: Response, now: float) -> list[Command]:
        if message.status == 454:
            raise self._fail("会话丢失（454）", "the server forgot the session (454)")
        if message.status in (405, 501, 551) and self._keep_alive != "OPTIONS":
            self._keep_alive = "OPTIONS"
        elif message.status >= 400:
            raise self._fail(f"保活失败（{message.status}）", f"keep-alive answered {message.status} {message.reason}")
        return []

    def _stay(self, now: float) -> Command:
        body = b"x-Heartbeat_Time: 1\r\n" if self._keep_alive == "SET_PARAMETER" else b""
        return self._send(self._keep_alive, self._base, now, body=body)

    def _over(self) -> list[Command]:
        self.state, self._reply_due, self._keep_due = State.DONE, None, None
        return [Done()]

    def _send(
        self,
        method: str,
        url: str,
        now: float,
        *headers: tuple[str, str],
        body: bytes = b"",
        bare: Sequence[str] = (),
    ) -> Send:
        self._cseq += 1
        self._waiting[self._cseq] = method
        self._reply_due = now + REPLY_S
        fields = [("CSeq", str(self._cseq)), ("User-Agent", self._face.user_agent)]
        if self._session:
            fields.append(("Session", self._session))
        fields += headers
        if body:
            fields.append(("Content-Type", "text/parameters"))
        raw = write_request(Request(method, url, Headers(fields), body))
        if bare:
            head, _, rest = raw.partition(b"\r\n\r\n")
            raw = head + b"".join(b"\r\n" + name.encode() for name in bare) + b"\r\n\r\n" + rest
        return Send(raw)

    def _require_ok(self, message: Response) -> None:
        if message.status != 200:
            words = f"{message.status} {message.reason}".strip()
            raise self._fail(f"服务器应答 {words}", f"the server answered {words}")

    def _fail(self, zh: str, en: str) -> PlayError:
        return PlayError(_STAGE.get(self.state, Stage.PLAY), zh, en)
