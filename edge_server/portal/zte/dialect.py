"""The portal's requests Z1 to Z7 and what is answered (stb_protocols §3.1, §3.3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from edge_server.portal import PortalReply, PortalRequest, PortalState
from edge_server.portal._ctc.channels import channel_list
from edge_server.portal._ctc.pages import echo, model, parameter, retry_after
from edge_server.portal.zte import guide, pages
from edge_server.sessions.logins import Attempt, Login, LoginRefused, Refusal
from wire import ctc, zte

_OLD_BOX = re.compile(r"B[67]00", re.IGNORECASE)
"""Boxes that show error 1302 unless Z2 or Z3 brings channels and services."""
_TEMPLATE = re.compile(r"/iptvepg/frame[0-9]{1,6}/(?:[\w-]{1,40}/){0,3}([\w-]{1,40}\.jsp)", re.ASCII)
_ERROR_CODE = {
    Refusal.UNKNOWN_USER: 2,
    Refusal.WRONG_PASSWORD: 2,
    Refusal.OTHER_BOX: 2,
    Refusal.TOKEN_STALE: 3,
    Refusal.THROTTLED: 4,
}
_AUTH, _OLD_AUTH = "/iptvepg/platform/auth.jsp", "/iptvepg/platform/GetUserToken.jsp"
_UT_AUTH, _CTC2_AUTH = "/iptv3a/ValidAuthenticatorAction.do", "/uploadAuthInfo"

_CTC2 = "/auth"

Answer = Callable[[PortalRequest, PortalState], PortalReply]
Page = Callable[[PortalRequest, PortalState, Login], PortalReply]


@dataclass(frozen=True, slots=True)
class ZteDialect:
    """ZTE-style portal; UTStarcom's and CTC 2.0 boxes come in by other doors to the same pages."""

    @property
    def name(self) -> str:
        """See Dialect."""
        return "zte"

    @property
    def prefixes(self) -> tuple[str, ...]:
        """See Dialect."""
        return ("/iptvepg/", "/iptv3a/", _CTC2, _CTC2_AUTH)

    def reply(self, request: PortalRequest, state: PortalState) -> PortalReply:
        """See Dialect."""
        if (refused := pages.PAPER.unusable(request, state)) is not None:
            return refused
        if (answer := _OPEN.get(request.path)) is not None:
            return answer(request, state)
        template = _TEMPLATE.fullmatch(request.path)
        page = _PAGES.get(request.path) or (_TEMPLATES.get(template.group(1)) if template else None)
        if page is None:
            return pages.PAPER.plain("没有这个页面 / no such page\n", status=404)
        login = state.logins.find(request.cookies.get("JSESSIONID", ""), state.monotonic_s)
        return pages.session_lost() if login is None else page(request, state, login)


def _token(action: str, *, old: bool) -> Answer:
    """Z1: hand out an EncryptToken; with ``Action=Logout`` the session ends."""

    def answer(request: PortalRequest, state: PortalState) -> PortalReply:
        user_id = parameter(request, "UserID")
        if parameter(request, "Action").lower() == "logout":
            if not state.logins.log_out(request.cookies.get("JSESSIONID", "")):
                state.logins.log_out_user(user_id, request.remote)
            words = "<p>已退出。 / Logged out.</p>\n"
            return pages.PAPER.page("已退出 / logged out", body=words, headers=pages.drop_session())
        challenge = state.logins.issue(user_id, request.remote, state.monotonic_s)
        account = state.logins.account(user_id)
        known = account.user_id if account else ""
        kind = (account.encryption_type if account else None) or "0001"
        return pages.token_page(challenge.encrypt_token, known, action, kind=kind, old=old)

    return answer


def _log_in(request: PortalRequest, state: PortalState) -> PortalReply:
    """Z2: check the Authenticator; a refusal is a page without UserToken that leads to the error page."""
    attempt = Attempt(
        user_id=parameter(request, "UserID"),
        authenticator=parameter(request, "Authenticator"),
        stbid=parameter(request, "STBID"),
        face=ctc.Face.CTC,
        remote=request.remote,
        charset=pages.PAPER.charset,
        model=model(request),
    )
    try:
        login = state.logins.log_in(attempt, state.monotonic_s)
    except LoginRefused as refused:
        return pages.fatal(_ERROR_CODE[refused.reason], retry_after(refused))
    left_s = state.logins.limits.user_token_lifetime_s - (state.monotonic_s - login.since_s)
    expires = state.now + timedelta(seconds=left_s)
    script = pages.service_lines(request.host, login, expires, state.utc_offset, state.time_server)
    if request.path != _AUTH or _is_old(request):
        script += ctc.write_channel_lines(ctc.Face.CTC, channel_list(state, request.host, login.zone_minutes))
    script += zte.write_location(_index(request, login, balanced=0))
    return pages.logged_in(login, script)


def _index_page(request: PortalRequest, state: PortalState) -> PortalReply:
    """Z3: known by UserToken, for the box comes from another server; first the load balancer's answer, then the form.

    Channels stand on the first page, since a B600 looks for them here (error 1302); the form stands on both, since some
    boxes do not follow the second address.
    """
    login = state.logins.renew(parameter(request, "UserToken"), request.remote, state.monotonic_s)
    if login is None:
        return pages.session_lost()
    easip, network_id = _network(request)
    body = pages.function_form(login, easip, network_id)
    script = "document.authform.submit();\n"
    if parameter(request, "loadbalanced") != "1":
        script = ctc.write_channel_lines(
            ctc.Face.CTC, channel_list(state, request.host, login.zone_minutes)
        ) + zte.write_location(_index(request, login, balanced=1), of="top.document")
    session = pages.set_session(login.session_id)
    return pages.PAPER.page("门户 / portal", body=body, script=script, headers=session)


def _function_auth(request: PortalRequest, state: PortalState) -> PortalReply:
    """Z4: the UserToken comes back in a header."""
    login = state.logins.renew(parameter(request, "UserToken"), request.remote, state.monotonic_s)
    if login is None:
        return pages.session_lost()
    headers = {zte.USER_TOKEN_HEADER: login.user_token, **pages.set_session(login.session_id)}
    onward = zte.write_location("/iptvepg/function/frame.jsp")
    return pages.PAPER.page("门户 / portal", script=onward, headers=headers)


def _rebuild(request: PortalRequest, state: PortalState) -> PortalReply:
    """Give a new session for a UserToken that is still good (§3.3)."""
    login = state.logins.renew(parameter(request, "UserToken"), request.remote, state.monotonic_s)
    if login is None:
        return pages.fatal(1)
    words = "<p>会话已恢复。 / The session goes on.</p>\n"
    return pages.PAPER.page("会话已恢复 / session rebuilt", body=words, headers=pages.set_session(login.session_id))


def _error_page(request: PortalRequest, _: PortalState) -> PortalReply:
    code = parameter(request, "errorcode")
    number = int(code) if re.fullmatch("[0-9]{1,9}", code, re.ASCII) else 1
    words = pages.ERRORS.get(number, pages.ERRORS[1])
    return pages.PAPER.page("错误 / error", body=f"<p>{words}</p>\n<p>错误代码 / error code {number}</p>\n")


def _script(_: PortalRequest, __: PortalState) -> PortalReply:
    return pages.PAPER.text(pages.SET_CONFIG_SCRIPT, "text/javascript")


def _builder(request: PortalRequest, state: PortalState, login: Login) -> PortalReply:
    return pages.builder_page(guide.listed(state, request.host, login.zone_minutes))


def _programmes(request: PortalRequest, state: PortalState, _: Login) -> PortalReply:
    channel_id = parameter(request, "channelID") or parameter(request, "channelcode")
    day = parameter(request, "curdate") or parameter(request, "currdate")
    page, size = _count(request, "pageIndex", 1), _count(request, "pageSize", guide.PAGE_MAX_COUNT)
    return pages.PAPER.json(guide.programme_list(state, channel_id, day, page, size))


def _columns(_: PortalRequest, state: PortalState, __: Login) -> PortalReply:
    return pages.PAPER.json(guide.column_list(state))


def _home(request: PortalRequest, state: PortalState, _: Login) -> PortalReply:
    sections: dict[str, list[tuple[str, str]]] = {code: [] for code in guide.columns(state)}
    for channel, info in guide.listed(state, request.host):
        sections[info.column_id].append((channel.name, channel.urls[-1]))
    titles = guide.columns(state)
    return pages.home_page([(titles[code], links) for code, links in sections.items() if links])


def _is_old(request: PortalRequest) -> bool:
    said = (request.headers.get("User-Agent", ""), parameter(request, "stbtype"), parameter(request, "STBType"))
    return any(_OLD_BOX.search(each[:512]) for each in said)


def _network(request: PortalRequest) -> tuple[str, str]:
    host = request.host.rpartition(":")[0] if re.search(r":[0-9]+\Z", request.host) else request.host
    easip = echo(parameter(request, "easip")) or host.strip("[]")
    return easip, echo(parameter(request, "networkid")) or "1"


def _index(request: PortalRequest, login: Login, *, balanced: int) -> str:
    easip, network_id = _network(request)
    return pages.index_url(request.host, login, balanced=balanced, easip=easip, network_id=network_id)


def _count(request: PortalRequest, name: str, usual: int) -> int:
    text = parameter(request, name)
    return int(text) if re.fullmatch("[0-9]{1,6}", text, re.ASCII) else usual


_OPEN: Mapping[str, Answer] = {
    "/iptvepg/platform/index.jsp": _token(_OLD_AUTH, old=True),
    "/iptvepg/platform/getencrypttoken.jsp": _token(_AUTH, old=False),
    "/iptv3a/UserAuthenticationAction.do": _token(_UT_AUTH, old=True),
    _CTC2: _token(_CTC2_AUTH, old=True),
    _AUTH: _log_in,
    _OLD_AUTH: _log_in,
    _UT_AUTH: _log_in,
    _CTC2_AUTH: _log_in,
    pages.INDEX: _index_page,
    "/iptvepg/function/funcportalauth.jsp": _function_auth,
    "/iptvepg/js/setConfig.js": _script,
    pages.REBUILD: _rebuild,
    f"/iptvepg/platform/{zte.ERROR_PAGE}": _error_page,
    f"/iptvepg/function/{zte.ERROR_PAGE}": _error_page,
}
"""What a box may ask before it has a session, or with its UserToken."""

_PAGES: Mapping[str, Page] = {
    "/iptvepg/function/frame.jsp": lambda _, __, ___: pages.frame_page(),
    "/iptvepg/function/frameset_judger.jsp": lambda _, __, ___: pages.judger_page(),
    "/iptvepg/function/frameset_builder.jsp": _builder,
}

_TEMPLATES: Mapping[str, Page] = {
    "portal.jsp": _home,
    "channel_start.jsp": _home,
    "getchannelprogram.jsp": _programmes,
    "prevueList.jsp": _programmes,
    "sdk_getcolumnlist.jsp": _columns,
}
"""By the page's name: the number of the frame and the folders below differ from site to site."""
