"""The central platform's settings; the only place that reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.settings import Origin, read, setting

PREFIX = "CENTRAL_PLATFORM_"
FILE_NAME = "central.toml"


@dataclass(frozen=True, slots=True)
class CentralConfig:
    """Settings of one central platform folder."""

    offline_days: int = setting(45, "Days without contact after which edges stop offering an item; 0 for never.")
    host: str = setting("127.0.0.1", "Address that `serve` listens on.")
    port: int = setting(8700, "TCP port that `serve` listens on; 0 takes a free one.")
    refresh_s: float = setting(21600.0, "Seconds between two signings of the freshness metadata while serving.")
    grace_s: float = setting(5.0, "Seconds that running downloads get to finish when the server stops.")
    gate_boxes: str = setting(
        "ctc_hw_old,cu_hw_old,new_hls_fmp4,new_hls_ts,pc_progressive",
        "Boxes on which a lesson on trial must have been played before `admit`, comma-separated.",
    )
    work_max_bytes: int = setting(64 * 1024**3, "Largest upload, bytes; a bigger file is refused.")


def default_root() -> Path:
    """Folder named by the environment, else the current one."""
    return Path(os.environ.get(PREFIX + "DIR", "."))


def load(root: Path, flags: Mapping[str, object]) -> tuple[CentralConfig, dict[str, Origin]]:
    """Read the settings of the platform in ``root``.

    Raises:
        runtime.settings.ConfigError: a setting is unknown or of the wrong type.
    """
    return read(CentralConfig, prefix=PREFIX, file=root / FILE_NAME, environ=os.environ, flags=flags)
