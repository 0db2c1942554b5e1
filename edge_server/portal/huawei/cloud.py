"""The unified cloud's door before H1 (``/UICloudAuthClient``, stb_protocols §2.9); what follows is the usual login."""

from __future__ import annotations

from edge_server.portal import PortalReply, PortalRequest, PortalState
from edge_server.portal._ctc.pages import REFUSED, Paper, parameter, retry_after
from edge_server.portal.huawei.answers import login_url
from edge_server.sessions.logins import Attempt, LoginRefused
from wire import ctc

AUTHENTICATION, AUTH_URL = "/UICloudAuthClient/api/authentication", "/UICloudAuthClient/api/authurl"


def token_page(request: PortalRequest, state: PortalState, paper: Paper) -> PortalReply:
    """Hand out an EncryptToken, in lower case: a client reads no other."""
    user_id = parameter(request, "UserID")
    token = state.logins.issue(user_id, request.remote, state.monotonic_s).encrypt_token.lower()
    account = state.logins.account(user_id)
    blank = {"UserID": account.user_id if account else "", "authenticator": ""}
    body = f'<form name="authform" method="post" action="{AUTH_URL}">\n{ctc.write_hidden_inputs(blank)}</form>\n'
    script = (
        f"document.authform.authenticator.value = Authentication.CTCGetAuthInfo('{token}');\n"
        "document.authform.submit();\n"
    )
    return paper.page("登录 / log in", body=body, script=script)


def send_on(request: PortalRequest, state: PortalState, paper: Paper) -> PortalReply:
    """Check the Authenticator and send the box to H1, where it logs in once more; a refusal sends it nowhere."""
    attempt = Attempt(
        user_id=parameter(request, "UserID"),
        authenticator=parameter(request, "authenticator") or parameter(request, "Authenticator"),
        stbid=parameter(request, "STBID"),
        face=ctc.Face.CTC,
        remote=request.remote,
    )
    try:
        login = state.logins.log_in(attempt, state.monotonic_s)
    except LoginRefused as refused:
        words = f"<p>{REFUSED[refused.reason]}</p>\n"
        return paper.page("登录失败 / login refused", body=words, headers=retry_after(refused))
    url = login_url(request.host, login.user_id, tree="EDS")
    return paper.page("登录 / log in", script=f'document.location = "{url}";\n')
