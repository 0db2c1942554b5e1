"""Rows about RTSP: D9 to D18."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stb_emulator.boxes import TRANSPORT_ORDERS, Box
from stb_emulator.lab.disagreements.talk import Talk
from stb_emulator.lab.disagreements.told import Row, Variant
from stb_emulator.lab.disagreements.trying import Lab, NotShown, alive_every_s, at, but, plain_box, watching, wrong
from stb_emulator.observe import PlayError, Reason, Stage
from stb_emulator.players.rtsp.punching import dialect_of

STAY_TIMES = 1.5
"""Time-outs that a session must outlive to show that something keeps it."""
MEDIA_WAIT_S = 5.0
END_WAIT_S = 15.0
"""Both are waited for in full only where they do not come."""
NARROW_FRAME_BYTES = 1315
"""One byte less than seven transport packets."""


def _rtsp(lab: Lab, **fields: Any) -> Box:
    return but(plain_box(lab), "rtsp", **fields)


def talk_of(lab: Lab, box: Box, url: str = "", **how: Any) -> Talk:
    """Begin a session of the box."""
    assert box.rtsp is not None
    return Talk(url or lab.url, box.rtsp, lab.seat.line(box), lab.seat.clock, **how)


# D9, D10, D13


async def _first_offer(lab: Lab, box: Box) -> dict[str, Any]:
    """Play; the server must take the first that the box offers."""
    row = await lab.quick().watch(box, lab.item_id)
    if not row.ok:
        raise PlayError(row.stage, row.reason, row.reason)
    assert box.rtsp is not None
    first = box.rtsp.transports[0]
    if row.transport != first:
        raise wrong(Stage.SETUP, f"应选 {first}，却选了 {row.transport}", f"{row.transport} was taken, not {first}")
    return {"duration_s": row.announced_s}


def _orders(lab: Lab) -> Sequence[Variant]:
    orders = [Variant(f"order {n}", _rtsp(lab, transport_order=n), _first_offer) for n in (3, 0, 1, 2)]
    return orders + [
        Variant(each, _rtsp(lab, only_transport=each), _first_offer) for each in (*TRANSPORT_ORDERS[0], "RTP/AVP/TCP")
    ]


def _bare_headers(lab: Lab) -> Sequence[Variant]:
    return [
        Variant("none", _rtsp(lab), watching),
        Variant("x-Burst, x-Retrans", _rtsp(lab, bare_headers=("x-Burst", "x-Retrans")), watching),
    ]


def _frames(lab: Lab) -> Sequence[Variant]:
    largest = NARROW_FRAME_BYTES if "D13" in lab.strict else 1499
    return [
        Variant("UDP", _rtsp(lab), watching),
        *(
            Variant(each, _rtsp(lab, only_transport=each, frame_max_bytes=largest, frame_multiple=4), watching)
            for each in ("MP2T/RTP/TCP", "MP2T/TCP")
        ),
    ]


# D14


async def _to_the_end(lab: Lab, box: Box) -> dict[str, Any]:
    """Play the last second, hear of the end, say nothing to it, and play on from an earlier place."""
    async with talk_of(lab, box) as talk:
        end = float(int(lab.duration_s) - 1)
        await talk.press(lambda t, now: t.seek(end, now))
        if not await talk.until(lambda: bool(talk.notices), END_WAIT_S):
            raise wrong(Stage.PLAY, "没有通知播放结束", "the end was not announced")
        if odd := [each for each in talk.deviations if each.startswith("server-method")]:
            raise wrong(Stage.PLAY, f"盒子不认识 {odd[0]}", f"a method that no box knows in the stream: {odd[0]}")
        again = await talk.press(lambda t, now: t.seek(5.0, now))
        if not await talk.until(lambda: bool(talk.media), MEDIA_WAIT_S):
            raise wrong(Stage.PLAY, "之后不再播放", "nothing is played after that")
        return {"notice": talk.notices[0], "again": again.status}


def _announced(lab: Lab) -> Sequence[Variant]:
    return [
        Variant(each, _rtsp(lab, only_transport=each), _to_the_end)
        for each in ("MP2T/RTP/UDP", "MP2T/UDP", "MP2T/RTP/TCP", "MP2T/TCP")
    ]


# D15


async def _stays(lab: Lab, box: Box) -> dict[str, Any]:
    """Play beyond the session's time-out with no other sign of life than this box's own."""
    stay_s = STAY_TIMES * lab.timeout_s
    if lab.timeout_s > lab.patience_s or stay_s + 1 > lab.duration_s:
        raise NotShown(
            f"会话 {lab.timeout_s:g} 秒才超时，等不到（实验边缘设 session_timeout_s = 4）",
            f"sessions time out after {lab.timeout_s:g} s only; set session_timeout_s = 4 on a lab edge, "
            f"and a lesson longer than {stay_s + 1:g} s",
        )
    async with talk_of(lab, box, report_s=lab.timeout_s / 4) as talk:
        await talk.until(lambda: False, stay_s)
        talk.media.clear()
        if not await talk.until(lambda: bool(talk.media), MEDIA_WAIT_S):
            raise wrong(Stage.PLAY, "会话被当作已离开", "the session was ended although the box was there")
        return {"alive": True}


def _lives(lab: Lab) -> Sequence[Variant]:
    every_s = alive_every_s(lab)
    common = {"keep_alive_s": every_s, "punch_every_s": every_s}
    kinds: dict[str, dict[str, Any]] = {
        "GET_PARAMETER": {},
        "SET_PARAMETER": {},
        "OPTIONS": {},
        "rtcp": {},
        "punch": {"punch": "zte"},
    }
    return [Variant(kind, _rtsp(lab, keep_alive=kind, **common, **more), _stays) for kind, more in kinds.items()]


# D16


async def _behind_translator(lab: Lab, box: Box) -> dict[str, Any]:
    """Play where the server sees other ports than the box has, if the box does something about it."""
    assert box.rtsp is not None
    async with talk_of(lab, box, translated=box.rtsp.punch != "none") as talk:
        if "no-punch-answer" in talk.deviations:
            raise wrong(Stage.SETUP, "打洞没有应答", "the punch was not answered")
        if not await talk.until(lambda: bool(talk.media), MEDIA_WAIT_S):
            raise wrong(Stage.PLAY, "数据没有到盒子", "no data came to the box behind the translator")
        return {"media": True}


def _punches(lab: Lab) -> Sequence[Variant]:
    return [
        Variant("none", _rtsp(lab), _behind_translator),
        Variant("ZTE, 84 bytes", _rtsp(lab, punch="zte", nat="x-NAT"), _behind_translator),
        Variant("Huawei, 8 bytes", _rtsp(lab, punch="huawei", nat="x-NAT_Address"), _behind_translator),
    ]


# D17


async def _own_dialect(lab: Lab, box: Box) -> dict[str, Any]:
    """Play; a banner may be of the box's own maker or of none."""
    assert box.rtsp is not None
    own = {"none": None, "zte": "zte", "huawei": "huawei"}[box.rtsp.punch]
    async with talk_of(lab, box) as talk:
        banner = next(iter(talk.answers.values())).headers.get("Server") or ""
        if (rules := dialect_of(banner, "")) not in (None, own):
            raise wrong(
                Stage.DESCRIBE, f"标识 {banner} 让盒子改用 {rules} 方言", f"{banner} makes the box speak {rules}"
            )
        if not await talk.until(lambda: bool(talk.media), MEDIA_WAIT_S):
            raise wrong(Stage.PLAY, "没有数据", "no data came")
        return {"media": True}


def _makers(lab: Lab) -> Sequence[Variant]:
    makers: dict[str, dict[str, Any]] = {
        "plain": {"user_agent": "CTC/2.0"},
        "Huawei": {"user_agent": "HW_STB; CTC/2.0", "punch": "huawei", "nat": "x-NAT_Address"},
        "ZTE": {"user_agent": "ZTE Ltd.co RTSP protocal verion 1.0 guid-1", "punch": "zte", "nat": "x-NAT"},
    }
    return [
        Variant(f"{name}{', sniffs' if sniff else ''}", _rtsp(lab, sniff=sniff, **more), _own_dialect)
        for name, more in makers.items()
        for sniff in (False, True)
    ]


# D18


async def _sent_on(lab: Lab, box: Box, address: str) -> dict[str, Any]:
    """Ask an edge that has no place: after two hops at most the box plays, or is told in a number that nobody has."""
    try:
        async with talk_of(lab, box, at(lab.url, address)) as talk:
            await talk.until(lambda: bool(talk.media), MEDIA_WAIT_S)
            hops, outcome = talk.hops, "plays" if talk.media else "silence"
    except PlayError as error:
        if "453" not in error.reason.en:
            raise
        hops, outcome = 1, "453"
    if hops > 2 or outcome == "silence":
        raise wrong(Stage.DESCRIBE, f"{hops} 次跳转后 {outcome}", f"{outcome} after {hops} hops")
    return {"outcome": outcome}


def _redirects(lab: Lab) -> Sequence[Variant]:
    if not lab.crowded:

        async def nothing(_: Lab, __: Box) -> dict[str, Any]:
            raise NotShown(
                "没有给出满员的边缘（--crowded）", "no edge without a free place was named (--crowded rtsp://…)"
            )

        return [Variant("302", _rtsp(lab), nothing)]

    def going(address: str) -> Any:
        return lambda lab, box: _sent_on(lab, box, address)

    return [
        Variant(f"{address}, at most {most}", _rtsp(lab, max_redirects=most), going(address), group=address)
        for address in lab.crowded
        for most in (3, 5)
    ]


ROWS = (
    Row("D9", Reason("传输方式的次序", "order of transports"), _orders),
    Row("D10", Reason("没有冒号的头", "header lines without a colon"), _bare_headers),
    Row("D13", Reason("交织帧的长度", "length of interleaved frames"), _frames),
    Row("D14", Reason("ANNOUNCE 不应答", "ANNOUNCE is never answered"), _announced),
    Row("D15", Reason("保活的方式", "signs of life"), _lives),
    Row("D16", Reason("打洞包", "punches"), _punches),
    Row("D17", Reason("按标识换方言", "a banner calls up a dialect"), _makers),
    Row("D18", Reason("302 跳转", "302"), _redirects),
)
