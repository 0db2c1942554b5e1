"""What is wrong with a request before anybody asks what it wants (RFC 2326 §4, §12.32). Pure."""

from __future__ import annotations

from collections.abc import Collection

from wire.rtsp import Request

TOLERATED = frozenset(
    ("bare-header", "bare-lf", "extra-space", "folded-header", "lower-case-method", "not-utf8", "odd-header-name")
)
"""Deviations of requests that are served all the same; others are answered 400 (or 505)."""
KNOWN_BUT_REFUSED = frozenset(("ANNOUNCE", "RECORD", "REDIRECT"))


def fault(request: Request, *, intolerant: Collection[str] = ()) -> tuple[int, list[tuple[str, str]]] | None:
    """Return status and headers of the refusal; None for a request that can be looked at.

    With D10 among ``intolerant`` a header line needs its colon.
    """
    tolerated = TOLERATED - {"bare-header"} if "D10" in intolerant else TOLERATED
    codes = {each.code for each in request.deviations}
    if "version" in codes:
        return 505, []
    if request.headers.get("CSeq") is None or not codes <= tolerated:
        return 400, []
    required = request.headers.get("Require")
    return None if required is None else (551, [("Unsupported", required)])


def session_id(request: Request) -> str | None:
    """Return the id without its parameters."""
    value = request.headers.get("Session")
    return None if value is None else value.partition(";")[0].strip()
