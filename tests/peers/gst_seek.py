"""Run by Debian's Python: play a URL with GStreamer, seek, and say where playing went on. Imports nothing of ours."""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402


def main(uri: str, target_s: float) -> int:
    Gst.init(None)
    player = Gst.ElementFactory.make("playbin3", None)
    player.set_property("uri", uri)
    for name in ("video-sink", "audio-sink"):
        player.set_property(name, Gst.ElementFactory.make("fakesink", None))
        player.get_property(name).set_property("sync", True)
    player.set_state(Gst.State.PLAYING)
    bus = player.get_bus()
    player.get_state(15 * Gst.SECOND)
    bus.timed_pop_filtered(Gst.SECOND, Gst.MessageType.ERROR)
    flags = Gst.SeekFlags.FLUSH | Gst.SeekFlags.KEY_UNIT
    if not player.seek_simple(Gst.Format.TIME, flags, int(target_s * Gst.SECOND)):
        print("seek refused", file=sys.stderr)
        return 1
    player.get_state(15 * Gst.SECOND)
    bus.timed_pop_filtered(Gst.SECOND // 2, Gst.MessageType.ERROR)
    _, position = player.query_position(Gst.Format.TIME)
    message = bus.timed_pop_filtered(20 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    ended = message is not None and message.type == Gst.MessageType.EOS
    print(json.dumps({"position_s": position / Gst.SECOND, "ended": ended}))
    player.set_state(Gst.State.NULL)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
