"""Writing what the server says: answers, the session description, notices. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from edge_server.egress.rtsp.address import CONTROL, Address
from edge_server.egress.rtsp.words import Send, Title
from wire.rtp import MP2T_PAYLOAD_TYPE
from wire.rtsp import Headers, Request, Response, write_clock, write_npt, write_request, write_response
from wire.sdp import MediaDescription, Session, write

PUBLIC = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER"
END_OF_STREAM = 2101
BEGINNING_REACHED = 2102
CLOSING = 2103

_REASONS = {
    200: "OK",
    302: "Moved Temporarily",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    453: "Not Enough Bandwidth",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    457: "Invalid Range",
    461: "Unsupported Transport",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "RTSP Version Not Supported",
    551: "Option Not Supported",
}
_WORDS = {
    404: "没有此课件，或课件已下架。 No such lesson, or it was withdrawn.",
    453: "观看人数已满，请稍后再试。 All places are taken; please try again later.",
    503: "服务器繁忙，请稍后再试。 The server is busy; please try again later.",
}
"""For people, where a person may read them; boxes look at the number."""


def reply(
    cseq: str | None, banner: str, status: int, extra: Iterable[tuple[str, str]] = (), body: bytes = b"", why: str = ""
) -> Send:
    """Write an answer. ``why`` replaces the standard reason phrase."""
    headers = [] if cseq is None else [("CSeq", cseq)]
    headers += [("Server", banner), *extra]
    if status in _WORDS and not body:
        body = _WORDS[status].encode()
        headers.append(("Content-Type", "text/plain; charset=utf-8"))
    return Send(write_response(Response(status, why or _REASONS[status], Headers(headers), body)))


def announce(cseq: int, session_id: str, url: str, notice: int, *, intolerant: Collection[str] = ()) -> Send:
    """Write the notice that boxes understand (reference/stb_protocols §4.9); no answer is expected.

    With D14 among ``intolerant`` it goes by SET_PARAMETER, as a server of another world would send it.
    """
    method = "SET_PARAMETER" if "D14" in intolerant else "ANNOUNCE"
    headers = Headers((("CSeq", str(cseq)), ("Session", session_id), ("x-notice", str(notice))))
    return Send(write_request(Request(method, url, headers)))


def describe(address: Address, title: Title, *, host: str, profile: str) -> tuple[list[tuple[str, str]], bytes]:
    """Return headers and body that describe the title: one track, its length, payload type 33."""
    family = "IP6" if ":" in host else "IP4"
    name = " ".join("".join(letter if letter.isprintable() else " " for letter in title.name).split())
    media = MediaDescription(
        kind="video",
        port=0,
        profile=profile,
        formats=(str(MP2T_PAYLOAD_TYPE),),
        attributes=(("rtpmap", f"{MP2T_PAYLOAD_TYPE} MP2T/90000"), ("control", CONTROL)),
    )
    session = Session(
        origin=f"- {title.item_id} 1 IN {family} {host}",
        name=name or "-",
        connection=f"IN {family} {'::' if family == 'IP6' else '0.0.0.0'}",
        attributes=(("control", "*"), ("range", _range(title))),
        media=(media,),
    )
    return [("Content-Base", f"{address.base}/"), ("Content-Type", "application/sdp")], write(session)


def _range(title: Title) -> str:
    """Write what can be played: of a channel, from how far back; it has no end."""
    air = title.airtime
    if air is None or air.live_zero_s is None:
        return write_npt(0.0, title.timeline.duration_s)
    return write_clock(air.zero)
