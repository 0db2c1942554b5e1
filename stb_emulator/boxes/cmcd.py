"""What a player tells the server of itself with each request (CTA-5004), as data."""

from __future__ import annotations

from typing import Literal

from stb_emulator.boxes.parts import Strict


class CmcdFace(Strict, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[cmcd]`` table of a box file."""

    form: Literal["query", "headers", "none"] = "none"
    """In one argument of the query, or in four headers."""
    keys: tuple[str, ...] = ()
    """Keys that it sends when it knows them; empty: all of ``bl br bs cid d mtp nor ot rtp sf sid st su tb``."""
