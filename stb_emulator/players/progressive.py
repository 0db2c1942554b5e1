"""Progressive download: a plain GET, taken up again with Range when the connection breaks (RFC 9110 §14).

A piece from the middle is fetched a second time by Range and must be the same bytes: what a viewer's seek relies on.

Keys: a seek is a new request from the byte of the key picture before the place, found in the file's own index, as
browsers do; a pause stops reading, and goes on with Range from the next byte. There is no winding.
"""

from __future__ import annotations

import re

from stb_emulator.observe import PlayError, Stage
from stb_emulator.observe.line import Body
from stb_emulator.observe.pipe import PipeClosed
from stb_emulator.observe.sought import HEAD_MAX_BYTES, LEAD_BYTES, middle
from stb_emulator.players import Key, Playing, Press

TRIES = 4
HOPS = 3
RETRY_AFTER_S = 0.3
PROBE_BYTES = 16 * 1024
PROBE_AT_MAX_BYTES = 256 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})$")


class _Download:
    """How far one download is."""

    def __init__(self) -> None:
        self.url = ""
        """Where the last redirect led."""
        self.got = self.hops = 0
        self.length: int | None = None
        self.validator = ""
        self.probe_at = 0
        self.probe = bytearray()
        self.head = bytearray()
        """The beginning of the file, for its index."""

    def begin(self, body: Body) -> None:
        """Judge the head of a reply to a request for everything from ``got`` on."""
        if body.status == 200 and self.got == 0:
            self.length = _whole(body.headers.get("Content-Length"))
        elif body.status == 206:
            start, _, total = content_range(body.headers.get("Content-Range", ""))
            if start != self.got or (self.length is not None and total != self.length):
                raise PlayError(
                    Stage.FETCH, "断点续传的应答不对", f"206 begins at {start} of {total}, wanted {self.got}"
                )
            self.length = total
        elif body.status == 200:
            raise PlayError(
                Stage.FETCH, "文件中途变了", "the file changed during the download (200 to a Range request)"
            )
        else:
            raise PlayError(Stage.FETCH, f"取文件失败：HTTP {body.status}", f"HTTP {body.status} for {body.url}")
        etag = body.headers.get("ETag", "")
        self.validator = etag if etag and not etag.startswith("W/") else body.headers.get("Last-Modified", "")
        if self.length is not None:
            self.probe_at = min(self.length // 2, PROBE_AT_MAX_BYTES)

    def take(self, piece: bytes) -> None:
        """Count a piece, and keep what lies in the probed window."""
        begin = max(self.got, self.probe_at) - self.got
        room = PROBE_BYTES - len(self.probe)
        if begin < len(piece) and room > 0:
            self.probe += piece[begin : begin + room]
        room = HEAD_MAX_BYTES + LEAD_BYTES - len(self.head)
        if self.got == len(self.head) and room > 0:
            self.head += piece[:room]
        self.got += len(piece)

    @property
    def is_whole(self) -> bool:
        """Whether everything up to a known end has come."""
        return self.length is not None and self.got >= self.length

    @property
    def complete(self) -> bool:
        return self.length is None or self.got >= self.length


class Progressive:
    """See the module."""

    async def play(self, playing: Playing) -> None:
        """See Player."""
        download = _Download()
        download.url = playing.offer.url
        tally = playing.decoder.tally
        tally.asked_at = playing.clock.monotonic()
        tally.announced_s = playing.offer.announced_s
        tally.transport = "HTTP progressive"
        playing.decoder.start("mp4")
        while (press := await playing.until_press(self._download(playing, download))) is not None:
            await self._press(playing, download, press)
        if download.is_whole:
            tally.ended = "EOF"
        await self._check_range(playing, download)

    async def _download(self, playing: Playing, download: _Download) -> None:
        """Fetch and feed to the end of the file; what breaks off is taken up again."""
        tally = playing.decoder.tally
        if download.is_whole:
            return
        for attempt in range(TRIES):
            try:
                while (over := await self._fetch(playing, download)) is None:
                    pass
                if over:
                    return
                error = PlayError(Stage.FETCH, "下载中途断开", f"only {download.got} of {download.length} bytes came")
            except PlayError as broken:
                if download.got == 0 or attempt == TRIES - 1:
                    raise
                error = broken
            if attempt == TRIES - 1:
                raise error
            tally.warn(f"续传 / resumed at byte {download.got}")
            await playing.clock.sleep_until(playing.clock.monotonic() + RETRY_AFTER_S)

    async def _press(self, playing: Playing, download: _Download, press: Press) -> None:
        tally, now = playing.decoder.tally, playing.clock.monotonic()
        if press.key is Key.PAUSE:
            await playing.hold(press)
            now = playing.clock.monotonic()
            asked = "" if download.is_whole else f"Range: bytes={download.got}-"
            playing.decoder.go_on(tally.press(Key.PAUSE, now, asked or "全部已下载 / all of it has come already"))
            return
        if press.key is not Key.SEEK:
            tally.no_key(press.key, now, f"浏览器没有{press.key}键 / no key for {press.key}", scale=press.scale)
            return
        try:
            wanted_s = press.place(tally.announced_s)
            place = middle(bytes(download.head), wanted_s, download.length or 0)
        except ValueError as error:
            raise PlayError(Stage.FETCH, "索引中找不到要去的地方", f"cannot seek: {error}") from error
        asked = f"Range: bytes={place.at_byte}-"
        pressing = tally.press(Key.SEEK, now, asked, wanted_s=wanted_s, grain_s=place.grain_s)
        download.got = place.at_byte
        playing.decoder.cut(pressing, place)

    async def _fetch(self, playing: Playing, download: _Download) -> bool | None:
        """Fetch from where we are; True when nothing more is wanted, None when the file is elsewhere."""
        headers = {"Accept-Encoding": "identity"}
        if download.got:
            headers["Range"] = f"bytes={download.got}-"
            if download.validator:
                headers["If-Range"] = download.validator
        async with playing.line.stream("GET", download.url, Stage.FETCH, headers=headers) as body:
            if body.location and download.hops < HOPS:
                download.url, download.hops = body.location, download.hops + 1
                return None
            download.begin(body)
            if playing.decoder.tally.pressings:
                playing.decoder.tally.pressings[-1].answered = f"HTTP {body.status}"
            async for piece in body.pieces:
                try:
                    await playing.decoder.feed(piece)
                except PipeClosed:
                    return True
                download.take(piece)  # only now: a key may have come while there was no room
                playing.decoder.tally.bytes += len(piece)
                if playing.enough:
                    return True
        return download.complete

    async def _check_range(self, playing: Playing, download: _Download) -> None:
        """Fetch the probed window again by Range and compare; who has sought has tried Range already."""
        if not download.probe or playing.decoder.tally.pressings:
            return
        begin, end = download.probe_at, download.probe_at + len(download.probe) - 1
        reply = await playing.line.ask(
            "GET",
            download.url,
            Stage.FETCH,
            headers={"Range": f"bytes={begin}-{end}", "Accept-Encoding": "identity"},
        )
        if reply.status == 200:
            raise PlayError(Stage.FETCH, "服务器不支持拖动（Range）", "the server ignores Range: no seeking")
        if reply.status != 206:
            raise PlayError(
                Stage.FETCH, f"拖动请求失败：HTTP {reply.status}", f"HTTP {reply.status} to a Range request"
            )
        start, stop, total = content_range(reply.headers.get("Content-Range", ""))
        if (start, stop) != (begin, end) or (download.length is not None and total != download.length):
            raise PlayError(Stage.FETCH, "Range 应答的范围不对", f"asked for {begin}-{end}, got {start}-{stop}/{total}")
        if reply.body != bytes(download.probe):
            raise PlayError(Stage.FETCH, "Range 应答的内容不一致", f"bytes {begin}-{end} differ from the whole file's")


def content_range(value: str) -> tuple[int, int, int]:
    """Read ``bytes first-last/length`` (RFC 9110 §14.4).

    Raises:
        PlayError: anything else.
    """
    match = _CONTENT_RANGE.match(value.strip())
    if match is None:
        raise PlayError(Stage.FETCH, "Content-Range 有误", f"unreadable Content-Range {value[:60]!r}")
    first, last, length = (int(g) for g in match.groups())
    return first, last, length


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 20 else None


PLAYER = Progressive()
