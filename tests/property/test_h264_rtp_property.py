"""Whatever is packetised comes out of a receiver as it was: by our own reading of RFC 6184, and by aiortc's."""

from __future__ import annotations

from aiortc.codecs import h264 as stranger
from hypothesis import given
from hypothesis import strategies as st

from wire.h264_rtp import DELIMITER, FILLER, PAYLOAD_MAX_BYTES, packetise

HEADS = st.integers(0, 127).filter(lambda first: 1 <= first & 31 <= 23)
UNITS = st.builds(lambda first, rest: bytes((first,)) + rest, HEADS, st.binary(min_size=1, max_size=300))
LARGE = st.builds(
    lambda first, length: bytes((first,)) + bytes(n % 251 for n in range(length)), HEADS, st.integers(1, 5000)
)
ACCESS_UNITS = st.lists(UNITS | LARGE, max_size=12)


def carried(units: list[bytes]) -> list[bytes]:
    return [unit for unit in units if unit and unit[0] & 31 not in (DELIMITER, FILLER)]


def reassemble(payloads: tuple[bytes, ...]) -> list[bytes]:
    """Read payloads back, strictly: a fragment out of place is an error."""
    units: list[bytes] = []
    open_unit: bytearray | None = None
    for payload in payloads:
        kind = payload[0] & 31
        if kind == 28:
            begin, end, inner = payload[1] & 0x80, payload[1] & 0x40, payload[1] & 0x3F
            assert not (begin and end), "a unit in one fragment (RFC 6184 §5.8)"
            assert not inner & 0x20, "reserved bit"
            if begin:
                assert open_unit is None
                open_unit = bytearray((payload[0] & 0xE0 | inner & 0x1F,))
            assert open_unit is not None
            open_unit += payload[2:]
            if end:
                units.append(bytes(open_unit))
                open_unit = None
            continue
        assert open_unit is None, "something between the fragments of a unit"
        if kind == 24:
            at = 1
            while at < len(payload):
                length = int.from_bytes(payload[at : at + 2], "big")
                units.append(payload[at + 2 : at + 2 + length])
                assert len(units[-1]) == length > 0
                at += 2 + length
        else:
            units.append(payload)
    assert open_unit is None
    return units


@given(ACCESS_UNITS, st.integers(100, 1400))
def test_a_receiver_gets_the_units_back(units: list[bytes], payload_max_bytes: int) -> None:
    payloads = packetise(units, payload_max_bytes)
    assert reassemble(payloads) == carried(units)
    assert all(0 < len(payload) <= payload_max_bytes for payload in payloads)


@given(ACCESS_UNITS)
def test_aiortc_gets_the_units_back(units: list[bytes]) -> None:
    received = b"".join(stranger.h264_depayload(payload) for payload in packetise(units))
    assert received == b"".join(b"\0\0\0\1" + unit for unit in carried(units))


@given(st.integers(PAYLOAD_MAX_BYTES + 1, 100_000))
def test_fragments_have_one_size_and_the_last_may_be_shorter(length: int) -> None:
    sizes = [len(payload) for payload in packetise([bytes((0x65,)) + bytes(length - 1)])]
    assert set(sizes[:-1]) == {PAYLOAD_MAX_BYTES}
    assert 2 < sizes[-1] <= PAYLOAD_MAX_BYTES
    assert len(sizes) == -(-(length - 1) // (PAYLOAD_MAX_BYTES - 2)), "no more packets than needed"


def test_parameter_sets_go_together_and_a_picture_alone() -> None:
    sps, pps, idr = b"\x67" + bytes(20), b"\x68" + bytes(5), b"\x65" + bytes(900)
    assert packetise([b"\x09\xf0", sps, pps, idr]) == (
        b"\x78" + b"\0\x15" + sps + b"\0\x06" + pps,
        idr,
    )
