"""Which disorder of painted numbers is a fault: a new lesson is none in a channel, a gap is none by WebRTC."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.frame_code import draw
from stb_emulator.boxes import load_all
from stb_emulator.observe import Observation, Offer, Stage
from stb_emulator.observe.judge import Run, judge
from stb_emulator.observe.leg import Leg
from stb_emulator.observe.tally import Tally
from stb_emulator.observe.timeline import BufferModel, VideoTimes


def shown(numbers: list[int], *, live: bool, container: str) -> Observation:
    leg = Leg(BufferModel(1.0, 1.0))
    leg.video, leg.video_times = "h264", VideoTimes()
    for place, number in enumerate(numbers):
        luma = np.full((64, 320), 100 + place % 50, np.uint8)
        draw(luma, number)
        leg.picture(luma, place * 0.04, 0.0, corrupt=False)
    tally = Tally([leg])
    tally.container = container
    box = load_all()["whep_viewer" if container == "webrtc" else "new_hls_ts"]
    offer = Offer(item_id="x", title="", column="", family="video", url="", live=live)
    return judge(Run(box, offer, 0.0, 0.1), tally, None)


@pytest.mark.parametrize(
    ("numbers", "live", "container", "ok"),
    [
        ([0, 1, 2, 3], False, "mpegts", True),
        ([0, 1, 3, 4], False, "mpegts", False),
        ([0, 2, 1, 3], False, "mpegts", False),
        ([5, 6, 7, 8], False, "mpegts", False),
        ([5, 6, 7, 8], True, "mpegts", True),
        ([8, 9, 0, 1], True, "mpegts", True),
        ([5, 6, 8, 9], True, "mpegts", False),
        ([5, 6, 6, 7], True, "mpegts", False),
        ([0, 1, 3, 4], False, "webrtc", True),
        ([0, 2, 1, 3], False, "webrtc", False),
        ([0, 1, 1, 2], False, "webrtc", False),
    ],
)
def test_numbers(numbers: list[int], live: bool, container: str, ok: bool) -> None:
    row = shown(numbers, live=live, container=container)
    assert (row.ok, row.stage) == (ok, Stage.DONE if ok else Stage.CONTENT), row.reason
