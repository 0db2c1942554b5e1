"""``create_link``: from the ``cmd`` of a list to a URL that plays without cookie or header, any number of times."""

from __future__ import annotations

import re

from edge_server.linear import by_id
from edge_server.portal import PortalState
from edge_server.portal.stalker.lists import channel_path, command, lesson_path

COMMAND_MAX_CHARS = 512
PLAY = "/play"
"""What is below it goes through a ticket."""
_LESSON = re.compile(r"/(?:hls|media|lessons)/([0-9]{1,12})\b")
_CHANNEL = re.compile(r"/live/([0-9]{1,12})\b")


def link(cmd: str, base: str, state: PortalState) -> dict[str, object]:
    """Answer ``create_link``; the errors are words of the protocol: ``nothing_to_play``, ``limit``."""
    cmd = cmd[:COMMAND_MAX_CHARS]
    if match := _CHANNEL.search(cmd):
        key, path = match[1], channel_path(match[1]) if by_id(state.channels, match[1]) else ""
    else:
        match = _LESSON.search(cmd)
        item = state.view.item(match[1]) if match else None
        key, path = (item.item_id, lesson_path(item)) if item else ("", "")
    if not path.startswith(PLAY):
        return _answer(key, command(base, path), "nothing_to_play")
    prefix = state.ticket(key)
    if prefix is None:
        return _answer(key, "", "limit")
    return _answer(key, command(base, prefix + path.removeprefix(PLAY)), "")


def _answer(key: str, cmd: str, error: str) -> dict[str, object]:
    return {"id": key, "cmd": cmd, "error": "" if cmd else error, "streamer_id": 0, "load": 0}
