"""Kodi as a stranger: without a screen, with a home of its own, asked over JSON-RPC on the loopback interface."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from fixtures import frame_code

BINARY = Path("/usr/lib/x86_64-linux-gnu/kodi/kodi.bin")
"""Not the script around it, which starts Kodi again when it crashes."""
STARTED_WITHIN_S = 60.0
YES_NO_DIALOG = 10100
"""Number of the window."""
WIDTH, HEIGHT = 640, 360
"""Of the screen, in pixels; a picture of this size is shown as it is."""


class NotYet(Exception):
    """Kodi cannot answer that now."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Kodi:
    """One running Kodi."""

    home: Path
    port: int
    display: str
    _number: int = field(default=0)

    def ask(self, method: str, **params: Any) -> Any:
        """Call one method; a connection of its own, so that notifications of earlier ones are not in the way."""
        self._number += 1
        asked = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(json.dumps(asked).encode())
            decoder, text, deadline = json.JSONDecoder(), "", time.monotonic() + 20
            raw = b""
            while time.monotonic() < deadline:
                piece = connection.recv(65536)
                assert piece, "Kodi closed the connection"
                raw += piece
                text = raw.decode("utf-8", "ignore")
                while text:
                    try:
                        told, end = decoder.raw_decode(text)
                    except json.JSONDecodeError:
                        break
                    text = text[end:].lstrip()
                    raw = text.encode()
                    if told.get("id") == self._number:
                        if "error" in told:
                            raise NotYet(told["error"])
                        return told["result"]
        raise AssertionError(f"no answer to {method}")

    def until(self, look: Callable[[], Any], *, within_s: float) -> Any:
        """Ask again and again until there is something; the log of Kodi says why there is not."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.25)
        raise AssertionError(f"not within {within_s:g} s\n{self.log()[-6000:]}")

    def log(self) -> str:
        """What Kodi wrote."""
        path = self.home / ".kodi" / "temp" / "kodi.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def channels(self) -> list[dict[str, Any]]:
        """List the TV channels; empty until Kodi has them."""
        try:
            told = self.ask("PVR.GetChannels", channelgroupid="alltv", properties=["channelnumber"])
        except NotYet:
            return []
        return list(told.get("channels", []))

    def frame(self) -> int | None:
        """Read the number of the frame that is on the screen (docs/frame_code.md); None: there is none."""
        command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "x11grab", "-video_size", f"{WIDTH}x{HEIGHT}"]
        command += ["-draw_mouse", "0", "-i", self.display, "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-"]
        grabbed = subprocess.run(command, capture_output=True, timeout=15, check=True).stdout
        return frame_code.read(np.frombuffer(grabbed, np.uint8).reshape(HEIGHT, WIDTH))

    def close_dialogs(self) -> None:
        """Say no to what Kodi asks after its start (whether other add-ons of Debian's shall be enabled)."""
        while self.ask("GUI.GetProperties", properties=["currentwindow"])["currentwindow"]["id"] == YES_NO_DIALOG:
            self.ask("Input.Back")
            time.sleep(0.2)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@contextmanager
def running(folder: Path, addon: str, settings: Mapping[str, str]) -> Iterator[Kodi]:
    """Run Kodi with one add-on of Debian's, set up as a person would; it has ended when the block ends.

    Args:
        folder: an empty folder for its home.
        addon: e.g. ``pvr.stalker``; its Debian package must be installed.
        settings: of the add-on.
    """
    port, events = _free_port(), _free_port()
    user = folder / ".kodi" / "userdata"
    lines = "".join(f"<setting id={quoteattr(key)}>{escape(value)}</setting>" for key, value in settings.items())
    _write(user / "addon_data" / addon / "settings.xml", f'<settings version="2">{lines}</settings>')
    _write(
        user / "advancedsettings.xml",
        f"<advancedsettings version='1.0'><jsonrpc><tcpport>{port}</tcpport></jsonrpc>"
        "<loglevel hide='false'>1</loglevel></advancedsettings>",
    )
    _write(
        user / "guisettings.xml",
        "<settings version='2'>"
        "<setting id='services.esenabled'>true</setting>"
        f"<setting id='services.esport'>{events}</setting>"
        "<setting id='services.zeroconf'>false</setting><setting id='services.upnp'>false</setting>"
        "<setting id='general.addonupdates'>2</setting>"
        "</settings>",
    )
    reading, writing = os.pipe()
    screen = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    environment = {"HOME": str(folder), "PATH": os.defpath, "LANG": "C.UTF-8", "XDG_RUNTIME_DIR": str(folder)}
    command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=yes", "--use-pid-file=no"]
    command += ["-L", "module-null-sink", "-L", f"module-native-protocol-unix auth-anonymous=1 socket={folder}/sound"]
    sound = subprocess.Popen(  # without a sound card Kodi stands still at the first picture
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with os.fdopen(reading) as told:
        display = told.readline().strip()
    environment |= {
        "DISPLAY": f":{display}",
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "PULSE_SERVER": f"unix:{folder}/sound",
        "KODI_HOME": "/usr/share/kodi",
    }
    with (folder / "kodi.out").open("wb") as out:
        process = subprocess.Popen(
            [str(BINARY), "--standalone", "--audio-backend=pulseaudio"],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    kodi = Kodi(folder, port, f":{display}")
    try:
        kodi.until(lambda: _listens(kodi), within_s=STARTED_WITHIN_S)
        kodi.ask("Addons.SetAddonEnabled", addonid=addon, enabled=True)
        yield kodi
    finally:
        for each in (process, sound, screen):
            each.send_signal(signal.SIGTERM)
            try:
                each.wait(10)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait(10)


def _listens(kodi: Kodi) -> bool:
    try:
        return bool(kodi.ask("JSONRPC.Ping") == "pong")
    except OSError:
        return False
