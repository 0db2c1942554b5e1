"""What HLS says of packaged lessons."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from edge_server.egress.hls import zero_90khz
from edge_server.packager import Packaged
from media.mp4.fmp4 import Fmp4Index
from media.ts_index import TsKeyframe
from tests.unit.test_ts_index import make_index


def test_subtitles_begin_with_the_lesson_not_with_a_late_first_picture() -> None:
    """The first picture is shown 0.1 s late; its time in the index is 0, for there is nothing to begin at before."""
    late = (
        TsKeyframe(0.0, 0, 0.0, 27_000_000, {0: 0}, 188, 279_000),
        TsKeyframe(2.1, 188, 2.0, 81_000_000, {0: 0}, 188, 459_000),
    )
    packaged = Packaged(Path(), Path(), make_index(keyframes=late), Path(), cast(Fmp4Index, None), 0)
    assert zero_90khz(packaged, "ts") == 270_000
