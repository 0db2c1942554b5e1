"""Names and hashes: what may stand in a snapshot, and what a hash looks like."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from sync import Corrupt

NAME_MAX_BYTES = 512
CHANNEL_MAX_BYTES = 64

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHANNEL = re.compile(r"[a-z0-9][a-z0-9_-]*")


def sha256_hex(data: bytes | memoryview) -> str:
    """Return the SHA-256 in 64 lower-case hex digits: the only spelling of an id here."""
    return hashlib.sha256(data).hexdigest()


def is_sha256(text: str) -> bool:
    """Tell whether the text is an id, so that it may become part of a path or URL."""
    return _SHA256.fullmatch(text) is not None


def check_sha256(text: str) -> str:
    """Return the id unchanged.

    Raises:
        Corrupt: not 64 lower-case hex digits.
    """
    if not is_sha256(text):
        raise Corrupt(f"not a SHA-256 in 64 lower-case hex digits: {text[:80]!r}")
    return text


def check_name(name: str) -> str:
    """Return the name of a file in a snapshot unchanged.

    Raises:
        Corrupt: empty, longer than NAME_MAX_BYTES in UTF-8, absolute, with an empty, ``.`` or ``..`` part, with a
            backslash, or with a control or unpaired surrogate character.
    """
    if not name:
        raise Corrupt("a name in a snapshot must not be empty")
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise Corrupt(f"name {name[:80]!r} is not Unicode text") from error
    if length > NAME_MAX_BYTES:
        raise Corrupt(f"name {name[:80]!r}… has {length} bytes; at most {NAME_MAX_BYTES}")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise Corrupt(f"name {name[:80]!r} must be relative, without empty, '.' or '..' parts")
    if "\\" in name or any(unicodedata.category(letter) == "Cc" for letter in name):
        raise Corrupt(f"name {name[:80]!r} has a backslash or a control character")
    return name


def check_channel(channel: str) -> str:
    """Return the channel's name unchanged.

    Raises:
        Corrupt: not 1 to CHANNEL_MAX_BYTES of ``a-z 0-9 _ -``, beginning with a letter or digit.
    """
    if len(channel) > CHANNEL_MAX_BYTES or not _CHANNEL.fullmatch(channel):
        raise Corrupt(f"channel {channel[:80]!r}: use 1 to {CHANNEL_MAX_BYTES} of a-z 0-9 _ -, first a letter or digit")
    return channel
