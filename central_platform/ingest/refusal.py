"""Why a file cannot become courseware. Every reason has words that say what to do, Chinese first."""

from __future__ import annotations

from enum import Enum


class RefusalReason(Enum):
    """Typed reasons; the value is what programs see."""

    EMPTY = "empty"
    UNREADABLE = "unreadable"
    ENCRYPTED = "encrypted"
    NOT_A_VIDEO = "not_a_video"
    NO_PLAYABLE_MEDIA = "no_playable_media"
    NO_DECODABLE_FRAMES = "no_decodable_frames"
    DAMAGED = "damaged"
    UNSUPPORTED_CODEC = "unsupported_codec"
    TOO_LONG = "too_long"
    NO_PAGE = "no_page"
    MISSING_IMAGE = "missing_image"
    UNREADABLE_IMAGE = "unreadable_image"
    REMOTE_REFERENCE = "remote_reference"
    UNSAFE_PATH = "unsafe_path"
    TOO_HEAVY = "too_heavy"


_WORDS = {
    RefusalReason.EMPTY: "文件是空的，请重新拷贝 / the file is empty; copy it again",
    RefusalReason.UNREADABLE: "读不出音视频，请重新导出 / not readable as media; export it again",
    RefusalReason.ENCRYPTED: "文件已加密，请提供未加密的版本 / the file is encrypted; provide a clear one",
    RefusalReason.NOT_A_VIDEO: "这是图片或字幕，请放进图文课件 / a picture or text; put it into a picture-text lesson",
    RefusalReason.NO_PLAYABLE_MEDIA: "文件里没有画面和声音 / the file holds neither picture nor sound",
    RefusalReason.NO_DECODABLE_FRAMES: "画面一帧也解不出来，请重新导出 / no picture can be decoded; export it again",
    RefusalReason.DAMAGED: "文件损坏，请从原始素材重新导出 / the file is damaged; export it again from the original",
    RefusalReason.UNSUPPORTED_CODEC: "编码格式不支持，请导出为 H.264 / this coding is not supported; export as H.264",
    RefusalReason.TOO_LONG: "时长超过上限，请分成几课 / too long; split it into several lessons",
    RefusalReason.NO_PAGE: "目录里须有 index.html 或一个 .md 文件 / the folder needs index.html or one .md file",
    RefusalReason.MISSING_IMAGE: "页面引用的图片不存在 / an image that the page shows is missing",
    RefusalReason.UNREADABLE_IMAGE: "图片打不开，请换成 JPEG 或 PNG / an image cannot be read; use JPEG or PNG",
    RefusalReason.REMOTE_REFERENCE: "页面引用了网络图片，请存到本地 / the page shows a remote image; store it beside",
    RefusalReason.UNSAFE_PATH: "引用了目录之外的文件 / a reference leads out of the folder",
    RefusalReason.TOO_HEAVY: "图文总量过大，请减少图片 / the page is too heavy; use fewer images",
}


class Refused(Exception):
    """The source cannot be made playable; nothing was published."""

    def __init__(self, reason: RefusalReason, detail: str = "") -> None:
        """``detail`` names the file, stream or number behind the reason."""
        super().__init__(_WORDS[reason] + (f" ({detail})" if detail else ""))
        self.reason, self.detail = reason, detail
