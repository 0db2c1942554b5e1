"""Whatever a box or somebody else sends, old boxes' portals answer: no exception, a bounded reply, in their charset."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge_server.catalog import CatalogView
from edge_server.portal import Dialect, PortalRequest, PortalState
from edge_server.portal.huawei import DIALECT as HUAWEI
from edge_server.portal.zte import DIALECT as ZTE
from tests.old_boxes import CHANNELS, HOST, NOW, RTSP, STBID, authenticator, counted_logins, view_of

REPLY_MAX_BYTES = 256 * 1024
"""Of six channels and a thousand programmes."""
PATHS = {
    "huawei": [
        "/EDS/jsp/AuthenticationURL",
        "/EPG/jsp/AuthenticationURL",
        "/EPG/jsp/authLoginHWCTC.jsp",
        "/EPG/jsp/authLoginHWCM.jsp",
        "/EPG/jsp/ValidAuthenticationHWCU.jsp",
        "/EPG/jsp/getchannellistHWCTC.jsp",
        "/EPG/jsp/GetHeartBit",
        "/EPG/jsp/gethearbit.jsp",
        "/EPG/jsp/gdhdpublic/Ver.3/common/data.jsp",
        "/EPG/jsp/liveplay_30/en/getTvodData.jsp",
        "/VSP/V3/QueryPlaybillList",
        "/esaas/v2/live/channel",
        "/esaas/v1/live/program",
        "/UICloudAuthClient/api/authentication",
        "/UICloudAuthClient/api/authurl",
    ],
    "zte": [
        "/iptvepg/platform/index.jsp",
        "/iptvepg/platform/getencrypttoken.jsp",
        "/iptvepg/platform/auth.jsp",
        "/iptvepg/function/index.jsp",
        "/iptvepg/function/funcportalauth.jsp",
        "/iptvepg/js/setConfig.js",
        "/iptvepg/function/frame.jsp",
        "/iptvepg/function/frameset_judger.jsp",
        "/iptvepg/function/frameset_builder.jsp",
        "/iptvepg/function/rebuildsessionresponse.jsp",
        "/iptvepg/platform/qrcodeerror.jsp",
        "/iptvepg/frame1/portal.jsp",
        "/iptvepg/frame2/action/getchannelprogram.jsp",
        "/iptvepg/frame80/channel/ztedatajsp/prevueList.jsp",
        "/iptvepg/frame1/sdk_getcolumnlist.jsp",
        "/iptv3a/UserAuthenticationAction.do",
        "/auth",
        "/uploadAuthInfo",
    ],
}
NAMES = [
    "UserID",
    "Authenticator",
    "STBID",
    "StbIP",
    "UserToken",
    "tempKey",
    "userToken",
    "Action",
    "Lang",
    "conntype",
    "channelId",
    "channelID",
    "channelcode",
    "vodId",
    "seriseId",
    "foreignSN",
    "contentType",
    "date",
    "curdate",
    "currdate",
    "pageIndex",
    "pageSize",
    "errorcode",
    "easip",
    "networkid",
    "stbtype",
    "loadbalanced",
    "timestamp",
    "areaCode",
    "startTime",
    "endTime",
]
ANY_TEXT = st.text(max_size=40) | st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "replace"))
WORDS = [
    "edu001@itv",
    "Login",
    "Logout",
    "columnList",
    "seriesInfoById",
    "vodInfoById",
    "vodIdByCode",
    "channelProgramList",
    "900001",
    "10000001",
    "20261124",
    "2026.11.24",
    "20269999",
    "99999999999999",
    "-1",
    "0",
    "undefined",
    "null",
    "'",
    '"',
    "<",
    ">",
    "\\",
]
VALUES = st.sampled_from(WORDS) | ANY_TEXT | st.sampled_from(["A" * 5000, STBID, f"{3:032X}"])
FIELDS = st.dictionaries(st.sampled_from(NAMES) | ANY_TEXT, VALUES, max_size=8)
BODIES = st.sampled_from(
    [b"", b"{}", b"[]", b'{"channelIDs":["900001"]}', b"[" * 3000, "节目".encode("gbk")]
) | st.binary(max_size=200)


@cache
def held() -> CatalogView:
    return view_of(Path(tempfile.mkdtemp(prefix="old-portals-"))).read_through()


@pytest.mark.parametrize("dialect", [HUAWEI, ZTE], ids=lambda each: each.name)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(
    path=3,
    query={"startTime": "9" * 400, "date": "20000101", "curdate": "20991231"},
    form={},
    body=b'{"a": NaN}',
    headers={},
    session=True,
)
@given(
    path=st.integers(0, 40) | st.text(max_size=30),
    query=FIELDS,
    form=FIELDS,
    body=BODIES,
    headers=st.dictionaries(st.sampled_from(["User-Agent", "X-Frame-UserToken"]), ANY_TEXT, max_size=2),
    session=st.booleans(),
)
def test_anything_is_answered(
    dialect: Dialect,
    path: int | str,
    query: dict[str, str],
    form: dict[str, str],
    body: bytes,
    headers: dict[str, str],
    session: bool,
) -> None:
    logins = counted_logins()
    state = PortalState(held(), logins, RTSP, NOW, 0.0, channels=CHANNELS)

    def ask(where: str, given: dict[str, str], asked: dict[str, str], cookies: dict[str, str]) -> None:
        request = PortalRequest("POST", where, asked, given, headers, cookies, "192.0.2.50", HOST, body)
        reply = dialect.reply(request, state)
        assert reply.status in (200, 302, 400, 403, 404) and len(reply.body) < REPLY_MAX_BYTES
        reply.body.decode(reply.media_type.partition("charset=")[2])
        assert all("\r" not in value and "\n" not in value for _, value in reply.headers)

    cookies = {"JSESSIONID": "x"}
    if session:
        challenge = logins.issue("edu001@itv", "192.0.2.50", 0.0)
        form_in = {"UserID": "edu001@itv", "Authenticator": authenticator(challenge.encrypt_token)}
        door = {"huawei": "/EPG/jsp/ValidAuthenticationHWCTC.jsp", "zte": "/iptvepg/platform/auth.jsp"}[dialect.name]
        ask(door, form_in, {}, {})
        cookies = {"JSESSIONID": next(iter(logins)).session_id}
    paths = PATHS[dialect.name]
    where = paths[path % len(paths)] if isinstance(path, int) else dialect.prefixes[0] + path
    ask(where, form, query, cookies)


@pytest.mark.parametrize("dialect", [HUAWEI, ZTE], ids=lambda each: each.name)
@pytest.mark.parametrize("host", ["", "a b", "x\r\nSet-Cookie: a=b", "x'y", "[::1]:99999999", "节目"])
def test_a_host_that_cannot_stand_in_an_address_is_refused(dialect: Dialect, host: str) -> None:
    state = PortalState(held(), counted_logins(), RTSP, NOW, 0.0, channels=CHANNELS)
    request = PortalRequest("GET", PATHS[dialect.name][0], {}, {}, {}, {}, "192.0.2.50", host)
    assert dialect.reply(request, state).status == 400
