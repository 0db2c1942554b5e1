"""What a box reads from the guide once it is logged in: channel list, template JSON, heartbeat. Pure."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import msgspec

from stb_emulator.boxes import Box, Charset, HuaweiFace
from stb_emulator.boxes.charset import page_text as text_of
from stb_emulator.observe import Family, Offer, PlayError, Stage
from stb_emulator.observe.line import Reply
from stb_emulator.portals.huawei.login import Session
from wire.ctc import Channel, CtcError, is_session_lost, parse_channel_page, temp_key


class _Named(msgspec.Struct):
    """An element of a template list; ids come as text or number."""

    id: str | int
    name: str = ""


class Shown(msgspec.Struct):
    """A programme of ``channelProgramList``, in the platform's local time."""

    day: str
    time: str
    endtime: str
    name: str = ""


def page_text(reply: Reply, charset: Charset, deviations: list[str]) -> str:
    """Decode a guide page.

    Raises:
        PlayError: an HTTP error, an unreadable charset, or a page that says the session is lost.
    """
    if reply.status != 200:
        raise _failed(f"取列表失败：HTTP {reply.status}", f"HTTP {reply.status} for {reply.url.split('?')[0]}")
    try:
        text, found = text_of(charset, reply.body, reply.headers.get("Content-Type", ""))
    except CtcError as error:
        raise _failed("页面编码有误", f"wrong charset: {error}") from error
    deviations += found
    if is_session_lost(text):
        raise _failed("登录已失效", "the portal says that the session is lost")
    return text


def channel_form(box: Box, session: Session) -> dict[str, str]:
    """Fill in H5's form (stb_protocols §2.1, §2.3)."""
    assert box.device is not None, "boxes are checked when they are loaded"
    return {
        "conntype": "dhcp",
        "UserToken": session.user_token,
        "tempKey": session.temp_key or temp_key(session.jsessionid),
        "stbid": box.device.stb_id,
        "SupportHD": "1",
        "UserID": box.account.user,
        "Lang": "1",
    }


def channels(page: str, face: HuaweiFace, deviations: list[str], *, groups: bool = False) -> tuple[Offer, ...]:
    """Read the channel list with this box's parser; with ``groups`` also the channels that run by themselves.

    Raises:
        PlayError: unreadable, or an untrue count.
    """
    try:
        listed = parse_channel_page(page, face.parser)
    except CtcError as error:
        raise _failed("频道列表无法解析", f"unreadable channel list: {error}") from error
    deviations += [d.code for d in listed.deviations]
    deviations += [d.code for c in listed.channels for d in c.deviations]
    lessons = [
        offer_of(c.channel_id, c.name, "", next(iter(c.urls), "")) for c in listed.channels if not _is_broadcast(c)
    ]
    live = [_group_of(c) for c in listed.channels if groups and any(u.startswith("igmp:") for u in c.urls)]
    return (*lessons, *live)


def _group_of(channel: Channel) -> Offer:
    """Make the offer of a channel by multicast; what helps it stands behind the address (stb_protocols §4.11)."""
    url = next(each for each in channel.urls if each.startswith("igmp:"))
    server, port, parity = (channel.other(each) for each in ("ChannelFCCIP", "ChannelFCCPort", "ChannelFECPort"))
    helpers = [f"fcc={server}:{port}"] if server and port not in ("", "0") else []
    helpers += [f"fec={parity}"] if parity not in ("", "0") else []
    return Offer(
        item_id=channel.channel_id,
        title=channel.name,
        column="",
        family="video",
        url=f"{url}?{'&'.join(helpers)}" if helpers else url,
        live=True,
    )


def _is_broadcast(channel: Channel) -> bool:
    """Tell a channel that runs by itself from a lesson: it has a multicast group or can be shifted in time."""
    return any(u.startswith("igmp:") for u in channel.urls) or channel.other("TimeShift") == "1"


def offer_of(item_id: str, title: str, column: str, url: str, lookup: str = "") -> Offer:
    """Make an offer; an ``http`` address opens a page."""
    family: Family = "picture_text" if url.startswith(("http://", "https://")) else "video"
    return Offer(item_id=item_id, title=title, column=column, family=family, url=url, lookup=lookup)


def columns(page: str) -> list[tuple[str, str]]:
    """Read ``columnList``: (id, name).

    Raises:
        PlayError: unreadable.
    """
    return _names(_result(page))


def episodes(page: str) -> list[tuple[str, str]]:
    """Read ``seriesInfoById``: (id, name).

    Raises:
        PlayError: unreadable.
    """
    result = _result(page)
    if not isinstance(result, dict):
        raise _failed("栏目内容无法解析", "seriesInfoById: result is not an object")
    return _names(result.get("episodeList", []))


def media_url(page: str) -> str:
    """Read ``vodInfoById``'s address.

    Raises:
        PlayError: there is none.
    """
    result = _result(page)
    url = result.get("mediaUrl") if isinstance(result, dict) else None
    if not isinstance(url, str) or not url:
        raise _failed("没有播放地址", "vodInfoById has no mediaUrl")
    return url


def programmes(page: str) -> list[Shown]:
    """Read ``channelProgramList``.

    Raises:
        PlayError: unreadable.
    """
    try:
        return msgspec.convert(_result(page), list[Shown])
    except msgspec.ValidationError as error:
        raise _failed("节目单无法解析", f"unreadable programme list: {error}") from error


def begin_of(shown: Shown, zone: timezone) -> datetime:
    """When a programme begins.

    Raises:
        PlayError: day or time is none.
    """
    try:
        return datetime.fromisoformat(f"{shown.day}T{shown.time}").replace(tzinfo=zone)
    except ValueError as error:
        raise _failed("节目单的时间有误", f"bad time in the guide: {shown.day} {shown.time}"[:80]) from error


def broadcasts(page: str, face: HuaweiFace) -> list[Channel]:
    """Read the channels that run by themselves.

    Raises:
        PlayError: unreadable.
    """
    try:
        return [each for each in parse_channel_page(page, face.parser).channels if _is_broadcast(each)]
    except CtcError as error:
        raise _failed("频道列表无法解析", f"unreadable channel list: {error}") from error


def _names(value: Any) -> list[tuple[str, str]]:
    try:
        return [(str(e.id), e.name) for e in msgspec.convert(value, list[_Named])]
    except msgspec.ValidationError as error:
        raise _failed("列表无法解析", f"unreadable list: {error}") from error


def _result(page: str) -> Any:
    try:
        return msgspec.json.decode(page.encode(), type=dict[str, Any])["result"]
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError, RecursionError) as error:
        raise _failed("模板数据无法解析", f"unreadable template JSON: {error}"[:160]) from error


def _failed(zh: str, en: str) -> PlayError:
    return PlayError(Stage.BROWSE, zh, en)
