"""Lines that a page speaks to the box: tokens, SetConfig calls, hidden inputs, session loss (stb_protocols §2)."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass

from wire.ctc_text import CtcError, Deviation, Face, require_safe


@dataclass(frozen=True, slots=True)
class TokenPage:
    """What a box takes from the reply to H3."""

    encrypt_token: str
    user_token: str
    deviations: tuple[Deviation, ...] = ()


_ENCRYPT_TOKEN = re.compile(r"EncryptToken(\s*)=(\s*)(['\"])([^'\"\r\n]*)\3")
_USER_TOKEN = re.compile(r"userToken\.value(\s*)=(\s*)(['\"])([^'\"\r\n]*)\3")


def write_token_lines(encrypt_token: str, user_token: str, form: str = "authform") -> str:
    """Write the two script lines of H3 in exactly the shape that clients' regular expressions expect."""
    for each in (encrypt_token, user_token):
        require_safe(each, "token")
    return f'var EncryptToken = "{encrypt_token}";\ndocument.{form}.userToken.value = "{user_token}";\n'


def parse_token_page(page: str) -> TokenPage:
    """Find both tokens in the reply to H3; a missing userToken equals the EncryptToken.

    Raises:
        CtcError: no EncryptToken (as a rule: the account is unknown, or the session is lost).
    """
    encrypt, user = _ENCRYPT_TOKEN.search(page), _USER_TOKEN.search(page)
    if encrypt is None or not encrypt.group(4):
        raise CtcError("page has no EncryptToken")
    found = [
        Deviation("token-spelling", each.group())
        for each in (encrypt, user)
        if each is not None and each.group(1, 2, 3) != (" ", " ", '"')
    ]
    if user is None:
        found.append(Deviation("user-token-missing"))
    return TokenPage(encrypt.group(4), user.group(4) if user else encrypt.group(4), tuple(found))


@dataclass(frozen=True, slots=True)
class SetConfig:
    """One ``Authentication.CTCSetConfig('key','value')`` of a page."""

    face: Face
    key: str
    value: str


_SET_CONFIG = re.compile(
    r"Authentication\.(CTC|CU|CM)SetConfig\s*\(\s*(['\"])([^'\"\r\n]*)\2\s*,\s*(?:'([^'\r\n]*)'|\"([^\"\r\n]*)\")\s*\)"
)


def write_set_config(face: Face, key: str, value: str) -> str:
    """Write one SetConfig line; the value must be safe inside single quotes.

    Raises:
        CtcError: key or value would break the line.
    """
    require_safe(key, "SetConfig key", also=",")
    return f"Authentication.{face.set_config}('{key}','{require_safe(value, key)}');\n"


def parse_set_configs(page: str) -> tuple[SetConfig, ...]:
    """Read all SetConfig calls of a page in their order, in any face and either kind of quotes."""
    return tuple(
        SetConfig(Face(face), key, single or double or "")
        for face, _, key, single, double in (each.groups() for each in _SET_CONFIG.finditer(page))
    )


_INPUT = re.compile(r"<input\b([^<>]*)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"([\w:-]{1,64})\s{0,16}=\s{0,16}(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>/]+))")


def write_hidden_inputs(fields: Mapping[str, str]) -> str:
    """Write hidden inputs in the attribute order type, name, value, one a line."""
    return "".join(
        f'<input type="hidden" name="{require_safe(name, "input name", also="&")}" '
        f'value="{require_safe(value, name, also="&")}">\n'
        for name, value in fields.items()
    )


def parse_inputs(page: str) -> tuple[dict[str, str], tuple[Deviation, ...]]:
    """Read name and value of all inputs of a page; of two with one name the last counts, as in a browser's form."""
    fields: dict[str, str] = {}
    found: list[Deviation] = []
    for tag in _INPUT.finditer(page):
        pairs = _ATTRIBUTE.findall(tag.group(1))
        attributes = {name.lower(): html.unescape(double or single or bare) for name, double, single, bare in pairs}
        if (name := attributes.get("name")) is None:
            continue
        order = list(attributes)
        if "value" not in attributes or order.index("name") > order.index("value"):
            found.append(Deviation("input-order", name))
        if name in fields:
            found.append(Deviation("input-twice", name))
        fields[name] = attributes.get("value", "")
    return fields, tuple(found)


_SESSION_LOST = re.compile(r"resignon|SessionTimeOutJump", re.IGNORECASE)


def is_session_lost(page: str) -> bool:
    """Tell whether the page sends the box back to its login (``resignon`` or ``SessionTimeOutJump``)."""
    return _SESSION_LOST.search(page) is not None
