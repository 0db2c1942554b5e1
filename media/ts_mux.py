"""Copy the tracks of an MP4 into one single-programme MPEG-2 transport stream, paced for thin lines.

The file is looked at for sizes and times (`media.ts_lesson`), the plan is made (`media.ts_plan`), then the packets are
filled a few megabytes at a time. Memory grows by about 200 bytes a picture, not by the media themselves.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from media import Unmuxable
from media.mp4 import read_mp4
from media.payload import NotMp4
from media.ts_fill import AUDIO_PID, PMT_PID, VIDEO_PID, Filler
from media.ts_index import TsIndex
from media.ts_lesson import read_lesson
from media.ts_sound import AacForm

__all__ = ["AUDIO_PID", "PMT_PID", "VIDEO_PID", "mux_ts"]


def mux_ts(source: Path, out: Path, *, audio: AacForm = "adts") -> TsIndex:
    """Write the transport stream of ``source`` (MP4: H.264 or H.265; AAC, MP2, MP3 or no sound) to ``out``.

    Nothing is re-encoded. Timestamps and continuity counters run through the whole file. ``out`` is overwritten;
    on an error it may be left half written (the caller works on a temporary name).

    Args:
        source: is mapped: it must not be cut short meanwhile.
        out: a new file.
        audio: how AAC is written; ``latm`` for boxes that know the sound of DVB only.

    Returns:
        The index of ``out``.

    Raises:
        Unmuxable: the source needs transcoding; the text says why.
        OSError: reading or writing failed.
    """
    mapping = _mapped(source)
    data = memoryview(mapping)

    def forget() -> None:
        """Give mapped pages back: they count as ours as long as they are mapped."""
        mapping.madvise(mmap.MADV_DONTNEED)

    try:
        index = read_mp4(data)
    except NotMp4 as error:
        raise Unmuxable(f"{source.name}: {error}; transcode it") from error
    except Unmuxable as error:
        raise Unmuxable(f"{source.name}: {error}") from error
    filler = Filler(read_lesson(index, data, audio, source.name, forget), data, source.name)
    del index
    with out.open("wb") as file:
        for rows in filler.windows():
            file.write(rows.data)
            forget()
    return filler.made()


def _mapped(path: Path) -> mmap.mmap:
    """Map a file; it is unmapped when nothing refers to it any more."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise Unmuxable(f"{path.name}: an empty file; transcode it")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
