"""Linear channels on Huawei-style boxes: in front of the lessons, and one programme in all four shapes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_server.portal.huawei import DIALECT
from tests.old_boxes import CHANNELS, HOST, LESSONS, NOW, STBID, Asker, authenticator, view_of
from wire import ctc

CHINA = timedelta(hours=8)


@pytest.fixture
def box(tmp_path: Path) -> Asker:
    return Asker(DIALECT, view_of(tmp_path))


def log_in(box: Asker, face: str = "CTC") -> str:
    token = ctc.parse_token_page(box.page(f"/EPG/jsp/authLoginHW{face}.jsp", {"UserID": "edu001@itv"})).encrypt_token
    form = {"UserID": "edu001@itv", "Authenticator": authenticator(token), "STBID": STBID}
    return box.page(f"/EPG/jsp/ValidAuthenticationHW{face}.jsp", form)


def post(box: Asker, path: str, asked: Any) -> Any:
    return json.loads(box.page(path, body=json.dumps(asked).encode(), cookies={}))


def in_utc(text: str, shape: str) -> datetime:
    return (datetime.strptime(text, shape) - CHINA).replace(tzinfo=UTC)  # noqa: DTZ007


def test_boxes_of_the_unified_cloud_come_in_by_its_door(box: Asker) -> None:
    page = box.page("/UICloudAuthClient/api/authentication?UserID=edu001@itv&Action=Login")
    token = re.search(r"CTCGetAuthInfo\(['\"]([a-f0-9]+)['\"]\)", page)
    assert token
    wrong = {"UserID": "edu001@itv", "authenticator": authenticator(token[1], password="654321")}
    assert "document.location" not in box.page("/UICloudAuthClient/api/authurl", wrong)
    form = {"UserID": "edu001@itv", "authenticator": authenticator(token[1])}
    onward = re.search(r'document\.location\s*=\s*"([^"]+)"', box.page("/UICloudAuthClient/api/authurl", form))
    assert onward
    reply = box.ask(onward[1])
    assert reply.status == 302 and dict(reply.headers)["Set-Cookie"] == f"EPGIP_PORT={HOST}; Path=/"
    assert "authLoginHWCTC.jsp" in box.page(dict(reply.headers)["Location"])
    assert "UserToken" in log_in(box)
    box.page("/UICloudAuthClient/api/authentication?UserID=edu001@itv&Action=Logout")
    assert len(box.logins) == 0


@pytest.mark.parametrize("face", ["CTC", "CU", "CM"])
@pytest.mark.parametrize("style", ["quote-scan", "regex"])
def test_channels_come_first_in_every_face(box: Asker, face: str, style: ctc.Style) -> None:
    assert "UserToken" in log_in(box, face)
    page = box.page(f"/EPG/jsp/getchannellistHW{face}.jsp", {})
    assert f"Authentication.{face}SetConfig('ChannelCount','6');" in page
    read = ctc.parse_channel_page(page, style)
    assert read.deviations == () and [each.channel_id for each in read.channels] == ["900001", "900002", *LESSONS]
    assert [each.user_channel_id for each in read.channels] == ["1", "2", "3", "4", "5", "6"]
    first, second, lesson = read.channels[:3]
    assert first.urls == ("igmp://239.1.1.1:5000", "rtsp://192.0.2.1:8554/live/900001.mpg")
    assert second.urls == ("rtsp://192.0.2.1:8554/live/900002.mpg",)
    keys = ("TimeShift", "TimeShiftLength", "TimeShiftURL", "FCCEnable", "ChannelFECPort")
    assert [first.other(key) for key in keys] == ["1", "7200", "rtsp://192.0.2.1:8554/live/900001.mpg", "0", "0"]
    assert [lesson.other(key) for key in keys] == ["0", "0", "", "0", "0"]


def test_a_channel_without_time_shift_offers_none(box: Asker) -> None:
    box.channels = (replace(CHANNELS[0], time_shift_s=0.0),)
    log_in(box)
    first = ctc.parse_channel_page(box.page("/EPG/jsp/getchannellistHWCTC.jsp", {})).channels[0]
    assert (first.other("TimeShift"), first.other("TimeShiftLength"), first.other("TimeShiftURL")) == ("0", "0", "")


def test_one_programme_in_all_four_shapes(box: Asker) -> None:
    """The truth is the channel's own arithmetic; a box that asks for the 24th means its own day."""
    begin = datetime(2026, 11, 23, 16, 0, tzinfo=UTC)
    truth = [(each.start, each.stop) for each in CHANNELS[0].programmes(begin, begin + timedelta(days=1))]
    assert len(truth) == 48
    log_in(box)

    data = "/EPG/jsp/gdhdpublic/Ver.3/common/data.jsp?Action=channelProgramList&channelId=900001&date=20261124"
    day = json.loads(box.page(data))["result"]
    shape = "%Y-%m-%d %H:%M:%S"
    told = [(in_utc(f"{x['day']} {x['time']}", shape), in_utc(f"{x['day']} {x['endtime']}", shape)) for x in day]
    assert told[:-1] == truth[:-1]
    assert told[-1] == (truth[-1][0], truth[-1][1] - timedelta(seconds=1))  # midnight cannot be said in this shape

    script = box.page("/EPG/jsp/liveplay_30/en/getTvodData.jsp?channelId=900001")
    match = re.search(r"parent\.jsonBackLookStr\s*=\s*(.+?);", script)
    assert match
    days = json.loads(match[1])[1]
    assert [each[0]["beginTimeFormat"] for each in days] == ["20261123000000", "20261124000000", "20261125000000"]
    shape = "%Y%m%d%H%M%S"
    assert [(in_utc(x["beginTimeFormat"], shape), in_utc(x["endTimeFormat"], shape)) for x in days[1]] == truth

    window = {"startTime": str(int(begin.timestamp()) * 1000), "endTime": str(int(begin.timestamp() + 86400) * 1000)}
    asked = {"queryChannel": {"channelIDs": [900001]}, "queryPlaybill": {**window, "count": "100", "offset": "0"}}
    lites = post(box, "/VSP/V3/QueryPlaybillList", asked)["channelPlaybills"][0]["playbillLites"]
    told = [
        tuple(datetime.fromtimestamp(int(each[key]) / 1000, UTC) for key in ("startTime", "endTime")) for each in lites
    ]
    assert told == truth

    asked = {"startTime": "2026-11-24", "endTime": "2026-11-24", "channelId": "900001", "payed": "true"}
    (only,) = post(box, "/esaas/v1/live/program", asked)["data"]["channels"][0]["data"]
    shape = "%Y-%m-%d %H:%M:%S"
    assert only["systemDate"] == "2026-11-24"
    assert [(in_utc(x["startTime"], shape), in_utc(x["endTime"], shape)) for x in only["programs"]] == truth
    names = [each["name"] for each in day]
    assert names == [each["text"] for each in only["programs"]] == [each["name"] for each in lites]
    assert [each["programName"] for each in days[1]] == [each.replace(";", "；") for each in names]


def test_pages_of_playbills(box: Asker) -> None:
    begin = int(NOW.timestamp()) * 1000
    window = {"startTime": str(begin), "endTime": str(begin + 86_400_000)}
    told: list[str] = []
    for offset in (0, 100):
        query = {"queryChannel": {"channelIDs": ["900002"]}, "queryPlaybill": {**window, "offset": str(offset)}}
        (bills,) = post(box, "/VSP/V3/QueryPlaybillList", query)["channelPlaybills"]
        assert bills["playbillCount"] == "144"
        told += [each["startTime"] for each in bills["playbillLites"]]
    assert told == [str(begin + number * 600_000) for number in range(144)]


@pytest.mark.parametrize(
    "asked", [{}, [], {"queryChannel": 1}, {"queryChannel": {"channelIDs": [1]}}, {"queryPlaybill": []}]
)
def test_bad_playbill_queries_are_told(box: Asker, asked: Any) -> None:
    reply = post(box, "/VSP/V3/QueryPlaybillList", asked)
    assert reply["result"]["retCode"] != "000000000" and reply["channelPlaybills"] == []


def test_esaas_lists_what_the_channel_list_lists(box: Asker) -> None:
    log_in(box, "CU")
    theirs = ctc.parse_channel_page(box.page("/EPG/jsp/getchannellistHWCU.jsp", {})).channels
    (group,) = post(box, "/esaas/v2/live/channel", {"timestamp": "0", "areaCode": "1"})["data"]
    assert [(each["channelNumber"], each["channelId"], each["channelName"]) for each in group["channelData"]] == [
        (each.user_channel_id, each.channel_id, each.name) for each in theirs
    ]


def test_a_week_back_and_two_days_on_in_one_answer(box: Asker) -> None:
    asked = {"startTime": "2026-11-17", "endTime": "2026-11-26", "channelId": "900002", "payed": "true"}
    days = post(box, "/esaas/v1/live/program", asked)["data"]["channels"][0]["data"]
    assert [each["systemDate"] for each in days] == [f"2026-11-{day}" for day in range(17, 27)]
    assert [len(each["programs"]) for each in days] == [144] * 10
    asked["endTime"] = "2099-01-01"
    assert len(post(box, "/esaas/v1/live/program", asked)["data"]["channels"][0]["data"]) == 10


def test_unknown_channels_have_no_programme(box: Asker) -> None:
    log_in(box)
    assert "parent.jsonBackLookStr = [{},[]];" in box.page("/EPG/jsp/liveplay_30/en/getTvodData.jsp?channelId=77")
    data = "/EPG/jsp/gdhdpublic/Ver.2/common/data.jsp?Action=channelProgramList&channelId=77"
    assert json.loads(box.page(data)) == {"result": []}
    assert post(box, "/esaas/v1/live/program", {"channelId": "77"})["data"] == {"channels": []}


def test_a_lesson_has_one_id(box: Asker) -> None:
    log_in(box)
    data = "/EPG/jsp/gdhdpublic/Ver.3/common/data.jsp?Action=vodIdByCode&contentType=0&foreignSN="
    assert json.loads(box.page(data + "10000003"))["result"] == {"id": "10000003"}
    assert json.loads(box.page(data + "77"))["result"] == {}


@pytest.mark.parametrize(
    "path",
    [
        "/EPG/jsp/GetHeartBit",
        "/EPG/jsp/gethearbit.jsp",
        "/EPG/jsp/getHeartBit.jsp",
        "/EPG/GetHeartBeat",
        "/EPG/jsp/GETHEARTBIT",
    ],
)
def test_every_spelling_of_the_heartbeat(box: Asker, path: str) -> None:
    assert "UserValid=false" in box.page(path)
    log_in(box)
    assert "UserValid=true" in box.page(path)


def test_guides_without_a_cookie_are_for_the_segment_too(box: Asker) -> None:
    box.more = {"is_local": False}
    for path in ("/VSP/V3/QueryPlaybillList", "/esaas/v2/live/channel", "/esaas/v1/live/program"):
        assert box.ask(path, body=b"{}").status == 403
    box.more = {}
    assert box.ask("/esaas/v2/live/channel").status == 404  # a GET is no question here


def test_names_with_a_semicolon_stay_inside_the_script_line(box: Asker) -> None:
    slot = replace(CHANNELS[0].slots[0], title='a;"b"; </script>')
    box.channels = (replace(CHANNELS[0], slots=(slot,)),)
    log_in(box)
    script = box.page("/EPG/jsp/liveplay_30/en/getTvodData.jsp?channelId=900001")
    match = re.search(r"parent\.jsonBackLookStr\s*=\s*(.+?);", script)
    assert match and json.loads(match[1])[1][0][0]["programName"] == "a；＂b＂； ＜/script＞"
