"""The portal grammar: what the vectors do not show."""

from __future__ import annotations

import pytest

from wire import ctc


def test_temp_key_of_the_protocol_notes() -> None:
    assert ctc.temp_key("0A1B2C3D4E5F60718293A4B5C6D7E8F9") == "87906CC46370B9F96EB2304FAA89CECE"
    assert ctc.temp_key("AB", "CD") == ctc.temp_key("ABCD")


def test_padded_and_unpadded_md5_differ_as_the_protocol_notes_say() -> None:
    salted, upper = ctc.EncryptionType.MD5_SALTED, ctc.EncryptionType.MD5_UPPER
    assert ctc.key_string("100001", salted, "padded") == "860179af"
    assert ctc.key_string("100001", salted, "unpadded") == "86179af5"
    assert ctc.key_string("123456", upper, "unpadded") == "E1ADC3949BA59ABBE56E057F"


@pytest.mark.parametrize(
    "bad", ['a"b', "a'b", "a,b", "a<b", "a>b", "a\\b", "a\nb", "a\x00b", "a\u2028b", "a\u0085b"], ids=ascii
)
def test_a_title_that_would_break_a_record_is_refused_raw_and_kept_readable_on_screen(bad: str) -> None:
    with pytest.raises(ctc.CtcError, match="ChannelName may not contain"):
        ctc.write_channel_list(ctc.Channel("1", bad, "1", "rtsp://h/1"))
    safe = ctc.screen_text(bad)
    assert safe[0] == "a" and safe[-1] == "b" and len(safe) == 3
    for style in ("quote-scan", "regex"):
        text = ctc.write_channel_list(ctc.Channel("1", safe, "1", "rtsp://h/1"))
        assert ctc.parse_channel_list(text, style).name == safe


def test_screen_text_is_readable_in_gbk() -> None:
    assert ctc.screen_text(""" 张老师说:"别<急>",\r\n it's 1\\2 """).encode("gbk").decode("gbk") == (
        "张老师说:＂别＜急＞＂， it’s 1＼2"
    )


def test_a_channel_refuses_keys_that_do_not_exist_or_are_fields() -> None:
    for key in ("ChannelColour", "ChannelID"):
        with pytest.raises(ctc.CtcError, match=key):
            ctc.write_channel_list(ctc.Channel("1", "n", "1", "rtsp://h/1", {key: "x"}))


def test_a_channel_record_needs_id_and_url() -> None:
    with pytest.raises(ctc.CtcError, match="ChannelURL"):
        ctc.parse_channel_list('ChannelID="1",ChannelName="x"')


def test_oddities_of_a_record_are_reported() -> None:
    read = ctc.parse_channel_list('ChannelID="1", ChannelURL="rtsp://a", ChannelURL="rtsp://b"')
    assert read.url == "rtsp://b"
    assert {each.code for each in read.deviations} == {"key-twice", "key-order", "key-missing", "text-between-pairs"}


def test_an_untrue_count_is_reported_and_a_page_without_channels_refused() -> None:
    text = ctc.write_channel_lines(ctc.Face.CU, [ctc.Channel("1", "n", "1", "rtsp://h/1")])
    read = ctc.parse_channel_page(text.replace("'ChannelCount','1'", "'ChannelCount','2'"))
    assert [each.code for each in read.deviations] == ["count-untrue"]
    assert ctc.parse_channel_page(ctc.write_channel_lines(ctc.Face.CU, [])).channels == ()
    with pytest.raises(ctc.CtcError, match="no ChannelCount"):
        ctc.parse_channel_page("<html>resignon</html>")


def test_token_page_spellings() -> None:
    read = ctc.parse_token_page("EncryptToken='AB';")
    assert (read.encrypt_token, read.user_token) == ("AB", "AB")
    assert {each.code for each in read.deviations} == {"token-spelling", "user-token-missing"}
    with pytest.raises(ctc.CtcError, match="no EncryptToken"):
        ctc.parse_token_page('var EncryptToken = "";')


def test_inputs_in_other_orders_are_read_and_reported() -> None:
    fields, deviations = ctc.parse_inputs("<input value=1 name=a><input name='a' value='x &amp; y'><input type=text>")
    assert fields == {"a": "x & y"}
    assert [each.code for each in deviations] == ["input-order", "input-twice"]


def test_session_loss_is_seen_in_both_words() -> None:
    assert ctc.is_session_lost("top.location='x?resignon=1'") and ctc.is_session_lost("SessionTimeOutJump()")
    assert not ctc.is_session_lost("<html>ok</html>")


def test_pages_are_decoded_as_boxes_do() -> None:
    assert ctc.decode_page("教育".encode(), "text/html; charset=UTF-8") == ("教育", ())
    assert ctc.decode_page("教育".encode("gbk"), "text/html; charset=GBK") == ("教育", ())
    text, deviations = ctc.decode_page("教育".encode("gbk"), "text/html; charset=UTF-8")
    assert text == "教育" and [each.code for each in deviations] == ["charset-untrue"]
    with pytest.raises(ctc.CtcError, match="neither"):
        ctc.decode_page(b"\xff\xff\xff")


@pytest.mark.parametrize("text", ["", "[END]", "[HEARTBIT]\r\nNextCallInterval=300\r\n[END]\r\n"])
def test_what_is_no_heartbeat_is_refused(text: str) -> None:
    with pytest.raises(ctc.CtcError, match="heartbeat"):
        ctc.parse_heartbeat(text)


def test_heartbeat_values_may_not_break_lines() -> None:
    with pytest.raises(ctc.CtcError, match="AdText"):
        ctc.write_heartbeat(ctc.Heartbeat(True, 300, others={"AdText": "a\r\nUserValid=false"}))


def test_heartbeat_spellings_are_reported() -> None:
    read = ctc.parse_heartbeat("[HEARTBIT]\r\nUserValid=TRUE\r\nNextCallInterval=0\r\n")
    assert read.user_valid and read.next_call_interval_s == ctc.DEFAULT_INTERVAL_S
    assert {each.code for each in read.deviations} == {"user-valid-spelling", "interval", "end-missing"}


def test_an_authenticator_refuses_fields_that_would_shift_others() -> None:
    for bad in ("a$b", "教", "a\nb"):
        with pytest.raises(ctc.CtcError, match="printable ASCII"):
            ctc.Authenticator("1", "T", bad, "S", "1.2.3.4", "M").build()


def test_more_than_eight_fields_are_read_from_the_left() -> None:
    read = ctc.parse_plaintext(b"12345678$T$u$S$1.2.3.4$1A:2B:3C:4D:5E:6F$$x$CTC")
    assert (read.encrypt_token, read.stbid, read.suffix) == ("T", "S", "CTC")
    assert [each.code for each in read.deviations] == ["extra-fields"]


def test_an_overlong_authenticator_is_refused() -> None:
    with pytest.raises(ctc.CtcError, match="1024"):
        ctc.decrypt("A" * (ctc.AUTHENTICATOR_MAX_CHARS + 16), "123456")


def test_hidden_inputs_cannot_be_broken_out_of() -> None:
    assert ctc.write_hidden_inputs({"a": "1"}) == '<input type="hidden" name="a" value="1">\n'
    for bad in ('"><script>', "a&lt;"):
        with pytest.raises(ctc.CtcError, match="may not contain"):
            ctc.write_hidden_inputs({"a": bad})


def test_set_config_cannot_be_broken_out_of() -> None:
    with pytest.raises(ctc.CtcError, match="may not contain"):
        ctc.write_set_config(ctc.Face.CTC, "UserToken", "');alert('")


@pytest.mark.parametrize("padding", ["ones-to-128", "zeros-to-48"])
def test_deviant_padding_adds_nothing_to_whole_blocks_beyond_its_length(padding: ctc.Padding) -> None:
    assert len(ctc.encrypt(b"x" * 136, "123456", padding=padding)) == 2 * 136
    assert len(ctc.encrypt(b"x" * 137, "123456", padding=padding)) == 2 * 144


def test_what_a_lesson_does_not_say_gets_the_usual_values() -> None:
    read = ctc.parse_channel_list(ctc.write_channel_list(ctc.Channel("1", "n", "1", "rtsp://h/1")))
    assert read.others == {
        "TimeShift": "0",
        "TimeShiftLength": "0",
        "ChannelSDP": "rtsp://h/1",
        "TimeShiftURL": "",
        "ChannelType": "1",
        "IsHDChannel": "1",
        "PreviewEnable": "0",
        "ChannelPurchased": "1",
        "ChannelLocked": "0",
        "ChannelLogURL": "",
        "PositionX": "0",
        "PositionY": "0",
        "BeginTime": "0",
        "Interval": "0",
        "Lasting": "0",
        "ActionType": "1",
        "FCCEnable": "0",
        "ChannelFCCIP": "",
        "ChannelFCCPort": "0",
        "ChannelFECPort": "0",
    }
