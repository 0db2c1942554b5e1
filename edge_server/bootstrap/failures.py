"""What a failed sync means to a person at the console, and which exit code it has."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from domain.courseware import CatalogueError
from media import MediaError
from runtime.output import Exit
from runtime.settings import ConfigError
from sync import Busy, Corrupt, NoChannel, NoSpace, SyncError, Unreachable, Untrusted
from sync.bundle.words import StickRefused, words_for

_UNTRUSTED = {
    "rollback": "对方给出的是旧版本，已拒绝 / the source offers an older release; refused",
    "freeze": "时效签名已过期，请检查本机时间 / freshness has run out; check this machine's clock",
    "tampered": "签名不符，已拒绝 / signatures do not fit; refused",
    "oversized": "元数据过大，已拒绝 / metadata is too large; refused",
    "other-area": "内容属于其他地区，已拒绝 / published for another area; refused",
    "no-anchor": "缺少信任根文件；请用 init --trust 提供 / no trust anchor; give one with `init --trust`",
}


@dataclass(frozen=True, slots=True)
class Known:
    """A failure with its words."""

    exit_code: Exit
    reason: str
    words: str


def explain_stick(error: Exception) -> Known | None:
    """Return what to say of a stick that could not be taken in; None when it is a fault of this program."""
    if isinstance(error, StickRefused):
        return Known(Exit.FAILED, error.reason, error.words)
    known = explain(error)
    if known is None or isinstance(error, MediaError | Busy):
        return known
    return Known(known.exit_code, known.reason, words_for(error))


def explain(error: Exception) -> Known | None:
    """Return what to say; None when the error is a fault of this program."""
    kept = "；继续使用原有课件 / the old snapshot stays"
    match error:
        case Untrusted():
            return Known(Exit.FAILED, error.reason, f"{_UNTRUSTED[error.reason]}{kept}\n{error}")
        case Corrupt():
            return Known(Exit.FAILED, "corrupt", f"数据损坏，已拒绝 / damaged data refused{kept}\n{error}")
        case NoSpace():
            return Known(Exit.DISK_FULL, "no_space", f"磁盘空间不足 / not enough disk{kept}\n{error}")
        case NoChannel():
            return Known(Exit.FAILED, "no_channel", f"中心尚未发布内容 / nothing is published yet\n{error}")
        case Unreachable():
            return Known(Exit.UNREACHABLE, "unreachable", f"连不上中心平台 / the source does not answer{kept}\n{error}")
        case MediaError():
            return Known(Exit.FAILED, "cannot_package", f"课件无法封装 / a lesson cannot be packaged{kept}\n{error}")
        case Busy():
            return Known(
                Exit.FAILED, "busy", f"另一个同步正在进行，请稍后再试 / another sync is running; try later\n{error}"
            )
        case CatalogueError():
            return Known(
                Exit.FAILED,
                "cannot_read_catalogue",
                f"目录版本太新，请升级本机程序 / update this program{kept}\n{error}",
            )
        case ConfigError():
            return Known(Exit.BAD_CONFIG, "bad_config", f"配置有误 / the configuration makes no sense: {error}")
        case SyncError():
            return Known(Exit.FAILED, "sync_failed", f"同步失败 / sync failed{kept}\n{error}")
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return Known(Exit.DISK_FULL, "no_space", f"磁盘已满 / the disk is full{kept}\n{error}")
        case OSError():
            return Known(Exit.FAILED, "io_error", f"读写失败 / input or output failed{kept}\n{error}")
    return None


_BRIEFLY = {
    "Untrusted": "签名未通过 / the signatures were refused",
    "Corrupt": "数据损坏 / damaged data",
    "NoSpace": "磁盘空间不足 / not enough disk",
    "NoChannel": "中心尚未发布内容 / nothing is published yet",
    "Unreachable": "连不上中心平台 / the source does not answer",
    "Missing": "中心平台缺少文件 / the source lacks a file",
    "OnOtherSticks": "还需要其他 U 盘 / other sticks are needed",
    "CatalogueError": "目录版本太新，请升级本机程序 / update this program",
}


def briefly(noted: str) -> str:
    """Return what a noted failure (``Kind: message``) means to a person."""
    kind, _, message = noted.partition(": ")
    return f"{_BRIEFLY.get(kind, '同步失败 / sync failed')} ({message or kind})"
