"""DASH manifests: exactly this text, and well-formed XML whatever the names are. Strangers play them elsewhere."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from wire.mpd import AdaptationSet, Manifest, Representation, Segments, TextTrack, write_mpd

TIMES = Segments("R40/v/video.mp4", "R40/v/video-$Number%05d$.m4s", 12800, 1024, (1024, 77824, 154624), (76800,) * 3)
VIDEO = Representation("R40-video", "avc1.4D401E", 900_000, TIMES, (1024, 576), 29.97)
NAMESPACE = "{urn:mpeg:dash:schema:mpd:2011}"


def test_writes_exactly_this() -> None:
    text = write_mpd(Manifest(14.52, (AdaptationSet("video", (VIDEO,), aligned=True),)))
    assert text == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011" type="static" '
        'mediaPresentationDuration="PT14.520S" minBufferTime="PT2.000S">\n'
        '<Period id="1" start="PT0S">\n'
        '<AdaptationSet id="1" contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1">\n'
        '<Representation id="R40-video" codecs="avc1.4D401E" bandwidth="900000" width="1024" height="576" sar="1:1" '
        'frameRate="2997/100">\n'
        '<SegmentTemplate timescale="12800" presentationTimeOffset="1024" startNumber="1" '
        'initialization="R40/v/video.mp4" media="R40/v/video-$Number%05d$.m4s">\n'
        "<SegmentTimeline>\n"
        '<S t="1024" d="76800" r="2"/>\n'
        "</SegmentTimeline>\n</SegmentTemplate>\n</Representation>\n</AdaptationSet>\n</Period>\n</MPD>\n"
    )


spans = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=30)


@given(spans)
def test_the_timeline_says_every_segment(rows: list[tuple[int, int]]) -> None:
    """Read back as a player does: ``t`` only where it does not follow, ``r`` more of the same."""
    starts, durations, at = [], [], 0
    for gap, duration in rows:
        at += gap
        starts.append(at)
        durations.append(duration)
        at += duration
    times = Segments("i", "m", 1, 0, starts, durations)
    text = write_mpd(Manifest(1.0, (AdaptationSet("video", (Representation("r", "c", 1, times),)),)))
    found, now = [], 0
    for each in ElementTree.fromstring(text).iter(f"{NAMESPACE}S"):
        now = int(each.get("t", now))
        for _ in range(1 + int(each.get("r", 0))):
            found.append((now, int(each.get("d", 0))))
            now += int(each.get("d", 0))
    assert found == list(zip(starts, durations, strict=True))


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20))
def test_labels_are_text_whatever_they_hold(label: str) -> None:
    text = write_mpd(Manifest(1.0, (), (TextTrack("subtitles/zh.vtt", "zh", label),)))
    (found,) = ElementTree.fromstring(text).iter(f"{NAMESPACE}Label")
    assert (found.text or "") == label
