"""Any field values survive writing and reading; noise makes reader and meter fail by WireError or not at all."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from wire.mpegts import (
    PCR_MODULO,
    PTS_MODULO,
    ContinuityMeter,
    Pat,
    Pmt,
    WireError,
    parse_packet,
    parse_pat,
    parse_pes_header,
    parse_pmt,
    parse_section,
    write_packet,
    write_pat,
    write_pes_header,
    write_pmt,
)

pids = st.integers(0, 0x1FFF)
stamps = st.integers(0, PTS_MODULO - 1)


@given(pids, st.integers(0, 15), st.binary(max_size=176), st.none() | st.integers(0, PCR_MODULO - 1), st.booleans())
def test_packet(pid, continuity, payload, pcr, mark):
    back = parse_packet(write_packet(pid, continuity, payload, pcr=pcr, discontinuity=mark))
    assert (back.pid, back.continuity, back.payload, back.pcr, back.discontinuity) == (
        pid,
        continuity,
        payload,
        pcr,
        mark,
    )
    assert back.deviations == ()


@given(stamps, st.none() | stamps, st.integers(0, 100_000))
def test_pes_header(pts, dts, size):
    data = write_pes_header(0xE0, size, pts, dts)
    back = parse_pes_header(data)
    assert (back.pts, back.dts or pts, back.header_bytes, back.deviations) == (pts, dts or pts, len(data), ())


@given(
    st.integers(0, 65535),
    st.lists(st.tuples(st.integers(0, 65535), pids), max_size=200),
    st.lists(st.tuples(st.integers(0, 255), pids), max_size=200),
)
def test_sections(number, programmes, streams):
    pat = Pat(number, tuple(programmes))
    assert parse_pat(write_pat(pat)) == pat
    pmt = Pmt(number, 0x100, tuple(streams))
    assert parse_pmt(write_pmt(pmt)) == pmt


@given(st.binary(min_size=188, max_size=188), st.booleans())
def test_noise(data, synced):
    data = b"\x47" + data[1:] if synced else data
    ContinuityMeter().feed(data)
    with suppress(WireError):
        packet = parse_packet(data)
        for read in (parse_pes_header, parse_section, parse_pat, parse_pmt):
            with suppress(WireError):
                read(packet.payload)
