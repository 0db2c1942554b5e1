"""CMCD: the examples of CTA-5004 and its rules of writing: sorted, quoted, rounded, grouped."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stb_emulator.boxes import CmcdFace
from stb_emulator.players.hls.telling import Telling
from wire.cmcd import Cmcd, Kind, headers, query

SID = "6e2fb550-c457-11e9-bb97-0800200c9a66"


def test_the_examples_of_the_standard() -> None:
    """CTA-5004 §3.2, those that a version 1 player can send."""
    assert query(Cmcd(sid=SID)) == f"CMCD=sid%3D%22{SID}%22"
    said = Cmcd(br_kbps=3200, bs=True, d_ms=4004, mtp_kbps=25_400, nor="../300kbps/track.m4v", ot=Kind.VIDEO, pr=1.08)
    said_all = Cmcd(
        **{**{f: getattr(said, f) for f in said.__slots__}, "rtp_kbps": 15_000, "sid": SID, "tb_kbps": 6000}
    )
    assert unquote(query(said_all)) == (
        f'CMCD=br=3200,bs,d=4004,mtp=25400,nor="..%2F300kbps%2Ftrack.m4v",ot=v,pr=1.08,rtp=15000,sid="{SID}",tb=6000'
    )
    assert headers(said_all) == {
        "CMCD-Object": "br=3200,d=4004,ot=v,tb=6000",
        "CMCD-Request": 'mtp=25400,nor="..%2F300kbps%2Ftrack.m4v"',
        "CMCD-Session": f'pr=1.08,sid="{SID}"',
        "CMCD-Status": "bs,rtp=15000",
    }


@pytest.mark.parametrize(("given_ms", "said"), [(0, 0), (49, 0), (50, 100), (2149, 2100), (21_350, 21_400), (-5, 0)])
def test_lengths_of_buffers_are_rounded_to_hundreds(given_ms: float, said: int) -> None:
    assert query(Cmcd(bl_ms=given_ms)) == f"CMCD=bl%3D{said}"
    assert headers(Cmcd(dl_ms=given_ms, mtp_kbps=given_ms)) == {"CMCD-Request": f"dl={said},mtp={said}"}


def test_what_is_not_so_is_not_said() -> None:
    assert query(Cmcd()) == "" and headers(Cmcd(bs=False, su=False, pr=1.0)) == {}
    assert headers(Cmcd(bs=True, su=True)) == {"CMCD-Request": "su", "CMCD-Status": "bs"}


def test_quotes_and_backslashes_are_escaped_and_names_cut() -> None:
    assert headers(Cmcd(cid='a"b\\c')) == {"CMCD-Session": 'cid="a\\"b\\\\c"'}
    assert headers(Cmcd(cid="x" * 99)) == {"CMCD-Session": f'cid="{"x" * 64}"'}


@given(st.floats(0, 1e7), st.floats(0, 1e6), st.booleans(), st.text(max_size=20).filter(lambda t: "," not in t))
def test_keys_are_sorted_whatever_is_said(length: float, rate: float, starved: bool, name: str) -> None:
    said = query(Cmcd(bl_ms=length, br_kbps=rate, bs=starved, cid=name, ot=Kind.MUXED, st="v", sf="h", su=starved))
    assert said.startswith("CMCD=") and not set(said) & set(' "\\,&=#') - {"="} and said.count("=") == 1
    keys = [word.partition("=")[0] for word in unquote(said.removeprefix("CMCD=")).split(",")]
    assert keys == sorted(keys)


def test_a_player_tells_what_it_knows() -> None:
    telling = Telling(CmcdFace(form="headers"), "lesson")
    telling.rate_bps, telling.top_bps = 1_200_000, 2_500_000
    url, first = telling.said("http://h/a/index.m3u8", Kind.MANIFEST, 10.0)
    assert url == "http://h/a/index.m3u8"
    assert first["CMCD-Object"] == "ot=m" and first["CMCD-Request"] == "su"
    assert first["CMCD-Session"].startswith('cid="lesson",sf=h,sid="') and first["CMCD-Session"].endswith(",st=v")
    telling.measured(125_000, 0.5)
    telling.fed_s, telling.shows_since, telling.stalls = 12.0, 20.0, 1
    after = ("http://h/a/v2/seg-2.ts?t=1", "")
    _, later = telling.said("http://h/a/v1/seg-1.ts", Kind.MUXED, 23.0, lasts_s=6.0, following=after)
    assert later["CMCD-Object"] == "br=1200,d=6000,ot=av,tb=2500"
    assert later["CMCD-Request"] == 'bl=9000,mtp=2000,nor="..%2Fv2%2Fseg-2.ts%3Ft%3D1",su'
    assert later["CMCD-Status"] == "bs,rtp=4800"
    _, calm = telling.said("http://h/a/x", Kind.MUXED, 23.0, following=("http://h/a/x", "5-9"))
    assert "bs" not in calm["CMCD-Status"] and 'nrr="5-9"' in calm["CMCD-Request"] and "su" not in calm["CMCD-Request"]


def test_a_box_says_only_what_its_file_names_where_it_names() -> None:
    telling = Telling(CmcdFace(form="query", keys=("ot", "sf")), "lesson")
    assert telling.said("http://h/a?x=1", Kind.INIT, 0.0) == ("http://h/a?x=1&CMCD=ot%3Di%2Csf%3Dh", {})
    assert telling.said("http://h/a", Kind.INIT, 0.0)[0] == "http://h/a?CMCD=ot%3Di%2Csf%3Dh"
    assert Telling(None, "lesson").said("http://h/a", Kind.INIT, 0.0) == ("http://h/a", {})
