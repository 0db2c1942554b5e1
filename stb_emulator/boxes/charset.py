"""How a box turns the bytes of a portal page into text (disagreement D6). Pure."""

from __future__ import annotations

from stb_emulator.boxes.parts import Charset
from wire.ctc import CtcError, decode_page

CODECS = {"gbk": "gb18030", "utf-8": "utf-8"}
"""GB 18030 contains GBK."""


def page_text(charset: Charset, body: bytes, content_type: str) -> tuple[str, list[str]]:
    """Decode a page and name what was odd. A box with a fixed charset believes neither header nor content.

    Raises:
        CtcError: the bytes are no text in the box's charset.
    """
    if charset == "guess":
        text, found = decode_page(body, content_type)
        return text, [d.code for d in found]
    if charset == "gbk" and not body.isascii() and _is_utf8(body):
        raise CtcError("page is UTF-8; this box reads it as GBK and shows rubbish")
    try:
        return body.decode(CODECS[charset]), []
    except UnicodeDecodeError as error:
        raise CtcError(f"page is not {charset}, which is all that this box reads") from error


def _is_utf8(body: bytes) -> bool:
    """Chinese text in GBK is as good as never also UTF-8, while nearly all UTF-8 is also some GB 18030."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
