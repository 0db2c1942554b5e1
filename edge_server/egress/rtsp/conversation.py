"""What may follow what on one RTSP connection (RFC 2326 §10, §A; reference/stb_protocols §4). Pure.

Events go in with the time, commands come out; one place (``driver``) executes them. Sessions belong to the connection
on which they were set up and end with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from edge_server.egress.rtsp.address import Address, parse_address
from edge_server.egress.rtsp.nat import alive, answers, expects_punch, judge
from edge_server.egress.rtsp.negotiate import Link, answer, choose
from edge_server.egress.rtsp.onward import gone_on, needs_newer, renewed
from edge_server.egress.rtsp.playing import BadRange, NoClock, Place, plan, speed, write_span
from edge_server.egress.rtsp.profiles import DEFAULT, profile_for
from edge_server.egress.rtsp.replies import CLOSING, PUBLIC, announce, describe, reply
from edge_server.egress.rtsp.requests import KNOWN_BUT_REFUSED, fault
from edge_server.egress.rtsp.requests import session_id as session_id_of
from edge_server.egress.rtsp.rules import Rules
from edge_server.egress.rtsp.session import CLOSE_AFTER_END_S, REPEAT_NOTICE_S, Session
from edge_server.egress.rtsp.words import (
    Close,
    Command,
    Draining,
    Ended,
    Event,
    Found,
    Hangup,
    Heard,
    Look,
    Lost,
    NotOpened,
    Onward,
    Open,
    Opened,
    Send,
    Start,
    Stop,
    Stuck,
    Tick,
    Unreadable,
    Wind,
)
from edge_server.pacing.stream import Stream
from edge_server.sessions.viewing import Full, Viewings
from wire.rtsp import Interleaved, Request, Response, WireError, parse_transport, write_transport

SESSIONS_MAX_COUNT = 4
"""Sessions of one connection."""


class Conversation:
    """One connection's state."""

    def __init__(
        self,
        rules: Rules,
        viewings: Viewings,
        draw: Callable[[int], int],
        *,
        box: str,
        host: str,
        now: float,
        counters: Counter[str],
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """Begin.

        Args:
            rules: Banner and the like.
            viewings: Shared admission table.
            draw: Random integer of so many bits (session ids, RTP's first values).
            box: The peer's address; media goes to no other.
            host: Our own address on this connection.
            now: Monotonic seconds.
            counters: Where deviations and refusals are counted.
            busy: Tells whether one more viewer would make the others stutter.
        """
        self._rules, self._viewings, self._draw = rules, viewings, draw
        self._box, self._host, self._counters, self._busy = box, host, counters, busy
        self._sessions: dict[str, Session] = {}
        self._last_request = now
        self._own_cseq = 0
        self._cseq: str | None = None
        self._profile = DEFAULT
        self._listens = False
        self._then: Callable[[Event, float], list[Command]] | None = None
        self._closing = False

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event; return what to do, in order."""
        if self._closing:
            return []
        match event:
            case Request():
                return self._request(event, now)
            case Found() | Opened() | NotOpened():
                then, self._then = self._then, None
                return [] if then is None else then(event, now)
            case Response():  # a stranger's answer to ANNOUNCE; boxes send none
                return []
            case Interleaved():
                return self._frame(event, now)
            case Heard():
                return self._heard(event, now)
            case Ended():
                return self._ended(event.session_id, now)
            case Stuck():
                return [*self._end(event.session_id), *self._hangup("reader does not read")]
            case Unreadable():
                refused = reply(None, self._banner, 400, [("Connection", "close")], why=f"Bad Request: {event.why}")
                return [refused, *self._hangup("unreadable")]
            case Tick():
                return self._tick(now)
            case Draining():
                return self._drain()
            case Lost():
                return self._hangup("connection lost")

    def next_timer(self) -> float | None:
        """Tell when a Tick is wanted next; None for never."""
        if self._closing:
            return None
        times: list[float] = [] if self._sessions else [self._last_request + self._rules.idle_s]
        for each in self._sessions.values():
            deadline = self._viewings.deadline_s(each.session_id)
            times += [] if deadline is None else [deadline]
            notice = each.next_notice()
            times += [] if notice is None else [notice]
        return min(times, default=None)

    @property
    def _banner(self) -> str:
        return self._rules.banner_for(self._profile)

    # Requests

    def _request(self, request: Request, now: float) -> list[Command]:
        self._last_request = now
        self._cseq = request.headers.get("CSeq")
        self._profile = profile_for(request.headers.get("User-Agent")) or self._profile
        codes = {each.code for each in request.deviations}
        self._counters.update(f"deviation {code}" for code in codes)
        refusal = fault(request, intolerant=self._rules.intolerant)
        if refusal is not None:
            return self._refuse(*refusal)
        self._listens = self._listens or expects_punch(request, self._profile)
        session_id = session_id_of(request)
        if session_id is not None and self._rules.is_life(request.method):
            self._viewings.seen(session_id, now)
        match request.method:
            case "OPTIONS":
                return [self._answer(200, [("Public", PUBLIC)], session_id)]
            case "DESCRIBE":
                return self._describe(request)
            case "SETUP":
                return self._setup(request, session_id)
            case "PLAY" | "PAUSE" | "TEARDOWN":
                session = self._sessions.get(session_id or "")
                if session is None:
                    return self._refuse(454)
                if request.method == "PLAY":
                    return self._play(request, session, now)
                return self._pause(session, now) if request.method == "PAUSE" else self._teardown(session)
            case "GET_PARAMETER" | "SET_PARAMETER":
                return self._parameter(request, session_id, now)
            case method if method in KNOWN_BUT_REFUSED:
                return self._refuse(405, [("Allow", PUBLIC)])
            case _:
                return self._refuse(501, [("Public", PUBLIC)])

    def _describe(self, request: Request) -> list[Command]:
        address = parse_address(request.uri, intolerant=self._rules.intolerant)
        if address is None:
            return self._refuse(404)

        if not self._sessions and self._crowded():
            location = self._rules.elsewhere(address.base)
            if location is not None:
                return self._refuse(302, [("Location", location)])

        def told(event: Event, now: float) -> list[Command]:
            if not isinstance(event, Found) or event.title is None:
                return self._refuse(404)
            headers, body = describe(address, event.title, host=self._host, profile=self._rules.sdp_profile)
            return [self._answer(200, headers, body=body)]

        self._then = told
        return [Look(address.item_id, address.rendition, address.air)]

    def _setup(self, request: Request, session_id: str | None) -> list[Command]:
        """Negotiate first, then look for the title, then open: whichever fails says so with its own number."""
        old = self._sessions.get(session_id) if session_id is not None else None
        if session_id is not None and old is None:
            return self._refuse(454)
        if old is not None and old.stream.playing:
            return self._refuse(455)
        address = parse_address(request.uri, intolerant=self._rules.intolerant)
        if address is None:
            return self._refuse(404)
        try:
            offers = parse_transport(", ".join(request.headers.get_all("Transport")))
        except WireError as error:
            return self._refuse(400, why=f"Bad Request: {error}")
        taken = [c for s in self._sessions.values() if s is not old for c in s.link.channels or ()]
        link = choose(offers, taken, intolerant=self._rules.intolerant)
        if link is None:
            return self._refuse(461)
        if old is None and (len(self._sessions) >= SESSIONS_MAX_COUNT or self._too_many()):
            return self._refuse(453)
        if old is None and self._busy():
            return self._turn_away(address)
        self._then = lambda event, now: self._setup_found(event, request, address, link, session_id, now)
        return [Look(address.item_id, address.rendition, address.air)]

    def _setup_found(
        self, event: Event, request: Request, address: Address, link: Link, session_id: str | None, now: float
    ) -> list[Command]:
        if not isinstance(event, Found) or event.title is None:
            return self._refuse(404)
        title = event.title
        released: list[Command] = [] if session_id is None else self._end(session_id)
        session_id = session_id or f"{self._draw(64):016X}"
        how = link.profile.upper()
        try:
            self._viewings.admit(session_id, box=self._box, item_id=title.item_id, transport=how, now_s=now)
        except Full:
            return [*released, *self._turn_away(address)]
        numbers = {"ssrc": self._draw(32), "sequence": self._draw(16), "timestamp": self._draw(32)}
        stream = Stream(title.timeline, rtp=link.rtp, **numbers, now=now, continuous=self._rules.continuous)
        session = Session(session_id, title, link, stream, address.base, self._draw(32))
        self._then = lambda event, _: self._setup_opened(event, request, session)
        return [*released, Open(session_id, title, link, stream, self._listens)]

    def _crowded(self) -> bool:
        return self._busy() or len(self._viewings) >= self._viewings.max_count

    def _too_many(self) -> bool:
        """Tell whether this address has as many sessions as one may, on whatever connections."""
        most = self._rules.address_max_count
        return 0 < most <= sum(each.box == self._box for each in self._viewings)

    def _turn_away(self, address: Address) -> list[Command]:
        location = self._rules.elsewhere(address.base)
        return self._refuse(453) if location is None else self._refuse(302, [("Location", location)])

    def _setup_opened(self, event: Event, request: Request, session: Session) -> list[Command]:
        if not isinstance(event, Opened):
            self._viewings.end(session.session_id)
            return self._refuse(503)
        self._sessions[session.session_id] = session
        chosen = answer(session.link, source=self._host, server_port=event.server_port, ssrc=session.stream.ssrc)
        timeout = f"{session.session_id};timeout={self._viewings.timeout_s:.0f}"
        nat = answers(request, session, self._viewings.timeout_s)
        return [self._answer(200, [("Session", timeout), ("Transport", write_transport(chosen)), *nat])]

    def _play(self, request: Request, session: Session, now: float) -> list[Command]:
        if not needs_newer(request.headers.get("Range"), session, now):
            return self._play_on(request, session, now)
        self._then = lambda event, now: [*renewed(session, event), *self._play_on(request, session, now)]
        return [Onward(session.title, now=True)]

    def _play_on(self, request: Request, session: Session, now: float) -> list[Command]:
        stream = session.stream
        ahead_s = session.title.zero_s if self._profile.stream_npt else 0.0
        scale = speed(request.headers.get("Scale"))
        place = Place(session.title, stream, session.wound, session.npt_s(now), now)
        try:
            move = plan(request.headers.get("Range"), scale, place, ahead_s=ahead_s, intolerant=self._rules.intolerant)
        except NoClock as error:
            status = self._profile.clock_status
            return self._refuse(status, why=f"Invalid Range: {error}" if status == 457 else "")
        except BadRange as error:
            return self._refuse(457, why=f"Invalid Range: {error}")
        changes: list[Command] = []
        if move is None:
            start_s, end_s = session.npt_s(now), stream.stop_s if session.wound is None else session.wound.end_s
        else:
            if move.wound is not None or session.wound is not None:
                changes = [Wind(session.session_id, move.wound)]
            timeline = session.title.timeline if move.wound is None else move.wound.timeline
            stream.play(move.offset_bytes, now, stop_s=move.stop_s, timeline=timeline)
            stream.endless = session.live and move.wound is None
            session.wound, session.stood_s = move.wound, None
            session.ended_at, session.repeated = None, False
            session.from_s = start_s = move.start_s
            end_s = move.end_s
        span = write_span(session.title, start_s + ahead_s, end_s + ahead_s)
        headers = [("Range", span), *session.how_it_plays(request.headers)]
        return [self._answer(200, headers, session.session_id), *changes, Start(session.session_id)]

    def _pause(self, session: Session, now: float) -> list[Command]:
        at = session.npt_s(now)
        session.stream.pause()
        session.stood_s = at
        headers = [("Range", write_span(session.title, at))]
        return [Stop(session.session_id), self._answer(200, headers, session.session_id)]

    def _teardown(self, session: Session) -> list[Command]:
        return [*self._end(session.session_id), self._answer(200, [], session.session_id)]

    def _parameter(self, request: Request, session_id: str | None, now: float) -> list[Command]:
        """Keep-alive in all its spellings; ``position`` is the one parameter that we know."""
        session = self._sessions.get(session_id or "")
        if session_id is not None and session is None:
            return self._refuse(454)
        body = b""
        asked = {line.strip().lower() for line in request.body.decode("utf-8", "replace").splitlines()}
        if session is not None and request.method == "GET_PARAMETER" and "position" in asked:
            body = f"position: {session.npt_s(now):.3f}\r\n".encode()
        headers = [("Content-Type", "text/parameters")] if body else []
        return [self._answer(200, headers, session_id, body=body)]

    # Everything else

    def _heard(self, event: Heard, now: float) -> list[Command]:
        session = self._sessions.get(event.session_id)
        if session is None:
            return []
        done = judge(event, session, self._box, intolerant=self._rules.intolerant)
        if (done or alive(event)) and self._rules.is_life("datagram"):
            self._viewings.seen(event.session_id, now)
        return done

    def _frame(self, frame: Interleaved, now: float) -> list[Command]:
        for session in self._sessions.values():
            channels = session.link.channels or ()
            if frame.channel in channels and self._rules.is_life("frame"):
                self._viewings.seen(session.session_id, now)
        return []

    def _ended(self, session_id: str, now: float) -> list[Command]:
        session = self._sessions.get(session_id)
        if session is None or session.ended_at is not None:
            return []
        if session.live and session.wound is None:
            self._then = lambda event, now: self._gone_on(event, session, now)
            return [Onward(session.title)]
        session.stream.pause()
        session.ended_at = now
        session.stood_s = session.wound.end_s if session.live and session.wound is not None else 0.0
        return [Stop(session_id, goodbye=session.closes), self._announce(session, session.notice)]

    def _gone_on(self, event: Event, session: Session, now: float) -> list[Command]:
        done = gone_on(session, event, now)
        session.gone = not done
        return done or self._ended(session.session_id, now)

    def _tick(self, now: float) -> list[Command]:
        done: list[Command] = []
        for session in tuple(self._sessions.values()):
            deadline = self._viewings.deadline_s(session.session_id)
            if deadline is None or now >= deadline:
                self._counters["sessions timed out"] += 1
                done += self._end(session.session_id)
            elif session.ended_at is None:
                continue
            elif session.closes and now >= session.ended_at + CLOSE_AFTER_END_S:
                done += self._end(session.session_id)
                if not self._sessions:
                    return [*done, *self._hangup("end of stream")]
            elif not session.repeated and now >= session.ended_at + REPEAT_NOTICE_S:
                session.repeated = True
                done.append(self._announce(session, session.notice))
        if not self._sessions and now >= self._last_request + self._rules.idle_s:
            done += self._hangup("idle")
        return done

    def _drain(self) -> list[Command]:
        notices = [self._announce(each, CLOSING) for each in self._sessions.values()]
        ends = [command for session_id in tuple(self._sessions) for command in self._end(session_id)]
        return [*ends, *notices, *self._hangup("draining")]

    def _end(self, session_id: str) -> list[Command]:
        if self._sessions.pop(session_id, None) is None:
            return []
        self._viewings.end(session_id)
        return [Close(session_id)]

    def _hangup(self, why: str) -> list[Command]:
        ends = [command for session_id in tuple(self._sessions) for command in self._end(session_id)]
        self._closing = True
        return [*ends, Hangup(why)]

    def _announce(self, session: Session, notice: int) -> Send:
        self._own_cseq += 1
        return announce(self._own_cseq, session.session_id, session.base, notice, intolerant=self._rules.intolerant)

    def _answer(
        self, status: int, headers: list[tuple[str, str]], session_id: str | None = None, *, body: bytes = b""
    ) -> Send:
        extra = [] if session_id is None else [("Session", session_id)]
        return reply(self._cseq, self._banner, status, [*extra, *headers], body)

    def _refuse(self, status: int, headers: list[tuple[str, str]] | None = None, *, why: str = "") -> list[Command]:
        self._counters[f"refused {status}"] += 1
        return [reply(self._cseq, self._banner, status, headers or [], why=why)]
