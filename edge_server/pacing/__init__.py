"""The data path of everything that leaves by the clock: RTSP sessions, live channels, multicast.

A file is divided into RTP packets once, for all its viewers (`timeline`): the header is a function of the packet's
index in the file. Chunks of ready packets (`chunks`) are sent unmodified to whoever plays there, by few system calls
(`datagrams`); one pacer (`pacer`) serves every flow of the process.
"""

from __future__ import annotations
