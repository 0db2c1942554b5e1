"""H1 to H8 over real sockets: the standard library's HTTP client, our port, both faces."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from domain.courseware import CATALOGUE_PATH, Catalogue, Column, Courseware, ItemClass, MediaFamily, encode_catalogue
from edge_server.bootstrap.http_port import HttpPort
from edge_server.catalog import CatalogView
from edge_server.plane.lookup import Media
from edge_server.portal import PortalRequest, PortalState
from edge_server.portal.huawei import DIALECT
from edge_server.sessions.accounts import Account, AccountBook
from edge_server.sessions.logins import Logins
from edge_server.store import StoredFile
from runtime.clock import SystemClock
from tests.views import snapshot_of
from wire import ctc

STBID = "0010019900E0680200001A2B3C4D5E6F"
ITEMS = ("10000002", "10000001")


def view_of(folder: Path) -> CatalogView:
    lessons = tuple(
        Courseware(
            item_id=each,
            title=f"第{each}课",
            item_class=ItemClass.EDUCATION,
            column_id="1",
            family=MediaFamily.VIDEO,
            issued_at="2026-01-01T00:00:00Z",
        )
        for each in ITEMS
    )
    catalogue = Catalogue(columns=(Column(column_id="1", title="安全", order=1),), courseware=lessons)
    raw = encode_catalogue(catalogue)
    (folder / "catalogue.json").write_bytes(raw)
    stored = StoredFile(CATALOGUE_PATH, hashlib.sha256(raw).hexdigest(), len(raw), str(folder / "catalogue.json"))
    issued = datetime(2026, 1, 1, tzinfo=UTC)
    return CatalogView(snapshot_of(3, "library", issued, {CATALOGUE_PATH: stored}, listing=catalogue))


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    book = AccountBook(tmp_path / "accounts.json")
    book.add(Account(user_id="edu001@itv", password="123456"))
    book.add(Account(user_id="edu002@itv", password="100001", encryption_type="0002", face="CU"))
    logins, view = Logins(book.find), view_of(tmp_path)

    def state(request: PortalRequest) -> PortalState:
        return PortalState(view, logins, "127.0.0.1:8554", datetime(2026, 1, 1, tzinfo=UTC), 0.0)

    port = HttpPort("127.0.0.1", 0, Media(lambda path: None, lambda: view), (), (DIALECT,), state, SystemClock())
    ready = asyncio.Event()
    task = asyncio.ensure_future(port.run(ready.set))
    await asyncio.wait({task, asyncio.ensure_future(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
    yield urlsplit(port.address).netloc
    task.cancel()
    await asyncio.wait({task})


class Browser:
    """One cookie, no redirects of its own, no script."""

    def __init__(self, address: str) -> None:
        self.address, self.cookie = address, ""

    def ask(self, method: str, target: str, form: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=5)
        headers = {"Cookie": self.cookie} if self.cookie else {}
        body = None
        if form is not None:
            body, headers["Content-Type"] = urlencode(form), "application/x-www-form-urlencoded"
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        raw = answer.read()
        connection.close()
        if cookie := answer.headers.get("Set-Cookie"):
            self.cookie = cookie.split(";")[0]
        return answer.status, dict(answer.headers), raw


def conversation(address: str, face: str, user_id: str, password: str, how: dict[str, object]) -> None:
    box = Browser(address)
    status, headers, _ = box.ask("GET", f"/EDS/jsp/AuthenticationURL?UserID={user_id}&Action=Login")
    assert status == 302 and headers["Location"].startswith(f"http://{address}/EPG/jsp/AuthenticationURL?")
    assert box.ask("GET", headers["Location"].removeprefix(f"http://{address}"))[0] == 200
    _, headers, raw = box.ask("POST", f"/EPG/jsp/authLoginHW{face}.jsp", {"UserID": user_id, "VIP": ""})
    assert re.fullmatch(r"JSESSIONID=[0-9A-F]{32}; Path=/EPG", headers["Set-Cookie"])
    token = re.search(r'EncryptToken = "([0-9A-F]{32})"', raw.decode())
    assert token and f'userToken.value = "{token.group(1)}"' in raw.decode()
    made = ctc.Authenticator("99999", token.group(1), user_id, STBID, "10.0.0.9", "1a:2b:3c:4d:5e:6f", "", face)
    form = {"UserID": user_id, "Authenticator": ctc.encrypt(made.build(), password, **how), "STBID": STBID}
    _, _, raw = box.ask("POST", f"/EPG/jsp/ValidAuthenticationHW{face}.jsp", {**form, "userToken": token.group(1)})
    assert b"UserToken" in raw
    _, headers, raw = box.ask("POST", f"/EPG/jsp/getchannellistHW{face}.jsp", {"stbid": STBID, "tempKey": ""})
    assert headers["Content-Type"] == "text/html; charset=UTF-8"
    assert f"{face}SetConfig('ChannelCount','2')" in raw.decode()
    assert re.findall(r'ChannelID="(\d+)",ChannelName="第\1课"', raw.decode()) == list(ITEMS)
    for version in "23":
        target = f"/EPG/jsp/gdhdpublic/Ver.{version}/common/data.jsp?Action=vodInfoById&vodId={ITEMS[0]}"
        raw = box.ask("GET", target)[2]
        assert json.loads(raw)["result"]["mediaUrl"] == f"rtsp://127.0.0.1:8554/vod/{ITEMS[0]}.mpg"
    assert b"UserValid=true\r\n" in box.ask("GET", f"/EPG/jsp/GetHeartBit?UserStatus=1&STBID={STBID}")[2]
    box.ask("GET", f"/EPG/jsp/AuthenticationURL?UserID={user_id}&Action=Logout")
    assert b"UserValid=false\r\n" in box.ask("GET", f"/EPG/jsp/gethearbit.jsp?UserStatus=1&STBID={STBID}")[2]
    assert b"SessionTimeOutJump" in box.ask("POST", f"/EPG/jsp/getchannellistHW{face}.jsp", {"stbid": STBID})[2]


@pytest.mark.parametrize(
    ("face", "user_id", "password", "how"),
    [
        ("CTC", "edu001@itv", "123456", {}),
        ("CTC", "edu001@itv", "123456", {"padding": "ones-to-128"}),
        ("CU", "edu002@itv", "100001", {"kind": ctc.EncryptionType.MD5_SALTED, "md5_hex": "padded"}),
        ("CU", "edu002@itv", "100001", {"kind": ctc.EncryptionType.MD5_SALTED, "md5_hex": "unpadded"}),
        ("CU", "edu002@itv", "100001", {"kind": ctc.EncryptionType.MD5_UPPER, "md5_hex": "unpadded"}),
    ],
)
async def test_h1_to_h8(address: str, face: str, user_id: str, password: str, how: dict[str, object]) -> None:
    await asyncio.to_thread(conversation, address, face, user_id, password, how)
