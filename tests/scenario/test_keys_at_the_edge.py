"""Boxes press every key they have at a serving edge: by each transport, in each spelling, and in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path
from xml.etree import ElementTree as Xml

import msgspec
import pytest

from fixtures.lessons import make_counted_lesson
from runtime.clock import SystemClock
from stb_emulator.boxes import load_all
from stb_emulator.lab.parity import compare, with_guides
from stb_emulator.lab.visits import guides
from stb_emulator.observe import Offer, PlayError
from stb_emulator.players import Key, Press
from stb_emulator.portals import Window
from stb_emulator.portals.huawei.portal import HuaweiPortal
from stb_emulator.seat import Seat
from tests.edge_lab import publish, serve
from tests.served import LATE, run
from wire.ctc import parse_channel_page

FRAMES = 300
"""12 s: long enough to wind."""
BOXES = {
    "ctc_hw_c20": "MP2T/RTP/TCP",
    "cm_hw_old": "MP2T/UDP",
    "zte_b860": "MP2T/RTP/UDP",
    "cu_hw_old": "MP2T/TCP",
    "pc_progressive": "HTTP progressive",
}
WINDS = ("ctc_hw_c20", "cm_hw_old")


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("keys")
    make_counted_lesson(root / "lesson.mp4", frames=FRAMES, title="安全用电", seed=3)
    (item,) = publish(root, [root / "lesson.mp4"]).values()
    for user, password, key in (("edu001@itv", "123456", "0001"), ("edu002@itv", "100001", "0002")):
        add = ("edge-server", "account", "add", user, "--password-stdin", "--key-type", key)
        run(*add, "--dir", str(root / "edge"), "--json", given=password + "\n")
    with serve(root, environment={**LATE, "EDGE_SERVER_CHANNELS": f"教育频道={item}"}) as served:
        yield served.http


@pytest.mark.timeout(120)  # 12 s on an idle machine, beside publishing
def test_every_key_does_what_it_should_on_every_box(portal: str, tmp_path: Path) -> None:
    words = [word for box in BOXES for word in ("--box", box)]
    files = ("--html", str(tmp_path / "report.html"), "--junit", str(tmp_path / "report.xml"))
    told = run(
        "stb-emulator",
        "matrix",
        "--portal",
        portal,
        *words,
        "--actions",
        "login,list,pause,seek,trick,end,heartbeat,relogin,redirect",
        "--concurrency",
        "32",
        *files,
        "--json",
        fine=(0, 1),
        timeout_s=110,
    )
    found = {(line["box"], line["action"]): line for line in told if line["type"] == "action"}
    assert {key: line["reason"] for key, line in found.items() if line["verdict"] == "failed"} == {}
    for box in BOXES:
        assert found[box, "login"]["verdict"] == found[box, "list"]["verdict"] == "ok"
        for action in ("pause", "seek", "end", "relogin"):
            assert found[box, action]["verdict"] == "ok"
        assert found[box, "trick"]["verdict"] == ("ok" if box in WINDS else "no_key")
        assert found[box, "heartbeat"]["verdict"] == ("no_key" if box == "pc_progressive" else "ok")
        (seek,) = found[box, "seek"]["pressed"]
        assert seek["proof"] == "frame_code" and 5.0 <= seek["at_s"] <= 7.3
    assert found["zte_b860", "redirect"]["verdict"] == "not_asked"
    assert told[-1]["ok"] is True
    assert "所有动作都通" in (tmp_path / "report.html").read_text(encoding="utf-8")
    cases = list(Xml.parse(tmp_path / "report.xml").iter("testcase"))
    assert len(cases) == len(found) + 1 and not list(Xml.parse(tmp_path / "report.xml").iter("failure"))


GUIDED = ("cm_hw_old", "zte_b860", "mag250", "xtream_app")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("zone_min", [480, 0])
async def test_programmes_begin_at_one_moment_in_every_dialect(portal: str, zone_min: int) -> None:
    boxes = [load_all()[name] for name in GUIDED]
    clock = SystemClock()
    window = Window(clock.utc(), clock.utc() + timedelta(hours=4), timezone(timedelta(minutes=zone_min)))
    found = await guides(Seat(portal_url=portal, clock=clock), boxes, window)
    assert set(found) == set(GUIDED)
    parity = with_guides(compare({}), found)
    if zone_min == 480:
        assert [each for each in parity.differences if each.kind == "programme"] == []
        assert all(not isinstance(each, PlayError) and len(each["教育频道"]) == 20 for each in found.values())
    else:  # who takes the village's clock for UTC is seen: two families name no zone
        apart = {each.box for each in parity.differences if each.kind == "programme"}
        assert apart in ({"cm_hw_old", "zte_b860"}, {"mag250", "xtream_app"})


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("style", "asked"), [("clock", "PLAY Range: clock="), ("playseek", "playseek="), ("npt", "")])
async def test_a_moment_of_a_channel_is_asked_for_as_the_box_spells_it(portal: str, style: str, asked: str) -> None:
    plain = load_all()["cm_hw_old"]
    assert plain.rtsp
    box = msgspec.structs.replace(
        plain, rtsp=msgspec.structs.replace(plain.rtsp, seek_style=style, time_style="14-gmt")
    )
    clock = SystemClock()
    async with Seat(portal_url=portal, clock=clock).line(box) as line:
        huawei = HuaweiPortal(box, portal, line, clock)
        await huawei.login()
        listed = parse_channel_page(await huawei.channel_page()).channels
    channel = next(each for each in listed if each.other("TimeShift") == "1")
    moment = clock.utc() - timedelta(seconds=45)
    seat = Seat(portal_url=portal, clock=clock, seconds=1.0, presses=(Press(Key.SHIFT, 1.0, moment=moment),))
    url = channel.other("TimeShiftURL") or channel.urls[-1]
    row = await seat.play_url(box, Offer(item_id="900001", title="", column="", family="video", url=url, live=True))
    assert (row.ok, row.reason) == (True, "")
    (pressed,) = row.pressed
    assert pressed.asked.startswith(asked) and pressed.has_key == (style != "npt")
    if style == "clock":
        assert pressed.at_s is not None and abs(pressed.at_s - moment.timestamp()) <= 3.0
    if style != "npt":
        assert pressed.frames >= 25
