"""Offer in, answer or refusal out (RFC 9725 §4, draft-ietf-wish-whep; RFC 8829 §5.3). Pure.

Only H.264 is answered, whatever else a browser would like better: the lesson is sent as it is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import hexdigits

from edge_server.egress.whep.outgoing import Format
from wire.sdp import Attributes, MediaDescription, SdpError, Session, parse, write

VIDEO_HZ, SOUND_HZ = 90_000, 48_000
_MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
_PROFILE_UNSAID = "42e01f"
"""What browsers take a missing profile-level-id for."""
_MID_MAX_CHARS = 16
"""What fits a one-byte header extension."""
_SETUP = {"actpass": None, "active": True, "passive": False}


class Refused(Exception):
    """The offer cannot be answered."""

    def __init__(self, status: int, words: str) -> None:
        """``status``: HTTP status; ``words``: for people, Chinese first."""
        super().__init__(words)
        self.status, self.words = status, words


@dataclass(frozen=True, slots=True)
class Credentials:
    """What both sides tell each other of their transport."""

    username: str
    password: str
    fingerprints: tuple[tuple[str, str], ...]
    """(algorithm, hexadecimal digest)."""
    active: bool | None = None
    """Begins the DTLS handshake; None: either may."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an offer asks for, and how it will be sent."""

    offer: Session
    theirs: Credentials
    video: Format
    sound: Format | None
    """None: the offer wants no sound, or the lesson has none."""


@dataclass(frozen=True, slots=True)
class Side:
    """Our side of the answer."""

    mine: Credentials
    candidate: str
    """Text after ``a=candidate:``."""
    host: str
    port: int
    stream: str
    """Name of the media stream, and canonical name of its sources."""
    video_ssrcs: tuple[int, int]
    """Of the stream and of its retransmissions."""
    sound_ssrc: int


@dataclass(frozen=True, slots=True)
class Codec:
    """One payload type of an offer."""

    payload_type: int
    name: str
    """E.g. ``h264/90000``, lower case."""
    parameters: str
    feedback: frozenset[str]

    def parameter(self, name: str) -> str | None:
        """Return the value of one parameter of ``a=fmtp``."""
        found = dict(each.strip().partition("=")[::2] for each in self.parameters.split(";"))
        return found.get(name)


def read_offer(raw: bytes, *, profile_level_id: str, has_sound: bool) -> Wanted:
    """Choose from an offer.

    Raises:
        Refused: it cannot be read (400), or has no H.264 that we can send (406).
    """
    try:
        offer = parse(raw)
    except SdpError as error:
        raise Refused(400, f"看不懂这个 SDP / cannot read this SDP: {error}") from error
    picture = next((each for each in offer.media if each.kind == "video" and _receives(each)), None)
    if picture is None:
        raise Refused(406, "请求里没有要接收的视频 / the offer wants no video")
    theirs = credentials_of(offer, picture)
    chosen = best_h264(codecs_of(picture), profile_level_id)
    if chosen is None:
        raise Refused(
            406,
            "浏览器没有提出 H.264(packetization-mode=1)，课件只能以 H.264 原样发送 / "
            "the offer has no H.264 with packetization-mode=1; lessons are sent as they are stored, in H.264",
        )
    sound = None
    if has_sound:
        sound = next((each for each in offer.media if each.kind == "audio" and _receives(each)), None)
    return Wanted(
        offer,
        theirs,
        _format(picture, chosen, VIDEO_HZ),
        _sound_format(offer, picture, sound) if sound is not None else None,
    )


def write_answer(wanted: Wanted, side: Side) -> bytes:
    """Write the answer; sections that are not sent are rejected (port 0)."""
    formats = {each.mid: each for each in (wanted.video, wanted.sound) if each is not None}
    sections, taken = [], []
    for media in wanted.offer.media:
        mid = value_of(media.attributes, "mid") or ""
        format = formats.pop(mid, None)
        if format is None:
            sections.append(MediaDescription(media.kind, 0, media.profile, media.formats, (("mid", mid),)))
        else:
            sections.append(_section(media, format, side))
            taken.append(mid)
    attributes: Attributes = (("group", "BUNDLE " + " ".join(taken)), ("msid-semantic", "WMS *"))
    return write(Session(origin="- 0 0 IN IP4 0.0.0.0", attributes=attributes, media=tuple(sections)))


def _section(media: MediaDescription, format: Format, side: Side) -> MediaDescription:
    codec = next(each for each in codecs_of(media) if each.payload_type == format.payload_type)
    video = media.kind == "video"
    offered = dict(pairs_of(media.attributes, "rtpmap"))
    kinds = [str(format.payload_type)]
    lines: list[tuple[str, str | None]] = [
        ("mid", format.mid),
        ("sendonly", None),
        ("rtcp-mux", None),
        ("msid", f"{side.stream} {media.kind}"),
        ("rtpmap", f"{format.payload_type} {offered[kinds[0]]}"),
    ]
    parameters = codec.parameters if video else ";".join(filter(None, (codec.parameters, "stereo=1;sprop-stereo=1")))
    if parameters:
        lines.append(("fmtp", f"{format.payload_type} {parameters}"))
    lines += [("rtcp-fb", f"{format.payload_type} {each}") for each in sorted(codec.feedback & _feedback(media.kind))]
    extensions = (format.mid_extension, _MID), (format.time_extension, _TIME)
    lines += [("extmap", f"{id} {uri}") for id, uri in extensions if id is not None]
    ssrcs = list(side.video_ssrcs if video else (side.sound_ssrc,))
    if format.again_payload_type is not None:
        kinds.append(str(format.again_payload_type))
        lines += [
            ("rtpmap", f"{kinds[1]} {offered[kinds[1]]}"),
            ("fmtp", f"{kinds[1]} apt={format.payload_type}"),
            ("ssrc-group", f"FID {ssrcs[0]} {ssrcs[1]}"),
        ]
    else:
        ssrcs = ssrcs[:1]
    lines += [("ssrc", f"{each} cname:{side.stream}") for each in ssrcs]
    lines += [("ice-ufrag", side.mine.username), ("ice-pwd", side.mine.password)]
    lines += [("fingerprint", f"{name} {value}") for name, value in side.mine.fingerprints]
    lines += [
        ("setup", "active" if side.mine.active else "passive"),
        ("candidate", side.candidate),
        ("end-of-candidates", None),
    ]
    family = "IP6" if ":" in side.host else "IP4"
    connection = f"IN {family} {side.host}"
    return MediaDescription(media.kind, side.port, media.profile, tuple(kinds), tuple(lines), connection)


def _feedback(kind: str) -> frozenset[str]:
    return frozenset(("nack", "nack pli", "ccm fir")) if kind == "video" else frozenset(("nack",))


def _receives(media: MediaDescription) -> bool:
    flags = {name for name, value in media.attributes if value is None}
    return media.port != 0 and not flags & {"sendonly", "inactive"} and value_of(media.attributes, "mid") is not None


def credentials_of(offer: Session, media: MediaDescription) -> Credentials:
    """Read what both sides tell each other of their transport; raises Refused."""
    both = (*media.attributes, *offer.attributes)
    username, password, setup = (value_of(both, name) for name in ("ice-ufrag", "ice-pwd", "setup"))
    prints = [value.split() for name, value in both if name == "fingerprint" and value is not None]
    if not username or not password or setup not in _SETUP or not prints or any(len(each) != 2 for each in prints):
        raise Refused(
            400,
            "SDP 缺少 ice-ufrag、ice-pwd、fingerprint 或 setup / "
            "the offer lacks ice-ufrag, ice-pwd, fingerprint or setup",
        )
    if ("rtcp-mux", None) not in media.attributes:
        raise Refused(400, "SDP 缺少 rtcp-mux / the offer lacks rtcp-mux")
    return Credentials(username, password, tuple((name, value) for name, value in prints), _SETUP[setup])


def codecs_of(media: MediaDescription) -> list[Codec]:
    """List the payload types of a section."""
    maps, parameters = dict(pairs_of(media.attributes, "rtpmap")), dict(pairs_of(media.attributes, "fmtp"))
    wishes = list(pairs_of(media.attributes, "rtcp-fb"))
    return [
        Codec(
            int(each),
            maps[each].lower(),
            parameters.get(each, ""),
            frozenset(wish for kind, wish in wishes if kind in (each, "*")),
        )
        for each in media.formats
        if each in maps and each.isascii() and each.isdigit() and len(each) <= 3 and int(each) < 128
    ]


def best_h264(codecs: Sequence[Codec], profile_level_id: str) -> Codec | None:
    """Choose the payload type whose profile is the lesson's, else a higher one, else the highest that there is.

    Decoders read more than the constrained profile that some programs name, so a lower one is no reason to refuse.
    """
    fit = [each for each in codecs if each.name == "h264/90000" and each.parameter("packetization-mode") == "1"]
    mine = int(profile_level_id[:2], 16)

    def rank(codec: Codec) -> tuple[bool, bool, int]:
        said = (codec.parameter("profile-level-id") or _PROFILE_UNSAID).lower()
        profile = int(said[:2], 16) if len(said) == 6 and set(said) <= set(hexdigits) else 0
        same = said[:4] == profile_level_id[:4]
        return (same, True, -profile) if profile >= mine else (same, False, profile)

    return max(fit, key=rank, default=None)


def _format(media: MediaDescription, codec: Codec, clock_hz: int) -> Format:
    mid = value_of(media.attributes, "mid") or ""
    if not 1 <= len(mid) <= _MID_MAX_CHARS or not mid.isascii():
        raise Refused(400, f"mid 太长或为空 / mid is empty or over {_MID_MAX_CHARS} characters")
    ids = {uri.split()[0]: id for id, uri in pairs_of(media.attributes, "extmap") if uri}
    again = [
        each.payload_type
        for each in codecs_of(media)
        if each.name == f"rtx/{clock_hz}" and each.parameter("apt") == str(codec.payload_type)
    ]
    return Format(
        payload_type=codec.payload_type,
        clock_hz=clock_hz,
        mid=mid,
        mid_extension=_extension(ids.get(_MID)),
        time_extension=_extension(ids.get(_TIME)),
        again_payload_type=again[0] if again else None,
        nack="nack" in codec.feedback,
    )


def _sound_format(offer: Session, picture: MediaDescription, sound: MediaDescription) -> Format | None:
    """Return how sound is sent; None when it is not Opus or not on the pictures' transport."""
    opus = next((each for each in codecs_of(sound) if each.name == f"opus/{SOUND_HZ}/2"), None)
    groups = [(value or "").split() for name, value in offer.attributes if name == "group"]
    mids = {value_of(each.attributes, "mid") for each in (picture, sound)}
    if opus is None or not any(group[0] == "BUNDLE" and mids <= set(group[1:]) for group in groups if group):
        return None
    return _format(sound, opus, SOUND_HZ)


def _extension(id: str | None) -> int | None:
    number = (id or "").partition("/")[0]
    return (
        int(number) if number.isascii() and number.isdigit() and len(number) <= 2 and 1 <= int(number) <= 14 else None
    )


def pairs_of(attributes: Attributes, name: str) -> list[tuple[str, str]]:
    """List (key, rest) of the attributes of a name."""
    found = []
    for each, value in attributes:
        if each == name and value:
            key, _, rest = value.partition(" ")
            found.append((key, rest.strip()))
    return found


def value_of(attributes: Attributes, name: str) -> str | None:
    """Return the first value of an attribute."""
    return next((value for each, value in attributes if each == name and value is not None), None)
