"""Real files that nobody here made, from the source to every way of the edge: no picture lost, none changed.

For each file that INDEX.tsv calls playable: the rendition has as many pictures as the source, and the very same ones
where the stream is copied; every way brings the rendition's pictures, all, in order. Ways whose bytes are the same are
decoded once. Three small files always, the whole set with ``--all-media`` (three quarters of an hour on two cores).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from central_platform.ingest import Refused, ingest
from tests.edge_lab import Running, publish, serve
from tests.peers import ts_receiver
from tests.peers.tr101290 import check
from tests.scenario.test_ingest_real_media import COPIED
from tests.ways import pictures, pictures_of, ways

pytestmark = pytest.mark.stranger("ffmpeg", "ffprobe")
ALWAYS = {"bad_smallest.mp4", "flv_h264_aac.flv", "ts_h264_no_aud.ts"}
RENDITIONS = ("R12", "R40")
PROFILES = ("RTP/AVP/TCP", "RTP/AVP", "MP2T/UDP")
LIMIT_S = 1800
DECODE_S = 400
REFUSED_ALTHOUGH_PLAYABLE = {
    "h264_fake_aux_tracks_interleaved.mp4": "five pictures of 10x12, all of the same time",
    "ts_junk_prefix.ts": "half of its six pictures are beyond repair (29 decoding errors in INDEX.tsv)",
}
OTHER_NUMBER = {
    "av1_363s_180p.mp4": ("60 a second: R12 has every second one", (10883, 21766)),
    "avi_mpeg4_mp3.avi": ("the file itself says that the first one is shown three times", (98, 98)),
    "h264_editlist_positive_shift.mp4": ("the edit list begins with a second without picture", (300, 300)),
    "第01课 安全用电 (高清).mp4": ("the same file", (300, 300)),
    "mkv_pgs.mkv": ("says 600 a second", (25, 25)),
    "phone_android_slowmo_vfr.mp4": ("variable rate, made constant", (16, 16)),
    "phone_portrait_4k60_rot90.mp4": ("60 a second: R12 has every second one", (9, 18)),
    "rtp_seqwrap_capture.pcap": ("what the capture lost is filled by the picture before", (56, 56)),
    "ts_dvb_576i50_mpeg2.ts": ("begins within a group: sound first, filled by the first picture", (63, 63)),
    "ts_hevc_2160p_scte35.ts": ("begins within a group: sound first, filled by the first picture", (30, 30)),
    "ts_hls_cea608_pts0.ts": ("sound begins before and ends after the picture", (60, 60)),
    "ts_mpeg2_1080p_2.5s.ts": ("sound begins before and ends after the picture", (60, 60)),
    "vvc.mp4": ("ffmpeg 5.1 cannot decode the source", (120, 120)),
    "webm_vp8_45s.webm": ("variable rate, made constant", (1337, 1337)),
}
"""Why, and how many R12 and R40 have."""


def _folder() -> Path | None:
    given = os.environ.get("SHARED_MEDIA")
    folder = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "media"
    return folder if folder.is_dir() else None


def _index() -> dict[str, list[str]]:
    """INDEX.tsv: columns of each file."""
    folder = _folder()
    rows = (folder / "INDEX.tsv").read_text().splitlines()[1:] if folder else []
    return {row.split("\t")[0]: row.split("\t") for row in rows}


INDEX = _index()


def _kinds(name: str) -> set[str]:
    """Kinds of the streams that ffprobe found, by INDEX.tsv."""
    return {each.strip().split(":")[0] for each in INDEX[name][6].split(";")} & {"v", "a"}


def _playable(name: str) -> bool:
    """What INDEX.tsv says: moving pictures or sound, and nobody calls the file broken, encrypted or empty."""
    why = INDEX[name][9]
    dead = name.startswith(("bad_", "img_", "sub_")) or "encrypted" in why or "no media" in why
    return bool(_kinds(name)) and INDEX[name][3] != "-" and not dead


def _files() -> list[Any]:
    if not INDEX:
        return [pytest.param("", marks=pytest.mark.skip(reason="no folder of real media (set SHARED_MEDIA)"))]
    return [pytest.param(name, id=name, marks=pytest.mark.timeout(LIMIT_S)) for name in sorted(INDEX)]


@pytest.mark.parametrize("name", _files())
def test_every_way(name: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    if name not in ALWAYS and not pytestconfig.getoption("--all-media", default=False):
        pytest.skip("the whole set: --all-media")
    folder = _folder()
    assert folder is not None
    source = folder / name
    if not _playable(name) or name in REFUSED_ALTHOUGH_PLAYABLE:
        (tmp_path / "made").mkdir()
        with pytest.raises(Refused):
            ingest(source, tmp_path / "made", on_progress=lambda _: None)
        return
    item = publish(tmp_path, [source], timeout_s=LIMIT_S / 3)[source]
    with ExitStack() as stack:
        joined = {
            (rendition, rtp): _join(stack, f"239.255.{os.getpid() % 250}.{1 + 2 * number + rtp}")
            for number, rendition in enumerate(RENDITIONS)
            for rtp in (False, True)
        }
        groups = [
            f"{'rtp:' if rtp else ''}{item}/{rendition}@{sock.getsockname()[0]}:{sock.getsockname()[1]}"
            for (rendition, rtp), sock in joined.items()
        ]
        settings = {
            "EDGE_SERVER_MULTICAST": ",".join(groups),
            "EDGE_SERVER_MULTICAST_INTERFACE": "127.0.0.1",
            "EDGE_SERVER_PACING_LATE_MAX_MS": "60000",
        }
        with ThreadPoolExecutor(12) as pool, serve(tmp_path, environment=settings) as edge:
            port = int(edge.rtsp.rstrip("/").rsplit(":", 1)[1])
            live = {
                (rendition, profile): pool.submit(
                    ts_receiver.rtsp,
                    *("127.0.0.1", port, f"/vod/{item}.mpg?rendition={rendition}", profile),
                    timeout_s=LIMIT_S / 2,
                )
                for rendition in RENDITIONS
                for profile in PROFILES
            } | {
                (rendition, f"multicast {rtp}"): pool.submit(
                    ts_receiver.rounds, sock, rtp=rtp, count=1, timeout_s=LIMIT_S / 2
                )
                for (rendition, rtp), sock in joined.items()
            }
            wanted = {rendition: _over_http(edge, item, rendition) for rendition in RENDITIONS}
            dash = tuple(pictures(("-i", f"{edge.http}dash/{item}/manifest.mpd"), timeout_s=DECODE_S))
            assert dash in wanted.values()
            for (rendition, way), each in live.items():
                capture = each.result()
                stream = ts_receiver.split(capture.stream)[0] if "multicast" in way else capture.stream
                assert capture.missing == [] and stream == (edge.root / f"{rendition}.ts").read_bytes(), way
    _like_the_source(source, [wanted[rendition] for rendition in RENDITIONS])


def _join(stack: ExitStack, address: str) -> Any:
    """A socket that is in the group, with an even port whose neighbour is free."""
    data, control = ts_receiver.pair(address)
    control.close()
    port = data.getsockname()[1]
    data.close()
    return stack.enter_context(ts_receiver.join(address, port, "127.0.0.1"))


def _over_http(edge: Running, item: str, rendition: str) -> tuple[str, ...]:
    """Every way by HTTP; returns the pictures, leaves the transport stream, which was checked, in a file."""
    stored, whole = edge.root / f"{rendition}.mp4", edge.root / f"{rendition}.ts"
    stored.write_bytes(edge.get(f"/media/{item}/{rendition}.mp4"))
    wanted = pictures_of(stored, DECODE_S)
    whole.write_bytes(b"".join(edge.get(uri) for uri in edge.uris(f"/hls/{item}/ts/{rendition}/index.m3u8")))
    assert check(whole.read_bytes()).wrong == []
    assert pictures_of(whole, DECODE_S) == wanted
    for way in ("hls-ts", "hls-fmp4"):
        assert tuple(pictures(ways(edge, item, rendition)[way], timeout_s=DECODE_S)) == wanted, way
    return wanted


def _like_the_source(source: Path, made: list[tuple[str, ...]]) -> None:
    counts = tuple(len(each) for each in made)
    if source.name in OTHER_NUMBER:
        assert counts == OTHER_NUMBER[source.name][1]
    elif "v" in _kinds(source.name):
        given = tuple(pictures(("-i", str(source)), timeout_s=DECODE_S))
        assert counts == (len(given), len(given))
        assert source.name not in COPIED or made[1] == given
    else:  # a card of 25 pictures a second as long as the sound
        assert counts[0] == counts[1] > 5
