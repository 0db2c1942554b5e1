"""What tests of old boxes' portals share: a catalogue, two channels, and how a box asks."""

from __future__ import annotations

import hashlib
import itertools
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from domain.courseware import (
    CATALOGUE_PATH,
    Asset,
    Catalogue,
    Column,
    Courseware,
    ItemClass,
    MediaFamily,
    encode_catalogue,
)
from edge_server.catalog import CatalogView
from edge_server.linear import LinearChannel, Slot
from edge_server.portal import Dialect, PortalReply, PortalRequest, PortalState
from edge_server.sessions.accounts import Account
from edge_server.sessions.logins import Logins
from edge_server.store import StoredFile
from tests.views import snapshot_of
from wire import ctc

STBID = "0010019900E0680200001A2B3C4D5E6F"
HOST, RTSP = "192.0.2.1:8800", "192.0.2.1:8554"
NOW = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
"""Noon in the village."""
ACCOUNTS = {
    each.user_id: each
    for each in (
        Account(user_id="edu001@itv", password="123456"),
        Account(user_id="edu002@itv", password="100001", encryption_type="0002", face="CU"),
        Account(user_id="edu003@itv", password="123456", encryption_type="0003", charset="gbk"),
    )
}
NASTY = """张老师说:"别'急'", <script>alert(1)</script>\r\n\\'); // 第1课"""


def item(item_id: str, title: str, column_id: str = "1", family: MediaFamily = MediaFamily.VIDEO) -> Courseware:
    page = f"courseware/{item_id}/page/index.html"
    return Courseware(
        item_id=item_id,
        title=title,
        item_class=ItemClass.EDUCATION,
        column_id=column_id,
        family=family,
        issued_at="2026-01-01T00:00:00Z",
        duration_s=61.6,
        page=Asset(path=page, sha256="0" * 64, length_bytes=1, media_type="text/html")
        if family is MediaFamily.PICTURE_TEXT
        else None,
    )


CATALOGUE = Catalogue(
    columns=(Column(column_id="2", title='农业 "技术"', order=2), Column(column_id="1", title="安全", order=1)),
    courseware=(
        item("10000003", "安全用电"),
        item("10000001", NASTY, "2"),
        item("10000002", "图文, 一则 (上)", "2", MediaFamily.PICTURE_TEXT),
        item("10000009", "无栏目", "7"),
    ),
)
LESSONS = [each.item_id for each in CATALOGUE.courseware]
CHANNELS = (
    LinearChannel(
        "900001",
        1,
        "教育频道",
        datetime(1970, 1, 1, tzinfo=UTC),
        (Slot("10000003", "安全用电", 1800.0), Slot("10000001", NASTY, 1800.0)),
        multicast="239.1.1.1:5000",
    ),
    LinearChannel("900002", 2, "农技 (二)", datetime(1970, 1, 1, tzinfo=UTC), (Slot("10000009", "无栏目", 600.0),)),
)


def view_of(folder: Path, catalogue: Catalogue = CATALOGUE, seq: int = 7) -> CatalogView:
    raw = encode_catalogue(catalogue)
    file = folder / f"catalogue-{seq}.json"
    file.write_bytes(raw)
    stored = StoredFile(CATALOGUE_PATH, hashlib.sha256(raw).hexdigest(), len(raw), str(file))
    issued = datetime(2026, 1, 1, tzinfo=UTC)
    return CatalogView(snapshot_of(seq, "library", issued, {CATALOGUE_PATH: stored}, listing=catalogue))


def counted_logins() -> Logins:
    numbers = itertools.count(1)
    return Logins(ACCOUNTS.get, token=lambda: f"{next(numbers):032X}")


def authenticator(token: str, user_id: str = "edu001@itv", password: str | None = None, **how: Any) -> str:
    made = ctc.Authenticator("12345678", token, user_id, STBID, "10.0.0.9", "1A:2B:3C:4D:5E:6F")
    return ctc.encrypt(made.build(), password or ACCOUNTS[user_id].password, **how)


@dataclass
class Asker:
    """Keeps one cookie, and asks one dialect as if through the port."""

    dialect: Dialect
    view: CatalogView
    channels: tuple[LinearChannel, ...] = CHANNELS
    cookies: dict[str, str] = field(default_factory=dict)
    now_s: float = 0.0
    remote: str = "192.0.2.50"
    logins: Logins = field(default_factory=counted_logins)
    more: dict[str, Any] = field(default_factory=dict)
    """Further parts of the state."""

    def ask(
        self,
        url: str,
        form: dict[str, str] | None = None,
        *,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        cookies: dict[str, str] | None = None,
        remote: str | None = None,
        host: str = HOST,
    ) -> PortalReply:
        parts = urlsplit(url)
        query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        reply = self.dialect.reply(
            PortalRequest(
                "GET" if form is None and not body else "POST",
                parts.path,
                query,
                form or {},
                headers or {},
                dict(self.cookies if cookies is None else cookies),
                remote or self.remote,
                host,
                body,
            ),
            PortalState(self.view, self.logins, RTSP, NOW, self.now_s, channels=self.channels, **self.more),
        )
        for name, value in reply.headers:
            if name == "Set-Cookie" and (match := re.match(r"JSESSIONID=([^;]*); Path=/\w+", value)):
                self.cookies = {"JSESSIONID": match[1]} if match[1] else {}
        return reply

    def page(self, url: str, form: dict[str, str] | None = None, **how: Any) -> str:
        return text_of(self.ask(url, form, **how))


def text_of(reply: PortalReply) -> str:
    """Decode as declared: a header that lies fails here."""
    assert reply.status == 200
    return reply.body.decode(reply.media_type.partition("charset=")[2])
