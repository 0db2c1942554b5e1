"""One viewer of a lesson: what is due, and sending it. Knows neither HTTP nor ICE; times are monotonic seconds.

The time line is the lesson's. A viewer that begins in the middle, or is set back to a keyframe, keeps counting upwards
towards its browser; pictures and sound share that count, so that reports keep lips and voice together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from edge_server.egress.whep.lane import Ask, Lane, Place, Track
from edge_server.egress.whep.outgoing import Outgoing
from wire.rtp import Rtcp, RtpError, write_rtcp
from wire.rtp_feedback import read_feedback

EARLY_S = 0.002
"""Frames that are due so soon go out together."""
BURST_MAX_PACKETS, BURST_EVERY_S = 24, 0.005
"""A large picture, and what was late, goes out at 46 Mb/s: what a village's switch or access point can take."""
LATE_MAX_S = 0.5
"""What is later moves the time line."""
REPORT_EVERY_S = 1.0
AGAIN_MAX_PER_S = 1000
"""Packets sent again to one viewer in a second."""
RESTART_AFTER_S, RESTART_EVERY_S = 2.5, 2.0
"""A viewer that lost the picture waits for a keyframe that is nearer; else it is set back to the last one."""

Protect = Callable[[bytes], bytes]


class Wire(Protocol):
    """Where packets go."""

    def send(self, packets: Sequence[bytes]) -> None:
        """Send encrypted packets."""


class Viewer:
    """Sends one lesson to one viewer."""

    def __init__(
        self,
        tracks: Sequence[tuple[Track, Outgoing]],
        ask: Ask,
        *,
        begin_s: float,
        wake: Callable[[Viewer], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Prepare.

        Args:
            tracks: each with what makes its packets; the first is the pictures.
            ask: gives chunks.
            begin_s: where to begin: at the keyframe before.
            wake: called when a chunk that was waited for is here.
            failed: called when the lesson cannot be read any more.
        """

        def arrived(error: Exception | None) -> None:
            if self._wire is not None:
                wake(self) if error is None else failed(error)

        self._lanes = [Lane(track, out, ask, arrived) for track, out in tracks]
        self._begin_s = begin_s
        self._wire: Wire | None = None
        self._protect: Protect = bytes
        self._protect_rtcp: Protect = bytes
        self._zero_s = self._shift_s = self._unix_s = 0.0
        self._report_s = self._restart_s = 0.0
        self._again_s = -math.inf
        self._again_left = 0
        self.again = self.restarts = self.moved = self.keyframes_wanted = 0

    @property
    def over(self) -> bool:
        """Everything has gone out."""
        return all(lane.over for lane in self._lanes)

    def start(self, wire: Wire, protect: Protect, protect_rtcp: Protect, *, now_s: float, unix_s: float) -> None:
        """Begin to send."""
        self._wire, self._protect, self._protect_rtcp = wire, protect, protect_rtcp
        self._unix_s = unix_s - now_s
        self._go(self._begin_s, now_s)
        self._report_s = now_s

    def pump(self, now_s: float) -> float | None:
        """Send what is due; return when to come again, None when there is nothing more or only ``wake`` can tell."""
        if self._wire is None:
            return None
        left = BURST_MAX_PACKETS
        while True:
            found = self._earliest()
            if found is None:
                return None
            lane, place = found
            due_s = self._zero_s + place.frame.time_s
            if due_s > now_s + EARLY_S:
                return due_s
            if now_s - due_s > LATE_MAX_S:
                self._zero_s += now_s - due_s
                self.moved += 1
            if left <= 0:
                return now_s + BURST_EVERY_S
            left -= self._send(self._wire, lane, place, now_s, left)
            if now_s >= self._report_s:
                self._report_s = now_s + REPORT_EVERY_S
                self._wire.send([self._protect_rtcp(write_rtcp(self._reports(now_s)))])

    def take_feedback(self, data: bytes, now_s: float) -> bool:
        """Act upon an RTCP datagram of the viewer; True when it says goodbye."""
        try:
            asked = read_feedback(data)
        except RtpError:
            return False
        if self._wire is None:
            return asked.goodbye
        for lane in self._lanes:
            ssrc = lane.out.numbers.ssrc
            if lost := [sequence for source, sequence in asked.lost if source == ssrc]:
                self._send_again(self._wire, lane, lost, now_s)
        if self._lanes[0].out.numbers.ssrc in asked.keyframes:
            self.keyframes_wanted += 1
            self._restart(now_s)
        return asked.goodbye

    def goodbye(self, now_s: float) -> None:
        """Tell the viewer that the streams have ended, and send nothing more."""
        wire, self._wire = self._wire, None
        if wire is not None:
            byes = [lane.out.goodbye() for lane in self._lanes]
            wire.send([self._protect_rtcp(write_rtcp([*self._reports(now_s), *byes]))])

    def _earliest(self) -> tuple[Lane, Place] | None:
        """Return the lane whose frame is due first; None while one of them waits, and at the end."""
        best: tuple[Lane, Place] | None = None
        for lane in self._lanes:
            place = lane.next()
            if place is None:
                if not lane.over:
                    return None
            elif best is None or place.frame.time_s < best[1].frame.time_s:
                best = lane, place
        return best

    def _send(self, wire: Wire, lane: Lane, place: Place, now_s: float, most: int) -> int:
        """Send a frame, or as much of it as may go out now; return the number of packets."""
        frame, first = place.frame, place.payload
        payloads = frame.payloads if len(frame.payloads) <= most and not first else frame.payloads[first : first + most]
        place.payload += len(payloads)
        last = place.payload >= len(frame.payloads)
        protect = self._protect
        packets = lane.out.make(payloads, frame.time_s + self._shift_s, now_s, last=last)
        wire.send([protect(packet) for packet in packets])
        if last:
            lane.sent()
        return len(payloads)

    def _send_again(self, wire: Wire, lane: Lane, lost: Sequence[int], now_s: float) -> None:
        if now_s - self._again_s >= 1.0:
            self._again_s, self._again_left = now_s, AGAIN_MAX_PER_S
        packets = lane.out.again(lost[: self._again_left])
        self._again_left -= len(packets)
        self.again += len(packets)
        wire.send([self._protect(packet) for packet in packets])

    def _reports(self, now_s: float) -> list[Rtcp]:
        """Say of every stream which moment of the browser's time line is now."""
        shown_s, unix_s = now_s - self._zero_s + self._shift_s, self._unix_s + now_s
        return [each for lane in self._lanes for each in lane.out.report(shown_s, unix_s)]

    def _restart(self, now_s: float) -> None:
        """Set the viewer back to the last keyframe when the next one is far."""
        pictures, here_s = self._lanes[0].track, now_s - self._zero_s
        next_s = pictures.keyframe_after(here_s)
        if (
            now_s < self._restart_s
            or self._lanes[0].over
            or (next_s is not None and next_s - here_s <= RESTART_AFTER_S)
        ):
            return
        last_s = pictures.begins_s(pictures.chunk_at(here_s))
        self._restart_s = now_s + RESTART_EVERY_S
        self.restarts += 1
        self._shift_s += here_s - last_s
        self._go(last_s, now_s)

    def _go(self, time_s: float, now_s: float) -> None:
        pictures = self._lanes[0].track
        number = pictures.chunk_at(time_s)
        begin_s = pictures.begins_s(number)
        self._zero_s = now_s - begin_s
        self._lanes[0].go(number, begin_s)
        for lane in self._lanes[1:]:
            lane.go(lane.track.chunk_at(begin_s), begin_s)
