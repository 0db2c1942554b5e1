"""The offer of somebody who publishes, and its answer (RFC 9725 §4.2). Pure.

Only H.264 and Opus are answered, and no stream of retransmissions: lost packets come again as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_server.egress.whep.negotiate import (
    SOUND_HZ,
    Codec,
    Credentials,
    Refused,
    best_h264,
    codecs_of,
    credentials_of,
    pairs_of,
    value_of,
)
from edge_server.egress.whep.publisher import Taken
from wire.sdp import Attributes, MediaDescription, SdpError, Session, parse, write

PROFILE_WANTED = "42e01f"
"""Constrained baseline: every box decodes it."""
_FEEDBACK = frozenset(("nack", "nack pli", "ccm fir", "goog-remb"))


@dataclass(frozen=True, slots=True)
class Published:
    """What an offer brings."""

    offer: Session
    theirs: Credentials
    video: tuple[MediaDescription, Codec]
    sound: tuple[MediaDescription, Codec] | None

    @property
    def taken(self) -> Taken:
        """What is agreed."""
        _, codec = self.video
        return Taken(
            codec.payload_type,
            self.sound[1].payload_type if self.sound is not None else None,
            "goog-remb" in codec.feedback,
        )


def read_publication(raw: bytes) -> Published:
    """Choose from an offer.

    Raises:
        Refused: it cannot be read (400), or has no H.264 (406).
    """
    try:
        offer = parse(raw)
    except SdpError as error:
        raise Refused(400, f"看不懂这个 SDP / cannot read this SDP: {error}") from error
    picture = next((each for each in offer.media if each.kind == "video" and _sends(each)), None)
    if picture is None:
        raise Refused(406, "请求里没有视频 / the offer brings no video")
    theirs = credentials_of(offer, picture)
    chosen = best_h264(codecs_of(picture), PROFILE_WANTED)
    if chosen is None:
        raise Refused(
            406,
            "直播只接收 H.264(packetization-mode=1)，不转码 / "
            "live channels take H.264 with packetization-mode=1 only; nothing is transcoded",
        )
    sound = next((each for each in offer.media if each.kind == "audio" and _sends(each)), None)
    opus = None
    if sound is not None and _bundled(offer, picture, sound):
        opus = next((each for each in codecs_of(sound) if each.name == f"opus/{SOUND_HZ}/2"), None)
    return Published(
        offer, theirs, (picture, chosen), (sound, opus) if sound is not None and opus is not None else None
    )


def write_acceptance(published: Published, mine: Credentials, candidate: str, host: str, port: int) -> bytes:
    """Write the answer; sections that are not taken are rejected (port 0)."""
    taken = {id(each[0]): each[1] for each in (published.video, published.sound) if each is not None}
    sections, mids = [], []
    for media in published.offer.media:
        mid, codec = value_of(media.attributes, "mid") or "", taken.get(id(media))
        if codec is None:
            sections.append(MediaDescription(media.kind, 0, media.profile, media.formats, (("mid", mid),)))
        else:
            sections.append(_section(media, codec, mine, candidate, host, port))
            mids.append(mid)
    attributes: Attributes = (("group", "BUNDLE " + " ".join(mids)), ("msid-semantic", "WMS *"))
    return write(Session(origin="- 0 0 IN IP4 0.0.0.0", attributes=attributes, media=tuple(sections)))


def _section(
    media: MediaDescription, codec: Codec, mine: Credentials, candidate: str, host: str, port: int
) -> MediaDescription:
    kind = str(codec.payload_type)
    lines: list[tuple[str, str | None]] = [
        ("mid", value_of(media.attributes, "mid")),
        ("recvonly", None),
        ("rtcp-mux", None),
        ("rtpmap", f"{kind} {dict(pairs_of(media.attributes, 'rtpmap'))[kind]}"),
    ]
    if codec.parameters:
        lines.append(("fmtp", f"{kind} {codec.parameters}"))
    lines += [("rtcp-fb", f"{kind} {each}") for each in sorted(codec.feedback & _FEEDBACK)]
    lines += [("ice-ufrag", mine.username), ("ice-pwd", mine.password)]
    lines += [("fingerprint", f"{name} {value}") for name, value in mine.fingerprints]
    lines += [
        ("setup", "active" if mine.active else "passive"),
        ("candidate", candidate),
        ("end-of-candidates", None),
    ]
    connection = f"IN {'IP6' if ':' in host else 'IP4'} {host}"
    return MediaDescription(media.kind, port, media.profile, (kind,), tuple(lines), connection)


def _sends(media: MediaDescription) -> bool:
    flags = {name for name, value in media.attributes if value is None}
    return media.port != 0 and not flags & {"recvonly", "inactive"} and value_of(media.attributes, "mid") is not None


def _bundled(offer: Session, *sections: MediaDescription) -> bool:
    groups = [(value or "").split() for name, value in offer.attributes if name == "group"]
    mids = {value_of(each.attributes, "mid") for each in sections}
    return any(group[0] == "BUNDLE" and mids <= set(group[1:]) for group in groups if group)


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a PATCH brings (RFC 8840 §9)."""

    username: str | None


def read_fragment(raw: bytes) -> Fragment:
    """Read an SDP fragment.

    Raises:
        Refused: it is none.
    """
    try:
        lines = raw.decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise Refused(400, "看不懂这个 SDP 片段 / cannot read this SDP fragment") from error
    if not lines or any(each and each[1:2] != "=" for each in lines):
        raise Refused(400, "看不懂这个 SDP 片段 / cannot read this SDP fragment")
    found = [each.removeprefix("a=ice-ufrag:").strip() for each in lines if each.startswith("a=ice-ufrag:")]
    return Fragment(found[0] if found else None)
