"""Changes messages: bits, bytes, numbers, words, spans, other messages, nesting and repetition."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

WORDS = (
    *(
        b"0",
        b"-1",
        b"1e308",
        b"nan",
        b"4294967296",
        b"18446744073709551616",
        b"9" * 40,
        b"00000000000",
        b"0x7f",
        b"1.5",
    ),
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\xaf", b"%00", b"%2e%2e%2f", b"../", b"\r\n\r\n"),
    *(b"\n", b"\r", b"\t", b" ", b"'", b'"', b"\\", b"<", b">", b"&", b"%", b"=", b";", b",", b":", b"$", b"|", b"-"),
    *(
        b"<zq>",
        b"'zq",
        b'"zq',
        b"\\zq",
        b"\r\nzq: 1",
        b"</script>",
        b"{{7*7}}",
        b"${x}",
        b"null",
        b"undefined",
        b"[",
        b"{",
    ),
    *("\u0663".encode(), "\u2028".encode(), "\ufeff".encode(), "\U0001f402".encode(), "课".encode("gbk"), "é".encode()),
    *(b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x80\x00\x00\x00", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x01"),
)
_PIECE = re.compile(rb"[A-Za-z_#-]{2,}|[0-9]+|[^A-Za-z0-9]")
_NUMBER = re.compile(rb"[0-9]+")
GROWN_MAX_BYTES = 4096
"""Of a span that is repeated."""


class Mutator:
    """Makes messages of some seeds; the same ones for the same number."""

    def __init__(self, seeds: Sequence[bytes], words: Sequence[bytes], *, most_bytes: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._pool = [each for each in seeds if len(each) <= most_bytes]
        own = {piece for each in seeds if len(each) <= 65536 for piece in _PIECE.findall(each[:8192])}
        self._words = [*WORDS, *words, *sorted(own)[:400]]
        self._most = most_bytes

    def message(self) -> bytes:
        """Make one."""
        draw = self._random.random
        if draw() < 0.01:
            return self._random.randbytes(int(draw() * 200))
        data = bytearray(self._pool[int(draw() * len(self._pool))])
        for _ in range(1 + int(draw() ** 2 * 5)):
            self._change(data)
        return bytes(data[: self._most])

    def _change(self, data: bytearray) -> None:
        draw = self._random.random
        size, kind = len(data), draw()
        at = int(draw() * size) if size else 0
        word = self._words[int(draw() * len(self._words))]
        if kind < 0.18 and size:
            data[at] ^= 1 << int(draw() * 8)
        elif kind < 0.28 and size:
            data[at] = int(draw() * 256)
        elif kind < 0.48:
            data[at:at] = word
        elif kind < 0.60:
            data[at : at + len(word)] = word
        elif kind < 0.70:
            del data[at : at + 1 + int(draw() ** 3 * 64)]
        elif kind < 0.76:
            data[at:at] = data[at : at + 1 + int(draw() ** 2 * 64)] * (1 + int(draw() * 3))
        elif kind < 0.82:
            other = self._pool[int(draw() * len(self._pool))]
            begin = int(draw() * len(other))
            data[at:] = other[begin:]
        elif kind < 0.90 and (found := _NUMBER.search(data, at)) is not None:
            data[found.start() : found.end()] = self._number(found.group())
        elif kind < 0.93:
            del data[at:]
        elif kind < 0.95:
            span = bytes(data[at : at + 1 + int(draw() * 8)]) or word
            data[at:at] = span * (GROWN_MAX_BYTES // len(span) // (1 + int(draw() * 60)) + 1)
        else:
            end = at + 1 + int(draw() * 40)
            data[at:at] = data[end : end + 40]

    def _number(self, was: bytes) -> bytes:
        draw = self._random.random
        kind = int(draw() * 7)
        value = int(was[:18])
        return (
            b"%d" % (value + 1),
            b"%d" % max(0, value - 1),
            b"%d" % (1 << int(draw() * 66)),
            b"-" + was,
            was * 2,
            b"0" * int(draw() * 30) + was,
            b"7" * 4400,  # more digits than ``int`` takes
        )[kind]


def grown(seed: bytes, word: bytes, at: int, size_bytes: int) -> bytes:
    """Make a message of about a size by repeating one word at one place."""
    times = max(0, size_bytes - len(seed)) // max(1, len(word))
    return seed[:at] + word * times + seed[at:]


def pieces(seed: bytes) -> list[tuple[int, bytes]]:
    """List where the words of a message are, and which."""
    return [(found.start(), found.group()) for found in _PIECE.finditer(seed)]
