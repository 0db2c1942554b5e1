"""Copy the tracks of an MP4 into one single-programme MPEG-2 transport stream, paced for thin lines.

The file is looked at for sizes and times (`media.ts_lesson`), the plan is made (`media.ts_plan`), then the packets are
filled a few megabytes at a time. Memory grows by about 200 bytes a picture, not by the media themselves.
"""

from __future__ import annotations

import mmap
from io import FileIO
from pathlib import Path
from typing import Final

from media import Unmuxable
from media.mp4 import read_mp4
from media.payload import NotMp4
from media.ts_fill import AUDIO_PID, PMT_PID, VIDEO_PID, Filler
from media.ts_index import TsIndex
from media.ts_lesson import read_lesson
from media.ts_sound import AacForm

WRITE_BYTES: Final = 1 << 19
"""At most in one write, which ends at a multiple of it: larger ones, and ones that end anywhere, take the kernel up to
twice as long (ext4, Linux 6.18), for it looks for larger runs of free pages."""

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
    written = 0
    with out.open("wb", buffering=0) as file:
        for rows in filler.windows():
            written = _append(file, rows.data.cast("B"), written)
            forget()
    return filler.made()


def _append(file: FileIO, packets: memoryview, position: int) -> int:
    """Write all of the packets at the end of the file, and return where it ends then."""
    done = 0
    while done < len(packets):
        room = WRITE_BYTES - (position + done) % WRITE_BYTES
        done += file.write(packets[done : done + room])
    return position + done


def _mapped(path: Path) -> mmap.mmap:
    """Map a file; it is unmapped when nothing refers to it any more."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise Unmuxable(f"{path.name}: an empty file; transcode it")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
