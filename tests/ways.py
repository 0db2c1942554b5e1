"""The ways from an edge to a player, and what strangers decode from each."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path

from tests.edge_lab import Running

FFMPEG = ("ffmpeg", "-nostdin", "-v", "warning")


def stranger(*command: str, timeout_s: float = 60) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr[-1500:]}"
    return done.stdout


def ways(edge: Running, item: str, rendition: str) -> dict[str, tuple[str, ...]]:
    """Input of ffmpeg for each way."""
    http, rtsp = edge.http.rstrip("/"), edge.rtsp.rstrip("/")
    return {
        "progressive": ("-i", f"{http}/media/{item}/{rendition}.mp4"),
        "hls-ts": ("-i", f"{http}/hls/{item}/ts/{rendition}/index.m3u8"),
        "hls-fmp4": ("-i", f"{http}/hls/{item}/fmp4/{rendition}/index.m3u8"),
        "rtsp-udp": ("-rtsp_transport", "udp", "-i", f"{rtsp}/vod/{item}.mpg?rendition={rendition}"),
        "rtsp-tcp": ("-rtsp_transport", "tcp", "-i", f"{rtsp}/vod/{item}.mpg?rendition={rendition}"),
    }


def pictures(source: tuple[str, ...], *, timeout_s: float = 60) -> list[str]:
    """A 128 bit hash of each decoded picture, in order."""
    form = ("-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framehash", "-hash", "murmur3", "-")
    out = stranger(*FFMPEG, *source, *form, timeout_s=timeout_s)
    return [line.split(",")[5].strip() for line in out.splitlines() if line and not line.startswith("#")]


@lru_cache(maxsize=16)
def pictures_of(path: Path, timeout_s: float = 60) -> tuple[str, ...]:
    """The same of a file that does not change; decoded once."""
    return tuple(pictures(("-i", str(path)), timeout_s=timeout_s))
