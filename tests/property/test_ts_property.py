"""What numpy does for many samples at once is what a slow reading of the standards does for one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import Unmuxable
from media.ts_nal import access_units, h264, look, start_codes
from media.ts_pes import VIDEO_STREAM_ID, pes_head_bytes, write_pes_heads
from media.ts_sound import aac
from wire.mpegts import write_pes_header

SPS, PPS = b"\x67\x4d\x40\x1e", b"\x68\xee"
CODE = b"\0\0\0\1"
HEAD = CODE + b"\x09\xf0"

nal = st.one_of(
    st.just(b""),
    st.sampled_from([b"\x09\xf0", b"\x67own", b"\x68own", b"\x65idr", b"\x06sei"]),
    st.builds(lambda kind, body: bytes([kind]) + body, st.sampled_from([0x41, 0x61, 0x65]), st.binary(max_size=40)),
)
samples_of_nals = st.lists(st.lists(nal, max_size=6), min_size=1, max_size=8)


def record(width: int) -> bytes:
    sets = b"\xe1" + len(SPS).to_bytes(2, "big") + SPS + b"\x01" + len(PPS).to_bytes(2, "big") + PPS
    return b"\x01\x4d\x40\x1e" + bytes([0xFC | (width - 1)]) + sets


def slow(nals: list[bytes]) -> bytes:
    kinds = {each[0] & 31 for each in nals if each}
    kept = [each for each in nals if each and each[0] & 31 != 9]
    if 5 not in kinds or {7, 8} <= kinds:
        return HEAD + b"".join(CODE + each for each in kept)
    if 7 not in kinds:
        sets = [SPS] if 8 in kinds else [SPS, PPS]
        return HEAD + b"".join(CODE + each for each in sets + kept)
    last = max(place for place, each in enumerate(kept) if each[0] & 31 == 7) + 1
    return HEAD + b"".join(CODE + each for each in [*kept[:last], PPS, *kept[last:]])


@given(samples_of_nals, st.sampled_from([1, 2, 4]), st.binary(max_size=5))
def test_access_units(samples, width, gap):
    codec = h264(record(width), "x.mp4")
    data, offsets, sizes = gap, [], []
    for nals in samples:
        body = b"".join(len(each).to_bytes(width, "big") + each for each in nals)
        offsets.append(len(data))
        sizes.append(len(body))
        data += body + gap
    data += b"."
    raw = np.frombuffer(data, np.uint8)
    found = look(codec, raw, np.array(offsets), np.array(sizes), "x.mp4")
    want = [slow(nals) for nals in samples]
    pieces = access_units(codec, found, memoryview(data), [b""] * len(samples))
    made = bytearray(b"".join(b"".join(each) for each in pieces))
    lengths = codec.head_bytes[found.kinds] + found.bodies
    codes = start_codes(found, np.cumsum(lengths) - found.bodies)
    for at in codes.tolist():
        made[at : at + 4] = CODE
    assert bytes(made) == b"".join(want)
    assert lengths.tolist() == [len(each) for each in want]
    assert found.keys.tolist() == [any(each and each[0] & 31 == 5 for each in nals) for nals in samples]


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=5))
def test_lengths_that_do_not_fit_are_refused(bodies):
    data = b"".join(len(each).to_bytes(4, "big") + each for each in bodies)
    codec = h264(record(4), "x.mp4")
    for cut in range(1, len(bodies[-1]) + 4):
        with pytest.raises(Unmuxable, match=r"longer than its sample; transcode the file"):
            look(codec, np.frombuffer(data, np.uint8), np.array([0]), np.array([len(data) - cut]), "x.mp4")


@given(
    st.lists(
        st.tuples(st.integers(1, 200_000), st.integers(0, (1 << 33) - 1), st.integers(0, 300_000)),
        min_size=1,
        max_size=10,
    )
)
def test_pes_heads(units):
    es_bytes, pts, early = (np.array(each) for each in zip(*units, strict=True))
    dts = np.maximum(pts - early, 0)
    heads = write_pes_heads(VIDEO_STREAM_ID, es_bytes + pes_head_bytes(pts, dts), pts, dts)
    rows = zip(es_bytes.tolist(), pts.tolist(), dts.tolist(), strict=True)
    assert heads == [write_pes_header(VIDEO_STREAM_ID, size, shown, decoded) for size, shown, decoded in rows]


@given(st.lists(st.binary(min_size=1, max_size=800), min_size=1, max_size=6), st.booleans())
def test_sound_frames_can_be_read_back(bodies, latm):
    """ADTS: after seven bytes; LATM: after three bytes, 45 bits of configuration and the length, not on a byte."""
    form = aac(b"\x11\x90", "latm" if latm else "adts", "x.mp4")
    sizes = np.array([len(each) for each in bodies])
    data = b"".join(bodies)
    pieces = form.frames(memoryview(data), np.cumsum(sizes) - sizes, sizes)
    each = len(pieces) // len(bodies)
    frames = [b"".join(pieces[at : at + each]) for at in range(0, len(pieces), each)]
    assert [len(frame) for frame in frames] == form.sizes(sizes).tolist()
    for frame, body in zip(frames, bodies, strict=True):
        if not latm:
            assert frame[:2] == b"\xff\xf1" and frame[7:] == body
            assert (frame[3] & 3) << 11 | frame[4] << 3 | frame[5] >> 5 == len(frame)
            continue
        assert frame[0] == 0x56 and (frame[1] & 0x1F) << 8 | frame[2] == len(frame) - 3
        bits = "".join(f"{byte:08b}" for byte in frame[3:])[45:]
        read = [int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8)]
        length_bytes = next(place for place, value in enumerate(read) if value < 255) + 1
        assert sum(read[:length_bytes]) == len(body)
        assert bytes(read[length_bytes:]) == body
