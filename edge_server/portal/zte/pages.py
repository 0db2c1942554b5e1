"""The pages of the ZTE-style portal as text: what stands on each, not when it is given. All GBK (§3.4)."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from edge_server.portal import PortalReply
from edge_server.portal._ctc.pages import Paper
from edge_server.sessions.logins import Login
from wire import ctc, zte

PAPER = Paper("gbk")
FRAME = "/iptvepg/frame1"
"""Folder of the one template; boxes may name any number."""
HOME = f"{FRAME}/portal.jsp"
INDEX = "/iptvepg/function/index.jsp"
REBUILD = f"/iptvepg/function/{zte.REBUILD_PAGE}"

ERRORS: Mapping[int, str] = {
    1: "请重新登录。 / Please log in again.",
    2: "账号或密码不对，或此账号不属于这台机顶盒。 / Wrong account or password, or another box's account.",
    3: "登录超时，请重试。 / The login took too long; try again.",
    4: "尝试次数过多，请稍后再试。 / Too many attempts; wait a minute.",
}
"""Ours: no list of the vendor's codes is public."""

SET_CONFIG_SCRIPT = (
    "function jsSetConfig(key, value) { return Authentication.CTCSetConfig(key, value); }\n"
    "var channelInfos = [];\n"
    "function jsSetChannelInfo() { channelInfos.push(Array.prototype.slice.call(arguments)); }\n"
)
_WITH_SET_CONFIG = '<script type="text/javascript" src="/iptvepg/js/setConfig.js"></script>\n'


def form(name: str, action: str, fields: Mapping[str, str]) -> str:
    """Write a form of hidden inputs."""
    inputs = ctc.write_hidden_inputs(fields)
    return f'<form name="{name}" method="post" action="{html.escape(action)}">\n{inputs}</form>\n'


def set_session(session_id: str) -> dict[str, str]:
    """Return the header that gives the box its JSESSIONID."""
    return {"Set-Cookie": f"JSESSIONID={session_id}; Path=/iptvepg"}


def drop_session() -> dict[str, str]:
    """Return the header that takes the JSESSIONID away."""
    return {"Set-Cookie": "JSESSIONID=; Path=/iptvepg; Max-Age=0"}


def token_page(token: str, user_id: str, action: str, *, kind: str, old: bool) -> PortalReply:
    """Z1: the box makes its Authenticator of the token and sends the form to Z2."""
    body = form("authform", action, {"UserID": user_id, "Authenticator": "", "StbIP": ""})
    script = (
        ctc.write_set_config(ctc.Face.CTC, "EncryptionType", kind)
        + zte.write_auth_info(token, old=old)
        + "document.authform.submit();\n"
    )
    return PAPER.page("登录 / log in", body=body, script=script)


def index_url(host: str, login: Login, *, balanced: int, easip: str, network_id: str) -> str:
    """Return the address of Z3; a client reads ``easip`` and ``networkid`` from it, so neither is empty."""
    query = {
        "loadbalanced": str(balanced),
        "UserGroupNMB": "",
        "EPGGroupNMB": "",
        "UserToken": login.user_token,
        "UserID": login.user_id,
        "STBID": login.stbid,
        "easip": easip,
        "networkid": network_id,
    }
    return f"http://{host}{INDEX}?{urlencode(query, quote_via=quote, safe='@:')}"


def service_lines(host: str, login: Login, expires: datetime, utc_offset: timedelta, time_server: str = "") -> str:
    """Tell a box who it is, how long its token lives and where the portal is."""
    told = {
        "UserToken": login.user_token,
        "TokenExpiredTime": zte.write_time(expires, utc_offset),
        "EPGDomain": f"http://{host}{INDEX}",
        "EPGDomainBackup": "",
        "UserGroupNMB": "",
        "EPGGroupNMB": "",
    }
    if time_server:
        told["NTPDomain"] = time_server
    lines = "".join(ctc.write_set_config(ctc.Face.CTC, key, value) for key, value in told.items())
    return lines + zte.write_service_entry(f"http://{host}{HOME}", "PORTAL")


def logged_in(login: Login, script: str) -> PortalReply:
    """Z2: what the box is told, and where it goes."""
    return PAPER.page("登录成功 / logged in", script=script, headers=set_session(login.session_id))


def function_form(login: Login, easip: str, network_id: str) -> str:
    """Z3: the form that the box sends to Z4."""
    given = {"UserToken": login.user_token, "UserID": login.user_id, "STBID": login.stbid}
    blank = dict.fromkeys(("stbinfo", "prmid", "stbtype", "drmsupplier", "stbversion"), "")
    fields = {**given, **blank, "easip": easip, "networkid": network_id}
    return form("authform", "/iptvepg/function/funcportalauth.jsp", fields)


def frame_page() -> PortalReply:
    """Z5: the page that asks the judger."""
    body = form("judgerForm", "/iptvepg/function/frameset_judger.jsp", {"picturetype": "1,3,5"})
    return PAPER.page(
        "框架 / frame",
        body=_WITH_SET_CONFIG + body,
        script="document.judgerForm.submit();\n",
    )


def judger_page() -> PortalReply:
    """Z6: the form that the box sends to Z7."""
    fields = {
        "MAIN_WIN_SRC": HOME,
        "NEED_UPDATE_STB": "1",
        "BUILD_ACTION": "FRAMESET_BUILDER",
        "hdmistatus": "undefined",
    }
    body = form("mainWinSrcForm", "/iptvepg/function/frameset_builder.jsp", fields)
    return PAPER.page("框架 / frame", body=body, script="document.mainWinSrcForm.submit();\n")


def builder_page(listed: Iterable[tuple[ctc.Channel, zte.ChannelInfo]]) -> PortalReply:
    """Z7: every channel twice, as a record and by position."""
    lines = zte.write_builder_lines(listed) + zte.write_location(HOME, of="self")
    return PAPER.page("频道 / channels", body=_WITH_SET_CONFIG, script=lines)


def home_page(sections: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> PortalReply:
    """The first page that people see: columns with links, readable without script."""
    parts = ["<h1>远程教育 / distance learning</h1>\n"]
    for title, links in sections:
        rows = "".join(f'<li><a href="{html.escape(url)}">{html.escape(name)}</a></li>\n' for name, url in links)
        parts.append(f"<h2>{html.escape(title)}</h2>\n<ol>\n{rows}</ol>\n")
    return PAPER.page("远程教育 / distance learning", body="".join(parts))


def session_lost() -> PortalReply:
    """A session that ran out: the box puts its UserToken into an address, asks there, and then asks here again."""
    script = (
        "var usertoken = Authentication.CTCGetConfig('UserToken');\n"
        + zte.write_rebuild(f"{REBUILD}?UserToken=", "&from=expired")
        + "top.document.location = weburl;\n"
    )
    return PAPER.page("会话已过期 / session expired", script=script, body=f"<p>{ERRORS[1]}</p>\n")


def fatal(code: int, headers: Mapping[str, str] | None = None) -> PortalReply:
    """Send the box to the page of an error that another request does not mend."""
    body = f"<p>{ERRORS[code]}</p>\n"
    return PAPER.page("登录失败 / login refused", body=body, script=zte.write_error(code), headers=headers)
