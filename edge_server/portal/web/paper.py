"""How a page of people is answered: language, size, charset, and the fields that go with it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import unquote_to_bytes, urlencode

import jinja2

from edge_server.portal import PortalReply, PortalRequest, PortalState
from edge_server.portal.web.listing import NEW, OLD, Room
from edge_server.sessions.screens import Screen, charset_at, is_old, screen_of

SCRIPTS = ("/keys.js", "/player.js")
LANGUAGES = ("zh", "en")
LANGUAGE_KEPT_S = 365 * 24 * 3600
PAGE_FIELDS = (
    ("Cache-Control", "no-cache"),
    (
        "Content-Security-Policy",
        "default-src 'self' data: 'unsafe-inline'; script-src 'self'; object-src 'none'; base-uri 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Vary", "User-Agent, Accept-Charset, Cookie"),
)
"""The only scripts are files of ours: a title can never become one."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for a page, and how it shall look."""

    screen: Screen
    language: str
    request: PortalRequest

    @property
    def room(self) -> Room:
        """How much fits on a page."""
        return OLD if self.screen.old else NEW

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """Fields of every page for this asker; a language that was just chosen is kept."""
        if self.request.query.get("lang") != self.language:
            return PAGE_FIELDS
        kept = f"lang={self.language}; Path=/; Max-Age={LANGUAGE_KEPT_S}; SameSite=Lax"
        return (*PAGE_FIELDS, ("Set-Cookie", kept))

    def said(self, chinese: str, english: str) -> str:
        """Choose the words."""
        return english if self.language == "en" else chinese

    def link(self, path: str, **query: object) -> str:
        """Write an address of ours."""
        given = {name: value for name, value in query.items() if value not in (None, "")}
        return f"{path}?{urlencode(given)}" if given else path

    def here(self, **changed: object) -> str:
        """Write the address of this page with another query."""
        kept = {name: text(value) for name, value in self.request.query.items() if name in ("column", "page", "q")}
        return self.link(self.request.path, **{**kept, **changed})

    def number(self, name: str) -> int:
        """Return a number of the query; 1 when it is none."""
        value = self.request.query.get(name, "")
        return int(value) if value.isascii() and value.isdigit() and len(value) <= 6 else 1


def asker_of(request: PortalRequest, state: PortalState) -> Asker:
    """Find out for whom a page is. The charset of an old box is that of its account, if it is logged in."""
    charset = charset_at(state.logins, request.remote, state.monotonic_s) if is_old(request.headers) else None
    asked = request.query.get("lang", request.cookies.get("lang", ""))
    return Asker(screen_of(request.headers, charset), asked if asked in LANGUAGES else LANGUAGES[0], request)


def text(value: str) -> str:
    """Return a field of a query as text. A box that writes GBK into addresses leaves bytes that are no UTF-8."""
    if "%" not in value:
        return value
    raw = unquote_to_bytes(value)
    try:
        return raw.decode("gb18030")
    except UnicodeDecodeError:
        return value


class Papers:
    """Writes pages from the templates that come with the packages."""

    def __init__(self, *packages: str) -> None:
        """Load those of the portal, and of other packages that build on them."""
        self._templates = jinja2.Environment(
            loader=jinja2.ChoiceLoader([jinja2.PackageLoader(each) for each in (*packages, "edge_server.portal")]),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        folder = files("edge_server.portal").joinpath("templates")
        self.scripts = {path: folder.joinpath(path.lstrip("/")).read_bytes() for path in SCRIPTS}

    def write(self, template: str, asker: Asker, status: int = 200, **values: Any) -> PortalReply:
        """Answer with a page; letters that GBK lacks become character references, which every browser reads."""
        screen = asker.screen
        named = {
            "who": asker,
            "t": asker.said,
            "link": asker.link,
            "old": screen.old,
            "charset": screen.charset.upper(),
        }
        written = self._templates.get_template(template).render({**named, "lang": asker.language, **values})
        body = written.encode(screen.charset, "xmlcharrefreplace")
        return PortalReply(status, body, f"text/html; charset={screen.charset}", asker.fields)
