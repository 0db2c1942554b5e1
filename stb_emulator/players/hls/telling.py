"""What a player knows of itself when it asks for the next object, in the words of CMCD (CTA-5004)."""

from __future__ import annotations

import posixpath
import uuid
from dataclasses import fields
from urllib.parse import unquote, urlsplit

from stb_emulator.boxes import CmcdFace
from wire.cmcd import Cmcd, Kind, headers, query

ENOUGH_RATE = 4.0
"""So many times the object's bit rate is all the throughput that is asked for."""


class Telling:
    """One playing's numbers. Times are monotonic seconds."""

    def __init__(self, face: CmcdFace | None, content_id: str) -> None:
        """``content_id``: the lesson."""
        self.rate_bps: float | None = None
        """Of the variant that plays."""
        self.top_bps: float | None = None
        self.live = False
        self.fed_s = 0.0
        """Seconds of media handed to the decoder."""
        self.shows_since: float | None = None
        """When the first picture was there."""
        self.stalls = 0
        self._face = face or CmcdFace()
        self._content_id, self._session = content_id, str(uuid.uuid4())
        self._throughput_kbps: float | None = None
        self._told_stalls = 0

    def measured(self, size_bytes: int, took_s: float) -> None:
        """An object has come."""
        if took_s > 0:
            self._throughput_kbps = size_bytes * 8 / took_s / 1000

    def said(
        self, url: str, kind: Kind, now: float, *, lasts_s: float | None = None, following: tuple[str, str] = ("", "")
    ) -> tuple[str, dict[str, str]]:
        """Return the address and the headers of a request for one object.

        ``following``: address and byte range of the one after it.
        """
        if self._face.form == "none":
            return url, {}
        data = self._data(url, kind, now, lasts_s, following)
        if self._face.form == "headers":
            return url, headers(data)
        text = query(data)
        return f"{url}{'&' if urlsplit(url).query else '?'}{text}", {}

    def _data(self, url: str, kind: Kind, now: float, lasts_s: float | None, following: tuple[str, str]) -> Cmcd:
        is_media = kind in (Kind.MUXED, Kind.VIDEO, Kind.AUDIO)
        rate_kbps = self.rate_bps / 1000 if self.rate_bps and is_media else None
        shown_s = 0.0 if self.shows_since is None else now - self.shows_since
        starved = self.stalls > self._told_stalls
        self._told_stalls = self.stalls
        next_url, next_range = following
        data = Cmcd(
            bl_ms=max(0.0, self.fed_s - shown_s) * 1000 if is_media else None,
            br_kbps=rate_kbps,
            bs=starved,
            cid=self._content_id or None,
            d_ms=lasts_s * 1000 if lasts_s is not None and is_media else None,
            mtp_kbps=self._throughput_kbps,
            nor=_relative(url, next_url) if next_url and next_url != url else None,
            nrr=next_range if next_url == url and next_range else None,
            ot=kind,
            rtp_kbps=rate_kbps * ENOUGH_RATE if rate_kbps else None,
            sf="h",
            sid=self._session,
            st="l" if self.live else "v",
            su=self.shows_since is None or starved,
            tb_kbps=self.top_bps / 1000 if self.top_bps and is_media else None,
        )
        return data if not self._face.keys else _only(data, self._face.keys)


def _only(data: Cmcd, keys: tuple[str, ...]) -> Cmcd:
    """Keep what a player sends."""
    kept = {field.name: getattr(data, field.name) for field in fields(Cmcd) if field.name.partition("_")[0] in keys}
    return Cmcd(**kept)


def _relative(url: str, other: str) -> str | None:
    """Path from one address to another on the same server (CTA-5004, ``nor``)."""
    here, there = urlsplit(url), urlsplit(other)
    if (here.scheme, here.netloc) != (there.scheme, there.netloc):
        return None
    path = posixpath.relpath(unquote(there.path), posixpath.dirname(unquote(here.path)) or "/")
    return f"{path}?{there.query}" if there.query else path
