"""Actions of a matrix: which keys they are, what their verdict is, and that each box-wide one can fail."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

import msgspec
import pytest

from runtime.clock import SystemClock
from stb_emulator.boxes import Box, load_all
from stb_emulator.lab import grid
from stb_emulator.lab.actions import (
    Action,
    Outcome,
    Verdict,
    listing_outcomes,
    outcome_of,
    parse,
    presses,
    redirect_outcome,
)
from stb_emulator.lab.junit import document
from stb_emulator.lab.parity import compare
from stb_emulator.lab.report import page
from stb_emulator.lab.visits import heartbeat, relogin
from stb_emulator.observe import Observation, Offer, PlayError, Reason, Stage
from stb_emulator.observe.keys import Key, Pressed
from stb_emulator.seat import Seat
from tests.peers.scripted import listening
from tests.unit.test_box_huawei import Portal

BEAT = "[HEARTBIT]\r\nUserValid=true\r\nNextCallInterval=300\r\nChannelVer=1\r\n[MESSAGE]\r\n[END]\r\n"


def _box(name: str = "ctc_hw_c20") -> Box:
    return load_all()[name]


def _row(ok: bool = True, **more: object) -> Observation:
    stage = Stage.DONE if ok else Stage.PLAY
    plain = Observation(box="b", lesson="7", title="七", ok=ok, stage=stage, reason="" if ok else "坏 / bad")
    return msgspec.structs.replace(plain, **more)


def test_actions_are_read_in_the_order_of_a_report() -> None:
    assert parse("seek, login") == (Action.LOGIN, Action.SEEK)
    assert parse("all") == tuple(Action)
    with pytest.raises(ValueError, match="dance"):
        parse("dance")


def test_winding_stays_inside_the_lesson() -> None:
    scales = lambda found: [press.scale for press in found]  # noqa: E731
    assert scales(presses(Action.TRICK, _box(), 600.0)) == [8, -8]
    assert scales(presses(Action.TRICK, _box(), 12.0)) == [2, -2]
    assert presses(Action.TRICK, _box("fh_old"), 600.0) == ()
    assert isinstance(presses(Action.TRICK, _box(), 5.0), Reason)
    (seek,) = presses(Action.SEEK, _box(), 100.0)  # type: ignore[misc]
    assert seek.place(100.0) == 60.0
    (end,) = presses(Action.END, _box(), None)  # type: ignore[misc]
    assert end.place(100.0) == 97.0
    with pytest.raises(ValueError, match="unknown length"):
        end.place(None)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (_row(pressed=(Pressed(key=Key.SEEK),)), Verdict.OK),
        (_row(ok=False, pressed=(Pressed(key=Key.SEEK),)), Verdict.FAILED),
        (_row(pressed=(Pressed(key=Key.SEEK, has_key=False, answered="no"),)), Verdict.NO_KEY),
        (_row(), Verdict.NOT_ASKED),
    ],
)
def test_the_verdict_of_a_seek(row: Observation, verdict: Verdict) -> None:
    assert outcome_of(Action.SEEK, row).verdict is verdict


def test_who_could_not_log_in_was_not_asked_for_a_list() -> None:
    out = PlayError(Stage.LOGIN, "密码不对", "wrong password")
    unread = PlayError(Stage.BROWSE, "没有列表", "no list")
    found = listing_outcomes({"a": (), "b": out, "c": unread}, tuple(Action))
    assert [(each.box, each.action, each.verdict) for each in found] == [
        ("a", Action.LOGIN, Verdict.OK),
        ("a", Action.LIST, Verdict.OK),
        ("b", Action.LOGIN, Verdict.FAILED),
        ("b", Action.LIST, Verdict.NOT_ASKED),
        ("c", Action.LOGIN, Verdict.OK),
        ("c", Action.LIST, Verdict.FAILED),
    ]


def test_a_redirect_is_judged_by_what_came_of_it() -> None:
    assert redirect_outcome("b", [_row()]).verdict is Verdict.NOT_ASKED
    assert redirect_outcome("b", [_row(), _row(redirects=1)]).verdict is Verdict.OK
    assert redirect_outcome("b", [_row(redirects=1), _row(ok=False, redirects=9)]).verdict is Verdict.FAILED


def _seat(port: int) -> Seat:
    return Seat(portal_url=f"http://127.0.0.1:{port}", clock=SystemClock(), silence_s=1)


async def test_heartbeats_are_answered_as_the_dialect_demands() -> None:
    portal = Portal("CTC")
    async with listening(portal) as port:
        outcome = await heartbeat(_seat(port), _box("ctc_hw_old"), None)
    assert outcome.verdict is Verdict.OK, outcome.reason
    assert [path for path, _, _ in portal.asked].count("/EPG/jsp/GetHeartBit") == 4


@pytest.mark.parametrize(
    ("answer", "word"),
    [("[HEARTBIT]\r\nUserValid=false\r\n[END]\r\n", "UserValid=false"), ("<html>404</html>", "heartbeat (HTTP 200)")],
)
async def test_a_heartbeat_that_is_not_answered_so_fails(answer: str, word: str) -> None:
    class Forgetful(Portal):
        beats = 0

        def page(self, target: str, name: str, form: dict[str, str], port: int) -> tuple[int, str]:
            self.beats += name == "GetHeartBit"
            # the first one belongs to the login
            return (200, answer) if name == "GetHeartBit" and self.beats > 1 else super().page(target, name, form, port)

    async with listening(Forgetful("CTC")) as port:
        outcome = await heartbeat(_seat(port), _box("ctc_hw_old"), None)
    assert outcome.verdict is Verdict.FAILED and word in outcome.reason


async def test_a_box_that_was_thrown_out_logs_in_again_and_lists_the_same() -> None:
    class OneAtATime(Portal):
        lists = 0

        def page(self, target: str, name: str, form: dict[str, str], port: int) -> tuple[int, str]:
            self.lists += name == "getchannellistHWCTC.jsp"
            third = name == "getchannellistHWCTC.jsp" and self.lists == 3
            return (403, "session lost") if third else super().page(target, name, form, port)

    portal = OneAtATime("CTC")
    async with listening(portal) as port:
        outcome = await relogin(_seat(port), _box("ctc_hw_old"))
    assert outcome.verdict is Verdict.OK and portal.lists == 4, outcome.reason
    logins = [path for path, _, _ in portal.asked].count("/EPG/jsp/ValidAuthenticationHWCTC.jsp")
    assert logins == 3


@pytest.mark.parametrize("lasting", [True, False])
async def test_another_list_after_the_second_login_fails(lasting: bool) -> None:
    class Fickle(Portal):
        lists = 0

        def page(self, target: str, name: str, form: dict[str, str], port: int) -> tuple[int, str]:
            status, text = super().page(target, name, form, port)
            if name == "getchannellistHWCTC.jsp":
                self.lists += 1
                if self.lists > 1:
                    return (200, text.replace("安全用电", "防火")) if lasting else (403, "")
            return status, text

    async with listening(Fickle("CTC")) as port:
        outcome = await relogin(_seat(port), _box("ctc_hw_old"))
    assert outcome.verdict is Verdict.FAILED


OUTCOMES = (
    Outcome(box="a", action=Action.PAUSE, verdict=Verdict.OK, lesson="1"),
    Outcome(box="a", action=Action.PAUSE, verdict=Verdict.FAILED, lesson="2", title="<课>", reason="坏\0 & <bad>"),
    Outcome(box="a", action=Action.LOGIN, verdict=Verdict.OK),
    Outcome(box="b", action=Action.PAUSE, verdict=Verdict.NO_KEY, lesson="1", reason='"没有" / no key'),
    Outcome(box="b", action=Action.REDIRECT, verdict=Verdict.NOT_ASKED, reason="没有"),
)


def test_one_grid_for_a_manager() -> None:
    html = page([], {}, compare({}), portal="", made="", outcomes=OUTCOMES)
    assert html.index("登录 login") < html.index("暂停 pause") < html.index("重定向 redirect")
    assert "不通 failed 1/2" in html and "无此键 no key" in html and "未触发 not asked" in html
    assert "有动作不通 Some actions failed</p>" not in html and "有动作不通 Some actions failed：2/3" in html
    assert "<课>" not in html and "&lt;课&gt; 暂停 pause" in html
    fine = page([], {}, compare({}), portal="", made="", outcomes=OUTCOMES[2:])
    assert "所有动作都通 All actions work：1/1" in fine
    assert grid.table((), {}) == ""


def test_actions_in_junit() -> None:
    root = Xml.fromstring(document([], compare({}), OUTCOMES))
    suites = {suite.get("name"): suite for suite in root.iter("testsuite")}
    assert (suites["a"].get("tests"), suites["a"].get("failures")) == ("3", "1")
    assert (suites["b"].get("tests"), suites["b"].get("failures")) == ("2", "0")
    assert len(list(suites["b"].iter("skipped"))) == 2
    assert [case.get("name") for case in suites["a"].iter("testcase")] == ["pause 1", "pause 2 <课>", "login"]


def test_durations_that_boxes_were_told_are_compared() -> None:
    listing = (Offer(item_id="7", title="七", column="", family="video", url="x"),)
    rows = [_row(box=box, announced_s=each) for box, each in (("a", 12.0), ("b", 12.011), ("c", 12.5), ("d", None))]
    found = compare({each: listing for each in "abcd"}, rows)
    assert [(each.kind, each.box, each.here) for each in found.differences] == [("duration", "c", "12.500")]
