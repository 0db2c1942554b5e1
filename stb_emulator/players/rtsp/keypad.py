"""The keys of the remote control in an RTSP session: what each asks for, and from which byte on the answer counts."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from datetime import datetime
from enum import Enum, auto

from stb_emulator.boxes import RtspFace
from stb_emulator.players import Key, Playing, Press, Pressing
from stb_emulator.players.rtsp.commands import Command
from stb_emulator.players.rtsp.conversation import Conversation
from stb_emulator.players.rtsp.receiver import Receiver
from stb_emulator.players.rtsp.seeking import NEAR_START_S, moment_address, moment_range, place
from wire.rtsp import NptRange, Response, WireError, parse_range

SHIFT_SHOWS_S = 600.0
"""A window of a channel that is asked for by a query ends so long after its beginning, or now."""
_SEQUENCE = re.compile(r"\bseq\s*=\s*([0-9]{1,5})\b", re.IGNORECASE)


class _Waits(Enum):
    """What has been asked and is not answered yet."""

    NOTHING = auto()
    PAUSE = auto()
    RESUME = auto()
    MOVE = auto()
    SESSION = auto()


class Keypad:
    """Presses the keys of one playing, over all of its sessions."""

    def __init__(self, playing: Playing, face: RtspFace) -> None:
        """``run`` it beside the sessions."""
        self.due: asyncio.Queue[Press] = asyncio.Queue(1)
        """Keys for the session that is on."""
        self.hold_due: float | None = None
        """When ``release`` wants to be called."""
        self.is_paused = False
        self.address = ""
        """Where a new session is to begin."""
        self._playing, self._face = playing, face
        self._tally = playing.decoder.tally
        self._press: Press | None = None
        self._pressing: Pressing | None = None
        self._waits = _Waits.NOTHING
        self._number = 0
        self._carried_out = asyncio.Event()

    async def run(self) -> None:
        """Hand the keys to the session, each when its time has come."""
        while (press := await self._playing.next_press()) is not None:
            self._carried_out.clear()
            await self.due.put(press)
            await self._carried_out.wait()

    def press(self, press: Press, talk: Conversation, receiver: Receiver, now: float) -> list[Command]:
        """Press a key; what the box does not have is noted, and nothing happens."""
        self._press = press
        match press.key:
            case Key.PAUSE:
                return self._ask(talk, talk.pause(now), _Waits.PAUSE, self._tally.press(Key.PAUSE, now, "PAUSE"))
            case Key.SEEK:
                return self._seek(press, talk, receiver, now)
            case Key.TRICK if press.scale in self._face.scales:
                commands = talk.trick(press.scale, now)
                asked = f"PLAY Scale: {press.scale}"
                pressing = self._tally.press(Key.TRICK, now, asked, scale=press.scale)
                return self._move(talk, commands, pressing, receiver)
            case Key.TRICK:
                return self._no_key(f"没有 {press.scale} 倍速键 / no key for {press.scale}x", now)
            case Key.SHIFT if press.moment is not None and self._face.seek_style == "clock":
                asked = f"PLAY Range: {moment_range(press.moment)}"
                pressing = self._tally.press(Key.SHIFT, now, asked, wanted_s=press.moment.timestamp())
                return self._move(talk, talk.shift(press.moment, now), pressing, receiver)
            case Key.SHIFT if press.moment is not None and self._face.seek_style == "playseek":
                return self._elsewhere(press.moment, talk, now)
        return self._no_key(f"没有{press.key}键 / this box has no key for {press.key}", now)

    def release(self, talk: Conversation, receiver: Receiver, now: float) -> list[Command]:
        """End a pause, or winding: press play."""
        self.hold_due = None
        press, pressing = self._press, self._pressing
        assert press is not None and pressing is not None
        if press.key is Key.PAUSE:
            pressing.at = now
            pressing.asked += ", PLAY"
            return self._ask(talk, talk.resume(now), _Waits.RESUME, pressing)
        # The screen goes on while the key is on its way: so many seconds of the lesson as it winds in one of ours.
        grain_s = abs(press.scale)
        pressing = self._tally.press(Key.PLAY, now, "PLAY Scale: 1", grain_s=grain_s)
        return self._move(talk, talk.trick(1, now), pressing, receiver)

    def by_itself(self, talk: Conversation, receiver: Receiver, now: float) -> None:
        """The box began to play elsewhere without a key: from the beginning, when winding back has come to it."""
        self.hold_due = None
        self._move(talk, [], self._tally.press(Key.PLAY, now, "PLAY (2102)", wanted_s=0.0), receiver)

    def paused(self, now: float) -> None:
        """The server has paused."""
        if self._waits is _Waits.PAUSE and self._press is not None:
            self.is_paused, self._waits = True, _Waits.NOTHING
            self._playing.decoder.run()
            self.hold_due = now + self._press.hold_s

    def heard(self, message: Response, receiver: Receiver | None, now: float) -> None:
        """Look at an answer as soon as it is read: what comes behind it belongs to another place."""
        if message.headers.get("CSeq") != str(self._number) or receiver is None or self._pressing is None:
            return
        pressing, waits = self._pressing, self._waits
        window = message.headers.get("Range") or ""
        scale = f" Scale: {message.headers.get('Scale')}" if pressing.key is Key.TRICK else ""
        answer = f"{message.status} {window}{scale}".strip()
        pressing.answered = f"{pressing.answered}, {answer}" if pressing.answered else answer
        if message.status != 200 or waits not in (_Waits.RESUME, _Waits.MOVE):
            return
        sequence = _SEQUENCE.search(message.headers.get("RTP-Info") or "")
        number = int(sequence[1]) & 0xFFFF if sequence else None
        pressing.said_s = _start(window)
        with suppress(ValueError):
            pressing.said_scale = float(message.headers.get("Scale") or 1)
        self._waits = _Waits.NOTHING
        if waits is _Waits.RESUME:
            self.is_paused = False
            self._playing.decoder.go_on(pressing)
            receiver.go_on(number)
        else:
            self._playing.decoder.cut(pressing)
            receiver.divide(number)
        if pressing.key is Key.TRICK and self._press is not None:
            self.hold_due = now + self._press.hold_s
        else:
            self._done()

    def began(self) -> None:
        """A session's data will come: of a new one after a key, the leg begins here."""
        if self._waits is _Waits.SESSION and self._pressing is not None:
            self._waits = _Waits.NOTHING
            self._playing.decoder.cut(self._pressing)
            self._done()

    def _seek(self, press: Press, talk: Conversation, receiver: Receiver, now: float) -> list[Command]:
        try:
            wanted_s = press.place(self._tally.announced_s)
        except ValueError:
            return self._no_key("描述没有给出时长，盒子无法拖动 / no duration in the SDP: no seek bar", now)
        asked = f"PLAY Range: {place(wanted_s, self._face)}"
        # Boxes make the start of what is near it (stb_protocols §4.7).
        wanted_s = 0.0 if wanted_s < NEAR_START_S else wanted_s
        pressing = self._tally.press(Key.SEEK, now, asked, wanted_s=wanted_s)
        return self._move(talk, talk.seek(wanted_s, now), pressing, receiver)

    def _elsewhere(self, moment: datetime, talk: Conversation, now: float) -> list[Command]:
        """Leave, and come back with the window in the address."""
        until = datetime.fromtimestamp(
            min(moment.timestamp() + SHIFT_SHOWS_S, self._playing.clock.utc().timestamp()), moment.tzinfo
        )
        self.address = moment_address(self._playing.offer.url, moment, until, self._face)
        pressing = self._tally.press(Key.SHIFT, now, self.address.partition("?")[2])
        return self._ask(talk, talk.teardown(now), _Waits.SESSION, pressing)

    def _move(
        self, talk: Conversation, commands: list[Command], pressing: Pressing, receiver: Receiver
    ) -> list[Command]:
        receiver.doubt()
        return self._ask(talk, commands, _Waits.MOVE, pressing)

    def _ask(self, talk: Conversation, commands: list[Command], waits: _Waits, pressing: Pressing) -> list[Command]:
        self._waits, self._pressing, self._number = waits, pressing, talk.asked
        return commands

    def _no_key(self, words: str, now: float) -> list[Command]:
        assert self._press is not None
        self._tally.no_key(self._press.key, now, words, scale=self._press.scale)
        self._done()
        return []

    def _done(self) -> None:
        self._press, self._pressing = None, None
        self._carried_out.set()


def _start(window: str) -> float | None:
    """Seconds at which an answer's Range begins; None when it does not say so."""
    try:
        said = parse_range(window) if window else None
    except WireError:
        return None
    start = said.start if said is not None else None
    if isinstance(start, datetime):
        return start.timestamp()
    return start if isinstance(said, NptRange) and isinstance(start, float) else None
