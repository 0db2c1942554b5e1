"""Run by Debian's Python: play a URL over RTSP, ask for another speed, and tell when each picture came. Imports nothing
of ours."""

import json
import sys

import gi

gi.require_version("Gst", "1.0")  # must come before the import
from gi.repository import Gst  # noqa: E402


def main(uri: str, rate: float, start_s: float) -> int:
    Gst.init(None)
    seen: list[float] = []
    player = Gst.parse_launch(
        f"rtspsrc location={uri} protocols=tcp ! rtpmp2tdepay ! tsparse ! tsdemux ! h264parse ! avdec_h264 "
        "! fakesink name=screen sync=true signal-handoffs=true"
    )
    player.get_by_name("screen").connect("handoff", lambda _, buffer, __: seen.append(buffer.pts / Gst.SECOND))
    player.set_state(Gst.State.PLAYING)
    bus = player.get_bus()
    while not seen:
        if bus.timed_pop_filtered(Gst.SECOND // 10, Gst.MessageType.ERROR):
            return 1
    flags = Gst.SeekFlags.FLUSH | Gst.SeekFlags.TRICKMODE
    before = len(seen)
    moved = player.seek(
        rate, Gst.Format.TIME, flags, Gst.SeekType.SET, int(start_s * Gst.SECOND), Gst.SeekType.NONE, -1
    )
    message = bus.timed_pop_filtered(40 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    ended = message is not None and message.type == Gst.MessageType.EOS
    player.set_state(Gst.State.NULL)
    print(json.dumps({"moved": moved, "ended": ended, "shown_s": seen[before:]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
