"""Whatever is put in comes out again, and no bytes of a peer make a reader fail in an unplanned way."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from wire import ctc

WORD = st.text(string.ascii_letters + string.digits + "@.:-_ ", max_size=40)
KINDS = st.sampled_from(ctc.EncryptionType)
SPELLINGS = st.sampled_from(["padded", "unpadded"])
PASSWORDS = st.text(string.ascii_letters + string.digits + string.punctuation, min_size=1, max_size=40)


@given(
    fields=st.tuples(WORD, WORD, WORD, WORD, WORD, WORD),
    reserved=st.none() | WORD,
    # a last field that ends in no control character: so do all suffixes in the field
    suffix=st.sampled_from(["CTC", "CU", "CM"]),
    password=PASSWORDS,
    kind=KINDS,
    md5_hex=SPELLINGS,
    padding=st.sampled_from(["pkcs5", "ones-to-128", "zeros-to-48"]),
)
def test_an_authenticator_survives_every_key_rule_and_padding(
    fields, reserved, suffix, password, kind, md5_hex, padding
) -> None:
    made = ctc.Authenticator(*fields, reserved=reserved, suffix=suffix)
    text = ctc.encrypt(made.build(), password, kind, md5_hex=md5_hex, padding=padding)
    read = ctc.open_authenticator(text.lower(), password, kind, md5_hex=md5_hex)
    assert (read.random, read.encrypt_token, read.user_id, read.stbid, read.ip, read.mac) == fields
    assert (read.reserved, read.suffix) == (reserved, suffix)


@given(titles=st.lists(st.text(max_size=60), max_size=8), face=st.sampled_from(ctc.Face))
def test_any_title_leaves_the_list_whole(titles: list[str], face: ctc.Face) -> None:
    made = [
        ctc.Channel(str(number), ctc.screen_text(title), str(number), f"rtsp://h/vod/{number}.mpg")
        for number, title in enumerate(titles, start=1)
    ]
    page = ctc.write_channel_lines(face, made)
    for style in ("quote-scan", "regex"):
        read = ctc.parse_channel_page(page, style)
        assert read.count == len(titles) and read.deviations == ()
        assert [(each.channel_id, each.name, each.url) for each in read.channels] == [
            (each.channel_id, each.name, each.url) for each in made
        ]
        assert all(each.deviations == () for each in read.channels)


@given(text=st.text(max_size=80))
def test_screen_text_is_stable_and_safe(text: str) -> None:
    safe = ctc.screen_text(text)
    assert ctc.screen_text(safe) == safe
    assert ctc.require_safe(safe, "title", also=",") == safe


@given(beat=st.builds(ctc.Heartbeat, st.booleans(), st.integers(1, 10**6), st.from_regex("[0-9]{0,8}", fullmatch=True)))
def test_a_heartbeat_survives(beat: ctc.Heartbeat) -> None:
    assert ctc.parse_heartbeat(ctc.write_heartbeat(beat)) == beat


PIECES = st.lists(
    st.sampled_from(
        [
            "Authentication.CTCSetConfig('",
            "Channel",
            "','",
            "');",
            '="',
            '"',
            ",",
            "<input ",
            "name=",
            "value='",
            ">",
            "'",
            "[HEARTBIT]",
            "UserValid=",
            "[END]",
            "\n",
            "EncryptToken = ",
            "ChannelID",
            "ChannelURL",
            "\\",
            "\x00",
            "é",
        ]
    ),
    max_size=60,
).map("".join)


@given(text=st.text(max_size=200) | PIECES)
def test_readers_read_or_say_why_not(text: str) -> None:
    for reader in (
        ctc.parse_token_page,
        ctc.parse_channel_page,
        ctc.parse_channel_list,
        ctc.parse_heartbeat,
        ctc.parse_inputs,
        ctc.parse_set_configs,
    ):
        try:
            reader(text)
        except ctc.CtcError as error:
            assert str(error)


@given(raw=st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_or_refused(raw: bytes) -> None:
    for reader in (ctc.decode_page, ctc.parse_plaintext, lambda each: ctc.decrypt(each.hex(), "123456")):
        try:
            reader(raw)
        except ctc.CtcError as error:
            assert str(error)
