"""Whose moments are local time (D12): the account's word, the model's, and what the portal makes of it."""

import itertools
import re
from pathlib import Path

import pytest

from edge_server.portal.huawei import DIALECT as HUAWEI
from edge_server.portal.zte import DIALECT as ZTE
from edge_server.sessions.accounts import Account
from edge_server.sessions.logins import Logins
from edge_server.sessions.zones import Zones, make_zones
from tests.old_boxes import Asker, authenticator, view_of
from wire import ctc

ACCOUNT = Account(user_id="edu001@itv", password="123456")
LOCAL = make_zones(" EC6108 , b860 ,", 8.0)


def account(times: str) -> Account:
    return Account(user_id="edu001@itv", password="123456", times=times)  # type: ignore[arg-type]


def test_the_account_comes_first_then_the_model_then_utc() -> None:
    assert LOCAL.of(ACCOUNT, "EC6108V9 webkit") == 480 and LOCAL.of(ACCOUNT, "x (B860AV1.1)") == 480
    assert LOCAL.of(ACCOUNT, "EC2106") == LOCAL.of(ACCOUNT, "") == 0
    assert LOCAL.of(account("utc"), "EC6108V9") == 0
    assert LOCAL.of(account("local"), "") == 480
    assert Zones().of(ACCOUNT, "EC6108V9") == 0
    assert make_zones("", 7.5).of(account("local"), "") == 450


def asker(folder: Path, dialect, zones: Zones, times: str) -> Asker:
    numbers = itertools.count(1)
    logins = Logins({"edu001@itv": account(times)}.get, token=lambda: f"{next(numbers):032X}", zones=zones)
    return Asker(dialect, view_of(folder), logins=logins)


@pytest.mark.parametrize(
    ("model", "times", "zone"),
    [
        ("EC6108V9", "", "?zoneoffset=480"),
        ("EC6108V9", "utc", ""),
        ("EC2106", "", ""),
        ("EC2106", "local", "?zoneoffset=480"),
    ],
)
def test_addresses_of_channels_carry_the_zone_of_the_box_that_asks(
    tmp_path: Path, model: str, times: str, zone: str
) -> None:
    box = asker(tmp_path, HUAWEI, LOCAL, times)
    token = ctc.parse_token_page(box.page("/EPG/jsp/authLoginHWCTC.jsp", {"UserID": "edu001@itv"})).encrypt_token
    form = {"UserID": "edu001@itv", "Authenticator": authenticator(token), "STBType": model}
    box.page("/EPG/jsp/ValidAuthenticationHWCTC.jsp", form)
    channels = ctc.parse_channel_page(box.page("/EPG/jsp/getchannellistHWCTC.jsp", {})).channels
    assert channels[0].urls[-1].endswith(f"/live/900001.mpg{zone}")
    assert all("zoneoffset" not in each.url for each in channels if "/vod/" in each.url)
    other = asker(tmp_path, ZTE, LOCAL, times)
    page = other.page("/iptvepg/platform/getencrypttoken.jsp?UserID=edu001@itv&Action=Login")
    found = re.search(r"GetAuthInfo\('(.*)'\)", page)
    assert found
    form = {"UserID": "edu001@itv", "Authenticator": authenticator(found[1])}
    headers = {"User-Agent": f"webkit {model}"}
    other.page("/iptvepg/platform/auth.jsp", form, headers=headers)
    builder = other.page("/iptvepg/function/frameset_builder.jsp", {"BUILD_ACTION": "FRAMESET_BUILDER"})
    assert f'/live/900001.mpg{zone}"' in builder
