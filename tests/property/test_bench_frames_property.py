"""The load client finds the same frames as one who reads byte after byte, wherever the pieces end."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.rtp_load.frames import frames

MESSAGES = (b"RTSP/1.0 200 OK\r\nCSeq: 9\r\n\r\n", b"RTSP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n$ab\r\n")
PART = st.one_of(st.sampled_from(MESSAGES), st.tuples(st.integers(0, 3), st.binary(max_size=40)))


def octets_of(parts: list[bytes | tuple[int, bytes]]) -> bytes:
    return b"".join(
        part if isinstance(part, bytes) else bytes((0x24, part[0])) + len(part[1]).to_bytes(2, "big") + part[1]
        for part in parts
    )


@given(st.lists(st.tuples(st.lists(PART, max_size=8), st.integers(0, 60)), min_size=1, max_size=6))
def test_frames_of_many_runs(given: list[tuple[list[bytes | tuple[int, bytes]], int]]) -> None:
    texts = [octets_of(parts)[: len(octets_of(parts)) - cut or None] for parts, cut in given]
    ends = np.cumsum([len(text) for text in texts])
    begins = ends - [len(text) for text in texts]
    whole = b"".join(texts)
    found = frames(np.frombuffer(whole, np.uint8), begins, ends)
    columns = (found.run, found.at, found.channel, found.length)
    got = [
        (run, channel, whole[at : at + length])
        for run, at, channel, length in zip(*(column.tolist() for column in columns), strict=True)
    ]
    wanted, rests = [], []
    for run, (parts, _) in enumerate(given):
        at = 0
        for part in parts:
            after = at + len(octets_of([part]))
            if after > len(texts[run]):
                break
            at = after
            if not isinstance(part, bytes):
                wanted.append((run, part[0], part[1]))
        rests.append(int(begins[run]) + at)
    assert got == wanted
    assert found.rest.tolist() == rests
