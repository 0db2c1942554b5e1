"""The box's side of an RTSP session as a pure state machine: what may follow what, and what is sent when.

Made from the box dialect in stb_protocols §4 and RFC 2326; it does not know how our own server behaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

from stb_emulator.boxes import RtspFace
from stb_emulator.observe import PlayError, Stage
from stb_emulator.players.rtsp.commands import (
    Command,
    Deviated,
    Done,
    Ended,
    Moved,
    Paused,
    Receive,
    Reconnect,
    Send,
    State,
)
from stb_emulator.players.rtsp.habits import habits_of
from stb_emulator.players.rtsp.offer import Media, choose_media, lines, match_profile
from stb_emulator.players.rtsp.punching import Puncher, dialect_of, make_puncher, other_server
from stb_emulator.players.rtsp.seeking import moment_range, place
from wire.rtsp import Headers, Request, Response, WireError, parse_transport, write_request
from wire.sdp import SdpError
from wire.sdp import parse as parse_sdp

PUNCH_ANSWER_S = 2.0
"""A Huawei-style box waits so long for the answer to its packet, then plays all the same."""
REDIRECTS = (301, 302)
END_NOTICES = ("2101", "2103")
BEGINNING_NOTICE = "2102"
UNDERSTOOD_FROM_SERVER = ("ANNOUNCE", "REDIRECT")


_STAGE = {
    State.OPTIONS: Stage.DESCRIBE,
    State.DESCRIBE: Stage.DESCRIBE,
    State.SETUP: Stage.SETUP,
    State.PUNCH: Stage.SETUP,
}


class Conversation:
    """One session on one connection. Methods return commands; ``now`` is monotonic seconds."""

    def __init__(self, url: str, face: RtspFace, *, ports: tuple[int, int], address: str, rtsp_port: int = 0) -> None:
        """``ports``: the UDP pair that the box has open; ``address`` and ``rtsp_port``: of its own connection."""
        self.state = State.OPTIONS if face.options_first else State.DESCRIBE
        self.media: Media | None = None
        self._url, self._base, self._face = url, url, face
        self._ports, self._address = ports, address
        self._offered: Sequence[str] = face.transports
        self._cseq = 0
        self._waiting: dict[int, str] = {}
        self._reply_due: float | None = None
        self._keep_due: float | None = None
        self._habits = habits_of(face)
        self._puncher: Puncher | None = None
        self._punch_due: float | None = None
        self._rtsp_port = rtsp_port
        self._scale = 1.0
        self._session = ""
        self.beats = self.beats_answered = 0
        """Signs of life; those that nobody answers in their dialect count as answered while the session lives."""

    @property
    def asked(self) -> int:
        """CSeq of the newest request."""
        return self._cseq

    def start(self, now: float) -> list[Command]:
        """Begin, once connected."""
        if self.state is State.OPTIONS:
            return [self._send("OPTIONS", self._url, now)]
        return [self._describe(now)]

    def next_timer(self) -> float | None:
        """When ``tick`` wants to be called at the latest."""
        due = [t for t in (self._reply_due, self._keep_due, self._punch_due) if t is not None]
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
            raise self._fail(f"{method} 没有应答", f"no answer to {method} within {self._face.reply_s:g} s")
        commands: list[Command] = []
        if self._punch_due is not None and now >= self._punch_due:
            if self.state is State.PUNCH:
                return [Deviated("no-punch-answer"), self._play(now)]
            self._punch_due = now + self._face.punch_every_s
            commands += self._puncher.again() if self._puncher is not None else []
        if self._keep_due is not None and now >= self._keep_due:
            self._keep_due = now + self._habits.keep_alive_s
            commands += self._stay(now)
        return commands

    def teardown(self, now: float) -> list[Command]:
        """Leave: TEARDOWN when there is a session, else just close."""
        if self.state in (State.TEARDOWN, State.DONE):
            return []
        if not self._session:
            return self._over()
        self.state, self._keep_due, self._punch_due = State.TEARDOWN, None, None
        self._waiting.clear()
        command = self._send("TEARDOWN", self._base, now)
        self._reply_due = now + self._face.teardown_s
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

    def seek(self, seconds: float, now: float) -> list[Command]:
        """Press the time bar: play on from this place of the lesson at normal speed."""
        return self._move(now, 1.0, place(seconds, self._face))

    def shift(self, moment: datetime, now: float) -> list[Command]:
        """Press the time bar of a channel: play on from this moment at normal speed."""
        return self._move(now, 1.0, moment_range(moment))

    def trick(self, scale: int, now: float) -> list[Command]:
        """Press fast forward or rewind; 1 is normal speed again.

        Raises:
            ValueError: the box's remote control has no such key.
        """
        if scale != 1 and scale not in self._face.scales:
            raise ValueError(f"this box has no key for {scale}x; it has {list(self._face.scales)}")
        return self._move(now, float(scale), "npt=now-begin" if scale < 0 else "npt=now-")

    def pause(self, now: float) -> list[Command]:
        """Press pause."""
        return [] if self._busy() else [self._send("PAUSE", self._base, now)]

    def resume(self, now: float) -> list[Command]:
        """Press play after pause."""
        return self._move(now, self._scale, "npt=now-")

    def punched(self, ssrc: int, now: float) -> list[Command]:
        """The server answered a Huawei-style packet."""
        if self._puncher is None or ssrc != self._puncher.ssrc:
            return [Deviated("punch-ssrc")]
        return [self._play(now)] if self.state is State.PUNCH else []

    def _move(self, now: float, scale: float, window: str) -> list[Command]:
        if self._busy():
            return []
        self._scale = scale
        return [self._send("PLAY", self._base, now, ("Scale", f"{scale:g}"), ("Range", window))]

    def _busy(self) -> bool:
        """Keys do nothing before the lesson plays, and while a PLAY or PAUSE is unanswered."""
        return self.state is not State.PLAYING or not {"PLAY", "PAUSE"}.isdisjoint(self._waiting.values())

    def request(self, message: Request, now: float) -> list[Command]:
        """The server asked something: boxes never answer, and know only two methods (stb_protocols §4.5, §4.9)."""
        commands: list[Command] = [Deviated(d.code) for d in message.deviations]
        if message.method not in UNDERSTOOD_FROM_SERVER:
            return [*commands, Deviated(f"server-method-{message.method}")]
        notice = message.headers.get("x-notice") or message.headers.get("Notice") or ""
        code = notice.split(" ")[0]
        if self._busy():
            return commands  # a box that has asked to play elsewhere does not hear that the old place has ended
        if code in END_NOTICES:
            commands.append(Ended(f"ANNOUNCE {notice}"))
        elif code == BEGINNING_NOTICE and self._scale < 0:
            commands += self._move(now, 1.0, place(0, self._face))
        return commands

    def response(self, message: Response, now: float) -> list[Command]:
        """The server answered.

        Raises:
            PlayError: the answer ends the attempt.
        """
        commands: list[Command] = [Deviated(d.code) for d in message.deviations]
        number = message.headers.get("CSeq") or ""
        answered = int(number) if number.isdecimal() and len(number) < 20 else 0
        method = self._waiting.pop(answered, None)
        if method is None:
            late = self.state is State.TEARDOWN and 0 < answered < self._cseq  # asked before leaving, not waited for
            return commands if late else [*commands, Deviated("cseq")]
        if not self._waiting:
            self._reply_due = None
        if self._face.sniff:
            self._habits.obey(dialect_of(message.headers.get("Server") or "", ""))
        handler = {
            State.OPTIONS: self._optioned,
            State.DESCRIBE: self._described,
            State.SETUP: self._set_up,
            State.PLAY: self._started,
            State.PLAYING: {"PLAY": self._moved, "PAUSE": self._paused}.get(method, self._stayed),
        }.get(self.state)
        if handler is None:
            return [*commands, *self._over()]
        return [*commands, *handler(message, now)]

    def _optioned(self, message: Response, now: float) -> list[Command]:
        self.state = State.DESCRIBE
        return [self._describe(now)]

    def _describe(self, now: float) -> Command:
        nat = [("x-NAT", self._own)] if self._habits.nat == "x-NAT" else []
        more = [("Accept", "application/sdp"), *nat, *self._face.describe_headers.items()]
        return self._send("DESCRIBE", self._url, now, *more, bare=self._face.bare_headers)

    @property
    def _own(self) -> str:
        return f"{self._address}:{self._ports[0]}"

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
        if self._face.sniff:
            self._habits.obey(dialect_of("", session.name or ""))
        self.state = State.SETUP
        return [*(Deviated(f"sdp-{d}") for d in session.deviations), self._setup(now)]

    def _setup(self, now: float) -> Command:
        assert self.media is not None
        value = lines(self._offered, self._ports, self._address, self._face.client_address)
        nat = [] if self._habits.nat == "none" else [(self._habits.nat, self._own)]
        return self._send("SETUP", self._control(self.media.control), now, ("Transport", value), *nat)

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
        interval = message.headers.get("x-KeepAliveInterval") or ""
        if interval.isdecimal() and len(interval) < 20 and int(interval):
            self._habits.keep_alive_s = min(self._habits.keep_alive_s, float(interval))
        self._habits.settle(profile)
        begun: list[Command] = [Receive(answer, self.media, profile, reports=self._habits.keep_alive == "rtcp")]
        if not profile.endswith("TCP") and answer.server_port is not None:
            own = (self._address, self._ports[0], self._rtsp_port)
            self._puncher = make_puncher(self._habits.punch, answer.server_port, message.headers, self._session, own)
        if self._puncher is None:
            return [*begun, self._play(now)]
        begun += self._puncher.first()
        if self._puncher.ssrc is not None:
            self.state, self._punch_due = State.PUNCH, now + PUNCH_ANSWER_S
            return begun
        return [*begun, self._play(now)]

    def _play(self, now: float) -> Command:
        self.state = State.PLAY
        self._punch_due = None if self._puncher is None else now + self._face.punch_every_s
        window = (("Scale", "1"), ("Range", "npt=0-")) if self._face.play_range else ()
        return self._send("PLAY", self._base, now, *window)

    def _started(self, message: Response, now: float) -> list[Command]:
        self._require_ok(message)
        self.state = State.PLAYING
        self._keep_due = None if self._habits.keep_alive == "rtcp" else now + self._habits.keep_alive_s
        if self._puncher is None or self._puncher.ssrc is not None:
            return []
        elsewhere = other_server(message.headers.get("RTP-Info") or "", self._base)
        return [] if elsewhere is None else self._puncher.towards(*elsewhere)

    def _moved(self, message: Response, now: float) -> list[Command]:
        self._require_ok(message)
        scale = message.headers.get("Scale") or ""
        try:
            self._scale = float(scale) if scale else self._scale
        except ValueError as error:
            raise self._fail("Scale 应答有误", f"unreadable Scale {scale[:20]!r}") from error
        return [Moved(self._scale)]

    def _paused(self, message: Response, now: float) -> list[Command]:
        self._require_ok(message)
        return [Paused()]

    def _stayed(self, message: Response, now: float) -> list[Command]:
        if message.status == 454:
            raise self._fail("会话丢失（454）", "the server forgot the session (454)")
        if message.status in (405, 501, 551) and self._habits.keep_alive != "OPTIONS":
            self._habits.keep_alive = "OPTIONS"
            return []
        if message.status >= 400:
            raise self._fail(f"保活失败（{message.status}）", f"keep-alive answered {message.status} {message.reason}")
        self.beats_answered += 1
        return []

    def _stay(self, now: float) -> list[Command]:
        self.beats += 1
        if self._habits.keep_alive == "punch":
            self.beats_answered += 1
            return self._puncher.again() if self._puncher is not None else []
        body = b"x-Heartbeat_Time: 1\r\n" if self._habits.keep_alive == "SET_PARAMETER" else b""
        return [self._send(self._habits.keep_alive, self._base, now, body=body, bare=self._habits.keep_alive_bare)]

    def _over(self) -> list[Command]:
        self.state, self._reply_due, self._keep_due, self._punch_due = State.DONE, None, None, None
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
        self._reply_due = now + self._face.reply_s
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
