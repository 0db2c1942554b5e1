"""The ZTE-style grammar: whatever is put in comes out again, and no text makes a reader fail in an unplanned way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import ctc, zte

TITLES = st.text(max_size=60)


@given(titles=st.lists(TITLES, max_size=6))
def test_any_title_leaves_the_builder_page_whole(titles: list[str]) -> None:
    made = []
    for number, title in enumerate(titles, start=1):
        name = zte.screen_text(title)
        channel = ctc.Channel(str(number), name, str(number), f"rtsp://h/vod/{number}.mpg")
        made.append((channel, zte.ChannelInfo(str(number), "0", "0", "0", str(number), name, "1")))
    read = zte.parse_builder_page(zte.write_builder_lines(made))
    assert read.count == len(titles) and read.deviations == ()
    assert [(each.channel_id, each.name, each.url) for each in read.channels] == [
        (each.channel_id, each.name, each.url) for each, _ in made
    ]
    assert list(read.infos) == [info for _, info in made]


@given(text=TITLES)
def test_screen_text_is_stable_and_that_of_the_family_but_for_brackets(text: str) -> None:
    safe = zte.screen_text(text)
    assert zte.screen_text(safe) == safe and not set("()") & set(safe)
    assert safe.replace("（", "(").replace("）", ")") == ctc.screen_text(text).replace("（", "(").replace("）", ")")


@given(
    # A naive bound, because hypothesis wants it so; what it makes is UTC.
    moment=st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(UTC)),  # noqa: DTZ001
    hours=st.integers(-12, 14),
)
def test_times_survive_to_the_second(moment: datetime, hours: int) -> None:
    offset = timedelta(hours=hours)
    try:
        text = zte.write_time(moment, offset)
    except OverflowError:
        return
    assert zte.parse_time(text, offset) == moment.replace(microsecond=0)


WORDS = [
    "jsSetConfig('",
    "jsSetChannelInfo(",
    "Channel",
    "','",
    "');",
    '="',
    '"',
    ",",
    "'",
    "(",
    ")",
    "GetAuthInfo('",
    "window.location",
    "ChannelID",
    "ChannelURL",
    "weburl=",
    "+usertoken+",
    "rebuildsessionresponse.jsp",
    "qrcodeerror.jsp?errorcode=",
    "9",
    "<form",
    "action=",
    ">",
    "\\",
    "é",
]
PIECES = st.lists(st.sampled_from([*WORDS, "\n", "\x00", " "]), max_size=60).map("".join)


@given(text=st.text(max_size=200) | PIECES)
def test_readers_read_or_say_why_not(text: str) -> None:
    for reader in (
        zte.parse_auth_info,
        zte.parse_builder_page,
        zte.parse_channel_infos,
        zte.parse_error,
        zte.parse_form_action,
        zte.parse_js_set_configs,
        zte.parse_location,
        lambda page: zte.parse_time(page, timedelta(hours=8)),
        lambda page: zte.parse_rebuild(page, "T"),
    ):
        try:
            reader(text)
        except ctc.CtcError as error:
            assert str(error)


def test_a_client_may_read_the_positional_call_as_numbers_or_words_of_either_quote() -> None:
    call = "jsSetChannelInfo(1,'1',7200,\"1\",'900001','教育频道','live',1,0,0,0,0,0,0,'','',1,1,'','','');"
    infos, odd = zte.parse_channel_infos(call)
    assert odd == () and infos[0].channel_name == "教育频道" and infos[0].tstv_time == "7200"
    assert infos[0].tv_pause_enable == "1" and infos[0].allow_net_type == ""


def test_what_is_short_or_long_is_told() -> None:
    infos, odd = zte.parse_channel_infos("jsSetChannelInfo(1,2); jsSetChannelInfo(1,0,0,0,7,'x','1');")
    assert [each.channel_id for each in infos] == ["7"] and [each.code for each in odd] == ["info-short", "info-count"]


@pytest.mark.parametrize(
    "text", ["2026.13.01 00:00:00", "2026.02.30 08:00:00", "0001.01.01 00:00:00", "20261124080000", ""]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ctc.CtcError, match="not a time"):
        zte.parse_time(text, timedelta(hours=8))


def test_a_lost_session_names_where_it_is_rebuilt() -> None:
    page = zte.write_rebuild("/iptvepg/function/rebuildsessionresponse.jsp?UserToken=", "&x=1")
    assert zte.parse_rebuild(page, "ABC") == "/iptvepg/function/rebuildsessionresponse.jsp?UserToken=ABC&x=1"
    assert zte.parse_rebuild("<p>channels</p>", "ABC") is None
    assert zte.parse_error(zte.write_error(1302)) == 1302 and zte.parse_error(page) is None
