"""What one family of clients wants otherwise than the rest; data, chosen by what a request says of itself. Pure.

The default asks the least of a client. A rule stands here only when a family is known to need it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """One family's rules."""

    name: str
    agents: tuple[str, ...] = ()
    """Beginnings of ``User-Agent``, in small letters."""
    stream_npt: bool = False
    """The client takes npt for the presentation time inside the stream: it adds the stream's first one to the second
    that it wants."""
    banner: str = ""
    """``Server:`` by which the family knows its own kind; it then uses what only its own kind understands
    (reference/stb_protocols §4.1)."""
    punches: bool = False
    """It punches holes into address translators without saying so first."""
    clock_status: int = 457
    """Answer to a range in absolute time, where there is none (reference/stb_protocols §4.7)."""


DEFAULT = Profile("default")
PROFILES = (
    Profile("lavf", ("lavf", "libmpv"), stream_npt=True),
    Profile("huawei", ("huawei", "hw_stb"), banner="HMS_V1R2", punches=True),
    Profile("zte", ("zte ltd",), banner="ZMSS_ChinaTelcom2.2", punches=True, clock_status=455),
)
"""In the order in which they are asked. ``lavf``: ffmpeg and what is built on it; mpv has a name of its own."""


def profile_for(user_agent: str | None) -> Profile | None:
    """Return the family of a ``User-Agent``; None when the request does not say, or says nothing that is known."""
    agent = (user_agent or "").strip().lower()
    return next((each for each in PROFILES if agent.startswith(each.agents)), None) if agent else None
