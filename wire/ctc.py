"""The Huawei-style portal grammar (CTC and CU faces) behind one door; stb_protocols §2.

Writers are strict; readers are lenient and report what was unusual as ``Deviation``. No I/O, no clock, no randomness.
"""

from __future__ import annotations

from wire.ctc_authenticator import (
    AUTHENTICATOR_MAX_CHARS,
    Authenticator,
    EncryptionType,
    Md5Hex,
    Padding,
    decrypt,
    encrypt,
    key_bytes,
    key_string,
    open_authenticator,
    parse_plaintext,
)
from wire.ctc_channel import (
    CHANNEL_KEYS,
    Channel,
    ChannelPage,
    Style,
    parse_channel_list,
    parse_channel_page,
    write_channel_lines,
    write_channel_list,
)
from wire.ctc_config import (
    SetConfig,
    TokenPage,
    is_session_lost,
    parse_inputs,
    parse_set_configs,
    parse_token_page,
    write_hidden_inputs,
    write_set_config,
    write_token_lines,
)
from wire.ctc_heartbeat import (
    DEFAULT_INTERVAL_S,
    HEARTBEAT_PATHS,
    Heartbeat,
    is_heartbeat_path,
    parse_heartbeat,
    write_heartbeat,
)
from wire.ctc_text import CtcError, Deviation, Face, decode_page, require_safe, screen_text, temp_key

__all__ = [
    "AUTHENTICATOR_MAX_CHARS",
    "CHANNEL_KEYS",
    "DEFAULT_INTERVAL_S",
    "HEARTBEAT_PATHS",
    "Authenticator",
    "Channel",
    "ChannelPage",
    "CtcError",
    "Deviation",
    "EncryptionType",
    "Face",
    "Heartbeat",
    "Md5Hex",
    "Padding",
    "SetConfig",
    "Style",
    "TokenPage",
    "decode_page",
    "decrypt",
    "encrypt",
    "is_heartbeat_path",
    "is_session_lost",
    "key_bytes",
    "key_string",
    "open_authenticator",
    "parse_channel_list",
    "parse_channel_page",
    "parse_heartbeat",
    "parse_inputs",
    "parse_plaintext",
    "parse_set_configs",
    "parse_token_page",
    "require_safe",
    "screen_text",
    "temp_key",
    "write_channel_lines",
    "write_channel_list",
    "write_heartbeat",
    "write_hidden_inputs",
    "write_set_config",
    "write_token_lines",
]
