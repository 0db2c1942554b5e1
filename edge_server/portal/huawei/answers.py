"""What every reply of this portal is made of: the reading of parameters, charset, HTML shell, the fixed pages."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from edge_server.portal import PortalReply, PortalRequest
from wire import ctc

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_EMPTY = ("", "undefined", "null")
# GB 18030 is a superset of GBK: what GBK knows has the same bytes, and nothing else need be lost.
_CODECS = {"utf-8": "utf-8", "gbk": "gb18030"}


def parameter(request: PortalRequest, name: str) -> str:
    """Return a form or query field; the literal words ``undefined`` and ``null`` of old scripts are empty."""
    value = request.form.get(name, request.query.get(name, ""))
    return "" if value in _EMPTY else value


def is_usable_host(host: str) -> bool:
    """Tell whether the Host header may be written into URLs of our pages."""
    return _HOST.fullmatch(host) is not None


def login_url(host: str, user_id: str, action: str = "Login", tree: str = "EPG") -> str:
    """Return the absolute URL of H1 (tree ``EDS``) or H2 (tree ``EPG``)."""
    return f"http://{host}/{tree}/jsp/AuthenticationURL?UserID={quote(user_id, safe='@')}&Action={action}"


@dataclass(frozen=True, slots=True)
class Paper:
    """The charset that one box reads; declared in the header and in the page (D6)."""

    charset: str = "utf-8"

    def page(
        self, title: str, *, script: str = "", body: str = "", headers: Mapping[str, str] | None = None
    ) -> PortalReply:
        """Answer 200 with an HTML page. ``title`` is escaped here; script and body come ready."""
        name = self.charset.upper()
        text = (
            "<!DOCTYPE html>\n<html>\n<head>\n"
            f'<meta http-equiv="Content-Type" content="text/html; charset={name}">\n'
            f"<title>{html.escape(title)}</title>\n</head>\n<body>\n{body}"
            + (f'<script type="text/javascript">\n{script}</script>\n' if script else "")
            + "</body>\n</html>\n"
        )
        return self._reply(text, f"text/html; charset={name}", headers)

    def json(self, value: object, *, status: int = 200) -> PortalReply:
        """Answer with JSON."""
        text = msgspec.json.encode(value).decode()
        return self._reply(text, f"application/json; charset={self.charset.upper()}", None, status)

    def plain(self, text: str, *, status: int = 200) -> PortalReply:
        """Answer with plain text."""
        return self._reply(text, f"text/plain; charset={self.charset.upper()}", None, status)

    def _reply(self, text: str, media_type: str, headers: Mapping[str, str] | None, status: int = 200) -> PortalReply:
        fixed = {"Cache-Control": "no-store"}
        return PortalReply(
            status, text.encode(_CODECS[self.charset]), media_type, tuple({**fixed, **(headers or {})}.items())
        )


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
