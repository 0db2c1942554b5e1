"""gst-rtsp-server with a transport stream file; run by Debian's python3, imports nothing of ours.

usage: gst_server.py FILE.ts PORT      /vod: a pipeline for each viewer; /shared: one for all, as a live channel
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LAUNCH = "( filesrc location={file} ! tsparse set-timestamps=true alignment=7 ! rtpmp2tpay name=pay0 pt=33 )"


def main() -> None:
    file, port = sys.argv[1:3]
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    server.set_backlog(1024)
    for path, shared in (("/vod", False), ("/shared", True)):
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(LAUNCH.format(file=file))
        factory.set_shared(shared)
        server.get_mount_points().add_factory(path, factory)
    server.attach(None)
    GLib.MainLoop().run()


main()
