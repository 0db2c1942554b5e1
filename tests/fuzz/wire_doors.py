# ruff: noqa: E501 (a request is one line here, however long)
"""Doors of ``wire``: what comes over RTSP, RTP, HTTP, SDP, playlists, transport streams and pages of old portals."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge_server.egress.rtsp.address import parse_address
from edge_server.egress.rtsp.conversation import SESSIONS_MAX_COUNT
from edge_server.egress.whep.negotiate import Refused, read_offer
from edge_server.sessions.accounts import Account
from edge_server.sessions.authenticator import open_with_any_key
from edge_server.sessions.tickets import Tickets
from tests.fuzz import Door
from tests.unit.test_rtsp_conversation import Dialogue, messages
from wire import ctc, http_request, m3u8, mpegts, mpegts_psi, rtp, rtp_feedback, rtsp, sdp, zte
from wire.catchup import CatchupError, read_moment, read_playseek
from wire.http_range import evaluate, http_moment
from wire.mpegts_meter import ContinuityMeter
from wire.playseek import PlayseekError, find_playseek
from wire.rtsp_punch import parse_punch

VECTORS = Path(__file__).parents[1] / "vectors"
NOW = datetime(2026, 11, 24, 4, tzinfo=UTC)
ACCOUNT = Account(user_id="edu001@itv", password="123456")


def vectors(kind: str, *ends: str) -> tuple[bytes, ...]:
    """Return the vectors of a codec; a long one is cut."""
    found = sorted(each for each in (VECTORS / kind).iterdir() if each.suffix in (ends or (".bin",)))
    return tuple(each.read_bytes()[:8192] for each in found)


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _rtsp() -> Door:
    def take(data: bytes) -> None:
        reader, half = rtsp.Reader(), len(data) // 2
        for piece in (data[:half], data[half:]):
            for message in reader.feed(piece):
                if isinstance(message, rtsp.Request | rtsp.Response):
                    assert len(message.body) <= rtsp.BODY_MAX_BYTES
            assert len(reader._buffer) <= rtsp.HEAD_MAX_BYTES + rtsp.BODY_MAX_BYTES + len(piece)

    words = (b"Content-Length: 5\r\n", b"$\x00\x00\x04", b"$\x01\xff\xff", b"RTSP/1.0", b"\r\n ", b"x-Burst\r\n")
    return Door("rtsp", vectors("rtsp"), take, (rtsp.WireError,), 1 << 20, words)


_TALKS = (
    b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    b"DESCRIBE rtsp://192.0.2.1/vod/7.mpg RTSP/1.0\r\nCSeq: 2\r\nAccept: application/sdp\r\nx-NAT: 10.0.0.9:40000\r\n\r\n",
    b"SETUP rtsp://192.0.2.1/vod/7.mpg/trackID=1 RTSP/1.0\r\nCSeq: 3\r\n"
    b"Transport: MP2T/RTP/UDP;unicast;destination=10.0.0.9;client_port=40000-40001,MP2T/TCP;unicast;interleaved=0-1\r\n"
    b"x-NAT_Address:10.0.0.9:40000\r\n\r\n",
    b"SETUP rtsp://192.0.2.1/vod/7.mpg RTSP/1.0\r\nCSeq: 3\r\nTransport: MP2T/TCP;unicast;interleaved=0-1\r\n\r\n",
    b"PLAY rtsp://192.0.2.1/vod/7.mpg RTSP/1.0\r\nCSeq: 4\r\nSession: 0000000000000001\r\nRange: npt=10.5-\r\nScale: 4.0\r\n\r\n",
    b"PLAY rtsp://192.0.2.1/vod/7.mpg RTSP/1.0\r\nCSeq: 4\r\nSession: 0000000000000001\r\nRange: clock=20261124T040000Z-\r\n\r\n",
    b"PAUSE rtsp://192.0.2.1/vod/7.mpg RTSP/1.0\r\nCSeq: 5\r\nSession: 0000000000000001\r\n\r\n",
    b"GET_PARAMETER rtsp://192.0.2.1/vod/7.mpg RTSP/1.0\r\nCSeq: 6\r\nSession: 0000000000000001\r\nx-Timeshift_Range\r\n\r\n",
    b"SET_PARAMETER * RTSP/1.0\r\nCSeq: 7\r\nContent-Length: 22\r\n\r\nx-Heartbeat_Time: 30\r\n",
    b"TEARDOWN rtsp://192.0.2.1/vod/7.mpg RTSP/1.0\r\nCSeq: 8\r\nSession: 0000000000000001\r\n\r\n",
    b"DESCRIBE rtsp://192.0.2.1/live/900001.mpg?playseek=20261124040000-20261124050000 RTSP/1.0\r\nCSeq: 9\r\n\r\n",
    b"$\x01\x00\x08\x80\xc9\x00\x01\x00\x00\x00\x00",
)


def _conversation() -> Door:
    seeds = (
        *_TALKS,
        b"".join(_TALKS),
        b"".join(_TALKS[2:5]),
        _TALKS[3] + _TALKS[4] + _TALKS[6] + _TALKS[4] + _TALKS[9],
    )

    def take(data: bytes) -> None:
        talk, reader, drawn = Dialogue(), rtsp.Reader(), itertools.count(1)
        talk.talk._draw = lambda bits: next(drawn)
        try:
            for message in reader.feed(data):
                done = talk.tell(message)
                answers = [each for each in messages(done) if isinstance(each, rtsp.Response)]
                assert len(answers) == isinstance(message, rtsp.Request)
                assert len(talk.viewings) <= SESSIONS_MAX_COUNT
        finally:
            talk.talk._hangup("over")
            assert len(talk.viewings) == 0

    return Door("rtsp-conversation", seeds, take, (rtsp.WireError,), 32 * 1024)


def _rtsp_fields() -> Door:
    def take(data: bytes) -> None:
        kind, text = data[:1], text_of(data[1:])
        if kind == b"R":
            rtsp.parse_range(text)
        elif kind == b"T":
            rtsp.parse_transport(text)
        else:
            parse_address(text)

    seeds = (
        *(b"Rnpt=10.5-", b"Rnpt=now-begin", b"Rclock=20261124T040000.50Z-20261124T050000Z", b"Rnpt=0:01:02.5-1:00:00"),
        b"TMP2T/RTP/UDP;unicast;destination=10.0.0.9;client_port=4000-4001,MP2T/TCP;interleaved=0-1;ssrc=1234ABCD;mode=PLAY",
        b"Artsp://192.0.2.1:554/vod/10000001.mpg?rendition=R12&a=%20b",
        b"Artsp://[2001:db8::1]/live/900001.mpg?playseek=20261124040000-20261124050000&zoneoffset=480",
    )
    return Door("rtsp-fields", seeds, take, (rtsp.WireError, PlayseekError), 64 * 1024)


def _http_head() -> Door:
    seeds = (
        b"GET /media/10000001.R12.mp4 HTTP/1.1\r\nHost: edge:8800\r\nRange: bytes=0-99\r\nUser-Agent: x\r\n\r\n",
        b'HEAD /hls/1/R12/index.m3u8?x=1 HTTP/1.0\r\nConnection: keep-alive\r\nIf-None-Match: "a", W/"b"\r\n\r\n',
        b"POST http://edge/EPG/jsp/x HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 3\r\n\r\na=b",
        b'GET /%E8%AF%BE HTTP/1.1\r\nHost: e\r\nIf-Modified-Since: Tue, 24 Nov 2026 04:00:00 GMT\r\nIf-Range: "a"\r\n\r\n',
    )

    def take(data: bytes) -> None:
        http_request.message_bytes(data)
        http_request.is_other_version(data.partition(b"\r\n")[0])
        line, _, rest = data.partition(b"\r\n")
        read = http_request.read_line(line)
        fields = http_request.read_fields(b"\r\n" + rest.partition(b"\r\n\r\n")[0])
        path = http_request.path_of(read[1]) if read else None
        assert path is None or (path.startswith("/") and path.isprintable())
        if fields is not None:
            answer = evaluate("GET", fields.conditions, etag='"a"', last_modified=NOW, length_bytes=2000)
            assert all(0 <= start < stop <= 2000 for start, stop in answer.ranges)

    return Door("http-head", seeds, take, (), http_request.HEAD_MAX_BYTES)


def _http_range() -> Door:
    names = ("Range", "If-Range", "If-None-Match", "If-Match", "If-Modified-Since", "If-Unmodified-Since")
    seeds = (
        b"bytes=0-0,5-9, -4\n\n\n\n\n",
        b'bytes=10-\n"a"\n\n\n\n',
        b'\n\n"a", W/"b"\n*\nTue, 24 Nov 2026 04:00:00 GMT\nSunday, 06-Nov-94 08:49:37 GMT',
        b"\nSun Nov  6 08:49:37 1994\n\n\n\n",
    )

    def take(data: bytes) -> None:
        values = data.decode("latin-1").split("\n")
        asked = {name: value for name, value in zip(names, values, strict=False) if value}
        answer = evaluate("GET", asked, etag='"a"', last_modified=NOW, length_bytes=2000)
        assert sum(stop - start for start, stop in answer.ranges) <= 2000
        for each in values:
            http_moment(each)

    return Door("http-range", seeds, take, (), http_request.HEAD_MAX_BYTES)


def _tickets() -> Door:
    tickets = Tickets(b"k" * 16, required=True)
    good = tickets.prefix("10000001", 7, 0.0) + "/media/10000001.R12.mp4"

    def take(data: bytes) -> None:
        tickets.door(text_of(data), 1.0)

    seeds = (good.encode(), b"/media/10000001.mp4", b"/live/user/password/1.ts", b"/hls/1/R12/index.m3u8")
    return Door("tickets", seeds, take, (), http_request.HEAD_MAX_BYTES)


def _sdp() -> Door:
    def take(data: bytes) -> None:
        sdp.parse(data)
        read_offer(data, profile_level_id="4d401e", has_sound=True)

    return Door("sdp-whep", vectors("sdp", ".sdp"), take, (sdp.SdpError, Refused), 64 * 1024)


def _rtp() -> Door:
    seeds = (*vectors("rtp"), bytes.fromhex("81cd0003000000010000000200640001"))

    def take(data: bytes) -> None:
        kind = data[1] if len(data) > 1 else 0
        if 192 <= kind <= 223:
            for each in rtp.parse_rtcp(data):
                assert each is not None
            rtp_feedback.read_feedback(data)
        else:
            assert len(rtp.parse_rtp(data).payload) <= len(data)

    return Door("rtp-rtcp", seeds, take, (rtp.RtpError,), 65507)


def _punch() -> Door:
    seeds = (
        bytes.fromhex("5a585631305354427fffffff0a0000099c40afc9") + bytes(64),
        bytes.fromhex("000100001234abcd"),
    )
    return Door("rtsp-punch", seeds, parse_punch, (), 65507)


def _m3u8() -> Door:
    more = (
        b'#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:6\n#EXT-X-MAP:URI="i.mp4",BYTERANGE="9@0"\n'
        b"#EXT-X-PROGRAM-DATE-TIME:2026-11-24T04:00:00.000Z\n#EXT-X-DISCONTINUITY\n#EXTINF:5.96,x\n#EXT-X-BYTERANGE:5@9\ns\n",
    )
    return Door(
        "m3u8",
        (*vectors("m3u8", ".m3u8"), *more),
        lambda data: m3u8.parse(text_of(data)),
        (m3u8.PlaylistError,),
        1 << 20,
    )


def _mpegts() -> Door:
    def take(data: bytes) -> None:
        meter = ContinuityMeter()
        whole = len(data) // 188 * 188
        meter.feed(data[:whole])
        for at in range(0, min(whole, 188 * 8), 188):
            packet = mpegts.parse_packet(data[at : at + 188])
            if packet.payload and packet.unit_start:
                for read in (
                    mpegts.parse_pes_header,
                    lambda part: mpegts_psi.parse_pat(mpegts_psi.parse_section(part)),
                    lambda part: mpegts_psi.parse_pmt(mpegts_psi.parse_section(part)),
                ):
                    try:
                        read(packet.payload)
                    except mpegts_psi.WireError:
                        continue

    return Door("mpegts", vectors("mpegts", ".bin", ".ts"), take, (mpegts_psi.WireError,), 64 * 1024, (b"G@\x00\x10",))


def _authenticator() -> Door:
    made = ctc.Authenticator("12345678", "0" * 32, "edu001@itv", "0" * 32, "10.0.0.9", "1A:2B:3C:4D:5E:6F")
    seeds = (*vectors("ctc", ".hex"), ctc.encrypt(made.build(), "123456").encode())
    return Door("authenticator", seeds, lambda data: open_with_any_key(text_of(data), ACCOUNT), (), 64 * 1024)


def _authenticator_plain() -> Door:
    made = ctc.Authenticator("12345678", "0" * 32, "edu001@itv", "0" * 32, "10.0.0.9", "1A:2B:3C:4D:5E:6F").build()
    seeds = (made, made.replace(b"$$CTC", b"$Reserved$CU"), made.replace(b"$$CTC", b"$CM"), made + b"\x01" * 16)
    return Door("authenticator-plain", seeds, ctc.parse_plaintext, (ctc.CtcError,), 4096)


def _pages() -> Door:
    def take(data: bytes) -> None:
        page, _ = ctc.decode_page(data)
        ctc.parse_inputs(page)
        ctc.parse_set_configs(page)
        ctc.is_session_lost(page)
        zte.parse_form_action(page)
        zte.parse_location(page)
        zte.parse_rebuild(page, "T")
        zte.parse_error(page)
        zte.parse_js_set_configs(page)
        zte.parse_channel_infos(page)
        for read in (
            ctc.parse_channel_page,
            lambda text: ctc.parse_channel_page(text, "regex"),
            ctc.parse_heartbeat,
            ctc.parse_token_page,
            zte.parse_auth_info,
            zte.parse_builder_page,
        ):
            try:
                read(page)
            except ctc.CtcError:
                continue

    more = (
        b"<script>jsSetConfig('ChannelCount','1');jsSetConfig('Channel','ChannelID=\"1\",ChannelURL=\"rtsp://e/1\"');\n"
        b"jsSetChannelInfo('1','0','0','1','c','n','','1','0','0','0','0','0','1','','','1','0','','','');</script>",
        b"document.authform.Authenticator.value = GetAuthInfo('@@0123');\nwindow.location = 'http://e/i.jsp?a=b';",
        b"var weburl = 'rebuildsessionresponse.jsp?UserToken=' + usertoken + '&from=x'; qrcodeerror.jsp?errorcode=12",
        b'<form name="authform" method="post" action="/a.jsp"><input type="hidden" name="UserID" value="x"></form>',
    )
    return Door("old-portal-pages", (*vectors("ctc", ".html", ".txt"), *more), take, (ctc.CtcError,), 256 * 1024)


def _moments() -> Door:
    def take(data: bytes) -> None:
        text = text_of(data)
        for read in (
            read_moment,
            read_playseek,
            lambda given: find_playseek({"playseek": given, "zoneoffset": given[:8]}),
            lambda given: zte.parse_time(given, timedelta(hours=8)),
        ):
            try:
                read(text)
            except (CatchupError, PlayseekError, ctc.CtcError):
                continue

    seeds = (
        *(b"20261124080000-20261124083000", b"20261124080000GMT", b"2026-11-24T08:00:00.000+08:00", b"1767225600"),
        *(b"20261124T080000Z-20261124T083000Z", b"2026.11.24 08:00:00", b"20261124080000-"),
    )
    return Door("moments-playseek", seeds, take, (), 16 * 1024)


WIRE: Mapping[str, Callable[[], Door]] = {
    "rtsp": _rtsp,
    "rtsp-conversation": _conversation,
    "rtsp-fields": _rtsp_fields,
    "rtsp-punch": _punch,
    "http-head": _http_head,
    "http-range": _http_range,
    "tickets": _tickets,
    "sdp-whep": _sdp,
    "rtp-rtcp": _rtp,
    "m3u8": _m3u8,
    "mpegts": _mpegts,
    "authenticator": _authenticator,
    "authenticator-plain": _authenticator_plain,
    "old-portal-pages": _pages,
    "moments-playseek": _moments,
}
