"""Addresses, cookies and the page of a lost session, as the Huawei-style portal writes them."""

from __future__ import annotations

from urllib.parse import quote

from edge_server.portal import PortalReply
from edge_server.portal._ctc.pages import Paper
from wire import ctc


def login_url(host: str, user_id: str, action: str = "Login", tree: str = "EPG") -> str:
    """Return the absolute URL of H1 (tree ``EDS``) or H2 (tree ``EPG``)."""
    return f"http://{host}/{tree}/jsp/AuthenticationURL?UserID={quote(user_id, safe='@')}&Action={action}"


def set_session(session_id: str) -> dict[str, str]:
    """Return the header that gives the box its JSESSIONID."""
    return {"Set-Cookie": f"JSESSIONID={session_id}; Path=/EPG"}


def drop_session() -> dict[str, str]:
    """Return the header that takes the JSESSIONID away."""
    return {"Set-Cookie": "JSESSIONID=; Path=/EPG; Max-Age=0"}


def session_lost(paper: Paper, face: ctc.Face, host: str) -> PortalReply:
    """Send the box back to its login. Clients look for the words ``resignon`` or ``SessionTimeOutJump``."""
    script = (
        f"function SessionTimeOutJump() {{ top.location.href = '{login_url(host, '', tree='EDS')}&resignon=1'; }}\n"
        f"{ctc.write_set_config(face, 'Resignon', '1')}SessionTimeOutJump();\n"
    )
    return paper.page("登录已失效 / session lost", script=script, body="<p>请重新登录。 / Please log in again.</p>\n")
