"""What to tell the person who holds the stick: one sentence, in Chinese and then in English, that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sync import Corrupt, NoChannel, NoSpace, SyncError, Unreachable, Untrusted
from sync.pull.aside import OnOtherSticks
from sync.trust import BUNDLE_EXPIRY_DAYS

RefusedBecause = Literal[
    "not_a_bundle", "damaged", "incomplete", "unsigned", "older", "starts_later", "other_area", "expired"
]
"""``starts_later``: the stick was made for an edge that holds more. ``expired`` is found by the trust check."""

_KEPT = "已导入的内容会保留", "what was imported already is kept"


class StickRefused(SyncError):
    """Nothing of the stick is taken in."""

    def __init__(self, reason: RefusedBecause, words: str) -> None:
        """``reason`` is for programs, ``words`` for people."""
        super().__init__(words)
        self.reason: RefusedBecause = reason
        self.words = words


def not_a_bundle() -> StickRefused:
    """There is no label."""
    return StickRefused(
        "not_a_bundle",
        "这个U盘里没有课件更新包，没有导入任何内容；请检查是否插错U盘，或选择含有 bundle.json 的文件夹。"
        " This disk holds no courseware bundle and nothing was imported; check whether it is the right disk, or choose "
        "the folder that holds bundle.json.",
    )


def unfinished() -> StickRefused:
    """Writing was not finished."""
    return StickRefused(
        "not_a_bundle",
        "这个U盘的更新包没有写完，没有导入任何内容；请在制作它的电脑上重新运行导出，直到完成。"
        " Writing this disk was not finished and nothing was imported; run the export again on the computer where it "
        "was made, until it says that it is done.",
    )


def other_version() -> StickRefused:
    """The label is of a format that this program does not read."""
    return StickRefused(
        "not_a_bundle",
        "这个U盘是用较新的程序制作的，本机不能读取，没有导入任何内容；请先升级本机程序。"
        " This disk was made by a newer program and nothing was imported; update the software of this server first.",
    )


def damaged(name: str) -> StickRefused:
    """A file has other bytes than it should have."""
    return StickRefused(
        "damaged",
        f"U盘上的文件 {name} 已损坏，没有导入任何内容；请重新制作这个U盘（必要时换一个U盘）再导入。"
        f" The file {name} on this disk is damaged and nothing was imported; make the disk again (on another one if "
        "need be) and import that.",
    )


def incomplete(name: str, missing: int) -> StickRefused:
    """Files are missing."""
    return StickRefused(
        "incomplete",
        f"U盘上缺少 {missing} 个文件（例如 {name}），没有导入任何内容；请完整复制整个文件夹，或重新制作U盘。"
        f" {missing} files are missing on this disk ({name}, for one) and nothing was imported; copy the whole folder, "
        "or make the disk again.",
    )


def unsigned(name: str) -> StickRefused:
    """Signed metadata is missing, or not signed by the right publisher."""
    return StickRefused(
        "unsigned",
        f"U盘缺少有效的签名（{name}），无法确认来自您的中心平台，没有导入任何内容；请向中心平台索取新的U盘。"
        f" The signature on this disk is missing or not valid ({name}), so it cannot be told that it comes from your "
        "centre, and nothing was imported; ask the centre for a new disk.",
    )


def older(seqs: Sequence[tuple[str, int, int]]) -> StickRefused:
    """Nothing is newer than what is held; ``seqs``: channel, release on the stick, release held."""
    chinese = "；".join(f"{channel}：本机第 {held} 版，U盘第 {seq} 版" for channel, seq, held in seqs[:3])
    english = "; ".join(f"{channel}: release {held} here, {seq} on the disk" for channel, seq, held in seqs[:3])
    return StickRefused(
        "older",
        f"本机的内容与U盘相同或更新{_in_brackets(chinese, '（）')}，没有导入任何内容；这个U盘不用再导入。"
        f" This server already has what is on this disk, or something newer{_in_brackets(english, ' ()')}, and nothing "
        "was imported; this disk is not needed here.",
    )


def superseded() -> StickRefused:
    """Older than what was seen already, by its signatures: perhaps a stick of an earlier set."""
    return StickRefused(
        "older",
        "这个U盘比本机已经见过的版本旧，没有导入任何内容；请使用最近制作的那一套U盘。"
        " This disk is older than what this server has seen already, and nothing was imported; use the disks of the "
        "newest set.",
    )


def starts_later(channel: str, since: int, held: int) -> StickRefused:
    """The stick was made for edges that hold more."""
    return StickRefused(
        "starts_later",
        f"这个U盘只含 {channel} 第 {since} 版以后的更新，而本机只有第 {held} 版，没有导入任何内容；"
        "请把本U盘上的回执交给中心平台，重新制作U盘。"
        f" This disk only has what changed in {channel} after release {since}, but this server has release {held}, and "
        "nothing was imported; take the receipt back to the centre and have a disk made from there.",
    )


def other_area(theirs: str = "", ours: str = "") -> StickRefused:
    """The stick is for another area."""
    chinese, english = (f"U盘：{theirs}，本机：{ours}", f"{theirs}, not {ours}") if theirs else ("", "")
    return StickRefused(
        "other_area",
        f"这个U盘是发给其他地区的{_in_brackets(chinese, '（）')}，没有导入任何内容；请使用发给本地区的U盘。"
        f" This disk is for another area{_in_brackets(english, ' ()')} and nothing was imported; use the disk that was "
        "made for your area.",
    )


def expired() -> StickRefused:
    """The timestamp ran out, or the clock is wrong."""
    return StickRefused(
        "expired",
        f"这个U盘已超过有效期（{BUNDLE_EXPIRY_DAYS} 天），没有导入任何内容；"
        "请先核对本机日期，日期正确就向中心平台索取新的U盘。"
        f" This disk is too old (it is good for {BUNDLE_EXPIRY_DAYS} days) and nothing was imported; check the date of "
        "this server, and if that is right ask the centre for a new disk.",
    )


def words_for(error: BaseException, *, next_sticks: Sequence[int] = ()) -> str:
    """Return what to tell about anything that ended an inspection or import.

    Args:
        error: What was raised.
        next_sticks: After OnOtherSticks: what ``Inspected.sticks_with`` says of its packs.
    """
    if isinstance(error, StickRefused):
        return error.words
    if isinstance(error, Untrusted):
        return _untrusted(error).words
    if isinstance(error, OnOtherSticks):
        return _on_other_sticks(error, next_sticks)
    if isinstance(error, NoSpace):
        lacking = _gigabytes(max(0, error.needed_bytes - error.free_bytes))
        return (
            f"磁盘空间不足，还差 {lacking}；请腾出空间后重新导入，{_KEPT[0]}。"
            f" There is not enough room, {lacking} more are needed; make room and import again: {_KEPT[1]}."
        )
    if isinstance(error, Corrupt):
        return (
            f"U盘上的数据读出来不对（可能已损坏），导入停止，{_KEPT[0]}；请重新制作U盘再导入。"
            " What was read from the disk is not right (it may be failing) and the import stopped; make the disk "
            f"again and import that: {_KEPT[1]}."
        )
    if isinstance(error, NoChannel):
        return (
            "这个U盘里没有本机所用的频道，没有导入任何内容；请向中心平台索取适合本站的U盘。"
            " This disk has no channel that this server uses and nothing was imported; ask the centre for a disk for "
            "this station."
        )
    if isinstance(error, Unreachable):
        return (
            f"读不到U盘（可能被拔出或已损坏），导入停止，{_KEPT[0]}；请重新插好U盘再导入一次，仍不行请换U盘。"
            " The disk cannot be read (it may have been pulled out, or be failing) and the import stopped; plug it in "
            f"again and import once more: {_KEPT[1]}."
        )
    if isinstance(error, OSError):  # those of the stick are Unreachable
        return (
            f"本机硬盘读写出错，导入停止，{_KEPT[0]}；请联系维护人员检查本机硬盘后再导入。"
            f" The disk of this server fails ({error.strerror}) and the import stopped; have it looked at, then import "
            f"again: {_KEPT[1]}."
        )
    return f"导入失败，现有内容不受影响。 The import failed; what is served here is unchanged. ({error})"


def _on_other_sticks(error: OnOtherSticks, sticks: Sequence[int]) -> str:
    missing, numbers = _gigabytes(error.missing_bytes), [str(number) for number in sticks]
    chinese = f"第 {'、'.join(numbers)} 号" if numbers else "同一套的下一个"
    english = f"disk {' or '.join(numbers)} of the set" if numbers else "the next disk of the set"
    return (
        f"这个U盘已导入，还缺 {missing}；请换上{chinese}U盘继续导入。"
        f" This disk was imported and {missing} are still missing; insert {english} and import again."
    )


def _untrusted(error: Untrusted) -> StickRefused:
    if error.reason == "freeze":
        return expired()
    if error.reason == "rollback":
        return superseded()
    if error.reason == "other-area":
        return other_area()
    return unsigned(error.reason)


def _in_brackets(text: str, brackets: str) -> str:
    return f"{brackets[:-1]}{text}{brackets[-1]}" if text else ""


def _gigabytes(length_bytes: int) -> str:
    if length_bytes >= 1_000_000_000:
        return f"{length_bytes / 1_000_000_000:.1f} GB"
    return f"{max(1, -(-length_bytes // 1_000_000))} MB"
