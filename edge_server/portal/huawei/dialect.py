"""The portal's requests H1 to H8 and what is answered (stb_protocols §2.1). One handler, two faces (D5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_server.portal import PortalReply, PortalRequest, PortalState
from edge_server.portal._ctc.channels import channel_list
from edge_server.portal._ctc.pages import REFUSED, Paper, echo, model, parameter, retry_after
from edge_server.portal.huawei import cloud, guide, lessons
from edge_server.portal.huawei.answers import drop_session, login_url, session_lost, set_session
from edge_server.sessions.logins import Attempt, Login, LoginRefused
from wire import ctc

HEARTBEAT_INTERVAL_S = 300
"""At most 300, since one kind of client gives up beyond 600 (D19)."""

_FACE_PAGE = re.compile(r"/EPG/jsp/(authLogin|ValidAuthentication|getchannellist)HW(CTC|CU|CM)\.jsp")
_DATA_PAGE = re.compile(r"/EPG/jsp/gdhdpublic/Ver\.[23]/common/data\.jsp")


@dataclass(frozen=True, slots=True)
class HuaweiDialect:
    """Huawei-style portal."""

    strict_temp_key: bool = False
    """Refuse a channel list when tempKey is missing or wrong; many real servers do not look at it."""
    default_encryption_type: str = "0001"
    """Announced to boxes whose account names none."""

    @property
    def name(self) -> str:
        """See Dialect."""
        return "huawei"

    @property
    def prefixes(self) -> tuple[str, ...]:
        """See Dialect."""
        return ("/EDS/", "/EPG/", "/VSP/", "/esaas/", "/UICloudAuthClient/")

    def reply(self, request: PortalRequest, state: PortalState) -> PortalReply:
        """See Dialect."""
        paper = self._paper(request, state)
        if (refused := paper.unusable(request, state)) is not None:
            return refused
        if match := _FACE_PAGE.fullmatch(request.path):
            pages: Mapping[str, Callable[[PortalRequest, PortalState, Paper, ctc.Face], PortalReply]] = {
                "authLogin": self._tokens,
                "ValidAuthentication": self._validate,
                "getchannellist": self._channel_list,
            }
            if "D5" in state.intolerant and match.group(2) != "CTC":
                return paper.plain("没有这个页面 / no such page\n", status=404)
            return pages[match.group(1)](request, state, paper, ctc.Face(match.group(2)))
        if request.path == "/EDS/jsp/AuthenticationURL":
            return self._redirect(request, paper)
        if request.path == "/EPG/jsp/AuthenticationURL":
            return self._login_page(request, state, paper)
        if request.path == cloud.AUTHENTICATION:
            if parameter(request, "Action").lower() == "logout":
                return self._login_page(request, state, paper)
            return cloud.token_page(request, state, paper)
        if request.path == cloud.AUTH_URL:
            return cloud.send_on(request, state, paper)
        if ctc.is_heartbeat_path(request.path) and not ("D19" in state.intolerant and request.path.endswith(".jsp")):
            return self._heartbeat(request, state, paper)
        if request.path == "/EPG/jsp/liveplay_30/en/getTvodData.jsp":
            return self._look_back(request, state, paper)
        if (guided := _without_session(request, state)) is not None:
            return Paper().json(guided)
        if _DATA_PAGE.fullmatch(request.path):
            return self._data(request, state, paper)
        return paper.plain("没有这个页面 / no such page\n", status=404)

    def _paper(self, request: PortalRequest, state: PortalState) -> Paper:
        if "D6" in state.intolerant:
            return Paper()
        account = state.logins.account(parameter(request, "UserID"))
        if account is not None:
            return Paper(account.charset)
        login = self._login(request, state)
        return Paper(login.charset) if login else Paper()

    def _login(self, request: PortalRequest, state: PortalState) -> Login | None:
        return state.logins.find(request.cookies.get("JSESSIONID", ""), state.monotonic_s)

    def _redirect(self, request: PortalRequest, paper: Paper) -> PortalReply:
        """H1: from the dispatcher (EDS) to the portal itself; some boxes read its address from a cookie."""
        action = "Logout" if parameter(request, "Action").lower() == "logout" else "Login"
        fields = [("Location", login_url(request.host, parameter(request, "UserID"), action))]
        if action == "Login":
            fields.append(("Set-Cookie", f"EPGIP_PORT={request.host}; Path=/"))
        return PortalReply(302, b"", paper.plain("").media_type, (*fields, ("Cache-Control", "no-store")))

    def _login_page(self, request: PortalRequest, state: PortalState, paper: Paper) -> PortalReply:
        """H2: a form that submits itself to H3. H8: log out."""
        user_id = parameter(request, "UserID")
        if parameter(request, "Action").lower() == "logout":
            session_id = request.cookies.get("JSESSIONID", "")
            if not state.logins.log_out(session_id):
                state.logins.log_out_user(user_id, request.remote)
            return paper.page("已退出 / logged out", body="<p>已退出。 / Logged out.</p>\n", headers=drop_session())
        account = state.logins.account(user_id)
        face = account.face if account else "CTC"
        known = {"UserID": account.user_id if account else "", "VIP": ""}
        body = (
            f'<form name="authform" method="post" action="/EPG/jsp/authLoginHW{face}.jsp">\n'
            f"{ctc.write_hidden_inputs(known)}</form>\n"
        )
        return paper.page("登录 / log in", body=body, script="document.authform.submit();\n")

    def _tokens(self, request: PortalRequest, state: PortalState, paper: Paper, face: ctc.Face) -> PortalReply:
        """H3: EncryptToken, the kind of key to use, and the first JSESSIONID."""
        user_id = parameter(request, "UserID")
        challenge = state.logins.issue(user_id, request.remote, state.monotonic_s)
        account = state.logins.account(user_id)
        kind = (account.encryption_type if account else None) or self.default_encryption_type
        fields = ("UserID", "Authenticator", "STBID", "STBType", "STBVersion", "mac", "userToken")
        blank = {**dict.fromkeys(fields, ""), "UserID": account.user_id if account else ""}
        body = (
            f'<form name="authform" method="post" action="/EPG/jsp/ValidAuthenticationHW{face.value}.jsp">\n'
            f"{ctc.write_hidden_inputs(blank)}</form>\n"
        )
        get, info = f"Authentication.{face.value}GetConfig", f"Authentication.{face.value}GetAuthInfo"
        script = (
            f"{ctc.write_set_config(face, 'EncryptionType', kind)}"
            f"{ctc.write_token_lines(challenge.encrypt_token, challenge.encrypt_token)}"
            + "".join(f"document.authform.{key}.value = {get}('{key}');\n" for key in fields[2:6])
            + f"document.authform.Authenticator.value = {info}(EncryptToken);\ndocument.authform.submit();\n"
        )
        return paper.page("登录 / log in", body=body, script=script, headers=set_session(challenge.session_id))

    def _validate(self, request: PortalRequest, state: PortalState, paper: Paper, face: ctc.Face) -> PortalReply:
        """H4: check the Authenticator. A refusal is a page without UserToken, HTTP status 200 as boxes expect."""
        attempt = Attempt(
            user_id=parameter(request, "UserID"),
            authenticator=parameter(request, "Authenticator"),
            stbid=parameter(request, "STBID"),
            face=face,
            remote=request.remote,
            model=model(request),
        )
        try:
            login = state.logins.log_in(attempt, state.monotonic_s)
        except LoginRefused as refused:
            words = f"<p>{REFUSED[refused.reason]}</p>\n"
            return paper.page("登录失败 / login refused", body=words, headers=retry_after(refused))
        fields = {
            "UserToken": login.user_token,
            "tempKey": ctc.temp_key(login.session_id),
            "stbid": login.stbid,
        }
        extra = {
            "UserID": login.user_id,
            "conntype": echo(parameter(request, "conntype")),
            "SupportHD": echo(parameter(request, "SupportHD")) or "1",
            "Lang": echo(parameter(request, "Lang")),
        }
        form = (
            f'<form name="authform" method="post" action="/EPG/jsp/getchannellistHW{face.value}.jsp">\n'
            f"{ctc.write_hidden_inputs({**fields, **extra})}</form>\n"
        )
        script = "document.authform.submit();\n"
        if face is ctc.Face.CU:
            told = {
                "UserToken": login.user_token,
                "stbid": login.stbid,
                "identityEncode": "",
                "UserID": login.user_id,
                "Lang": extra["Lang"],
                "conntype": extra["conntype"],
                "SupportHD": extra["SupportHD"],
            }
            script = "".join(ctc.write_set_config(face, key, value) for key, value in told.items()) + script
        if state.time_server:
            script = ctc.write_set_config(face, "NTPDomain", state.time_server) + script
        return paper.page("登录成功 / logged in", body=form, script=script, headers=set_session(login.session_id))

    def _channel_list(self, request: PortalRequest, state: PortalState, paper: Paper, face: ctc.Face) -> PortalReply:
        """H5: linear channels, then every lesson as one channel."""
        login = self._login(request, state)
        if login is None or not self._temp_key_fits(request, login):
            return session_lost(paper, face, request.host)
        script = ctc.write_channel_lines(face, channel_list(state, request.host, login.zone_minutes, fcc="2"))
        if "D7" in state.intolerant:
            script = re.sub(r'(ChannelID="[^"]*"),(ChannelName="[^"]*")', r"\2,\1", script)
        return paper.page("频道 / channels", script=script)

    def _temp_key_fits(self, request: PortalRequest, login: Login) -> bool:
        if not self.strict_temp_key:
            return True
        right = {ctc.temp_key(login.session_id), ctc.temp_key(login.first_session_id)}
        return parameter(request, "tempKey").upper() in right

    def _heartbeat(self, request: PortalRequest, state: PortalState, paper: Paper) -> PortalReply:
        """H7. Box agents that send no cookie are known by STBID and address."""
        login = self._login(request, state)
        if login is None and "JSESSIONID" not in request.cookies and (stbid := parameter(request, "STBID")):
            login = state.logins.find_box(stbid, request.remote, state.monotonic_s)
        beat = ctc.Heartbeat(login is not None, HEARTBEAT_INTERVAL_S, str(state.view.seq))
        return paper.plain(ctc.write_heartbeat(beat))

    def _look_back(self, request: PortalRequest, state: PortalState, paper: Paper) -> PortalReply:
        """H6 of the template liveplay_30."""
        if self._login(request, state) is None:
            return session_lost(paper, ctc.Face.CTC, request.host)
        script = guide.look_back(state, parameter(request, "channelId"))
        return paper.page("回看 / look back", script=script)

    def _data(self, request: PortalRequest, state: PortalState, paper: Paper) -> PortalReply:
        """H6: the JSON of the picture template."""
        login = self._login(request, state)
        if login is None:
            return session_lost(paper, ctc.Face.CTC, request.host)
        action, view = parameter(request, "Action"), state.view
        if action == "columnList":
            return paper.json({"result": lessons.columns(view)})
        if action == "seriesInfoById":  # the parameter is spelled so by the boxes
            found = lessons.episodes(view, parameter(request, "seriseId"))
            return paper.json({"result": found} if found else _nothing("专栏 / column"))
        if action == "vodInfoById":
            found = lessons.lesson(view, parameter(request, "vodId"), request.host, state.rtsp_authority)
            return paper.json({"result": found} if found else _nothing("课件 / lesson"))
        if action == "vodIdByCode":  # a lesson has one id, whoever asks
            item = view.item(parameter(request, "foreignSN"))
            return paper.json({"result": {"id": item.item_id}} if item else _nothing("课件 / lesson"))
        if action == "channelProgramList":
            programmes = guide.channel_programmes(state, parameter(request, "channelId"), parameter(request, "date"))
            return paper.json({"result": programmes})
        return paper.json({"result": {}, "message": "不支持的 Action / unknown Action"}, status=400)


def _without_session(request: PortalRequest, state: PortalState) -> dict[str, object] | None:
    """Answer the guides that a box asks without its cookie, whose path is ``/EPG``; None when it is none of them."""
    if request.method != "POST":
        return None
    if request.path == "/VSP/V3/QueryPlaybillList":
        return guide.playbills(state, request.body)
    if request.path == "/esaas/v2/live/channel":
        return guide.esaas_channels(state, request.host)
    if request.path == "/esaas/v1/live/program":
        return guide.esaas_programmes(state, request.body)
    return None


def _nothing(what: str) -> dict[str, object]:
    return {"result": {}, "message": f"没有这个{what.split(' / ')[0]} / no such {what.split(' / ')[1]}"}
