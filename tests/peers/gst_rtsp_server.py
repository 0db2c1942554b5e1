"""gst-rtsp-server with one finite lesson at /lesson; prints its port. Run by Debian's python3; imports nothing of ours.

usage: gst_rtsp_server.py mp2t|h264 [FRAMES | FILE.mp4]
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PICTURE = (
    "videotestsrc num-buffers={frames} is-live=false ! video/x-raw,format=I420,width=320,height=240,framerate=25/1"
)
CODER = "x264enc tune=zerolatency key-int-max=25 bitrate=300 ! video/x-h264,profile=baseline ! h264parse"
SOUND = (
    "audiotestsrc num-buffers={blocks} samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse"
)
LAUNCH = {
    "mp2t": f"( mpegtsmux name=m alignment=7 ! rtpmp2tpay pt=33 name=pay0 {PICTURE} ! {CODER} ! m. {SOUND} ! m. )",
    "h264": f"( {PICTURE} ! {CODER} ! rtph264pay config-interval=-1 pt=96 name=pay0 )",
}
FILED = {
    "mp2t": "( filesrc location={file} ! qtdemux name=d mpegtsmux name=m alignment=7 ! rtpmp2tpay pt=33 name=pay0 "
    "d.video_0 ! queue ! h264parse config-interval=-1 ! m. d.audio_0 ! queue ! aacparse ! m. )",
    "h264": "( filesrc location={file} ! qtdemux name=d d.video_0 ! queue ! h264parse "
    "! rtph264pay config-interval=-1 pt=96 name=pay0 )",
}
"""Of a file, in which one can seek."""


def main() -> None:
    kind, what = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "75"
    if what.isdecimal():
        frames = int(what)
        launch = LAUNCH[kind].format(frames=frames, blocks=frames * 48000 // (25 * 1024))
    else:
        launch = FILED[kind].format(file=what)
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch)
    server.get_mount_points().add_factory("/lesson", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()
