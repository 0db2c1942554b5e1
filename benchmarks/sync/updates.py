"""The update cases: for each an old and a new tree, hard links where nothing changed."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

from benchmarks.sync.corpus import (
    AAC,
    COPY,
    FAST_START,
    FRAGMENTED,
    NEW_TIME_S,
    OLD_TIME_S,
    RATE,
    Corpus,
    both,
    catalogue,
    ffmpeg,
    h264,
    h265,
    make_page,
    make_picture,
    picture,
    sentence,
    sound,
    title,
    tree,
    write,
)

CASES = {
    "u1a": "title edit, moov first",
    "u1b": "title edit, moov last",
    "u2": "faststart remux",
    "u3": "trim the first 30 s",
    "u4": "append 2 min",
    "u5": "replace 60 s in the middle",
    "u6": "add a subtitle track",
    "u7": "full re-encode, sound too",
    "u8": "5 new files, 2 deleted, catalogue",
    "u10": "rename and move of 178 MB",
    "u11": "catalogue, 5 entries, and one page",
    "hevc": "H.265: append and title",
    "fmp4": "fragmented MP4: append and title",
}
LESSON = "lesson.mp4"


def begin(corpus: Corpus, case: str, old: Path) -> Path:
    """Start a case of one lesson; return where the new one goes."""
    shutil.rmtree(corpus.folder / "cases" / case, ignore_errors=True)
    corpus.old(case).mkdir(parents=True)
    corpus.new(case).mkdir(parents=True)
    os.link(old, corpus.old(case) / LESSON)
    return corpus.new(case) / LESSON


def joined(corpus: Corpus, name: str, parts: list[Path]) -> list[str]:
    """Input: several files one after the other."""
    listing = corpus.raw / f"{name}.txt"
    listing.write_text("".join(f"file '{part}'\n" for part in parts))
    return ["-f", "concat", "-safe", "0", "-i", str(listing)]


def subtitles(corpus: Corpus, seconds: int) -> Path:
    """One line of subtitle each 4 s."""

    def stamp(at: int) -> str:
        return f"{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02},000"

    lines = [
        f"{i + 1}\n{stamp(i * 4)} --> {stamp(i * 4 + 3)}\n"
        f"Subtitle line {i}: the numerator is above the line, the denominator is below it.\n\n"
        for i in range(seconds // 4)
    ]
    target = corpus.raw / "subtitles.srt"
    target.write_text("".join(lines))
    return target


def make_lesson_updates(corpus: Corpus) -> None:
    """u1a to u7: one lesson changes."""
    length, raw = corpus.scale.seconds, corpus.raw
    a, b = corpus.library / "video/lessonA.mp4", corpus.library / "video/lessonB.mp4"
    edited = title("Fractions lesson 1 (revised edition 2026, term 2)")
    ffmpeg(begin(corpus, "u1a", a), "-i", str(a), *COPY, *edited, *FAST_START)
    ffmpeg(begin(corpus, "u1b", b), "-i", str(b), *COPY, *title("Geometry (revised edition 2026, term 2)"))
    ffmpeg(begin(corpus, "u2", b), "-i", str(b), *COPY, *FAST_START)
    ffmpeg(begin(corpus, "u3", a), "-ss", str(length(30)), "-i", str(a), *COPY, *FAST_START)
    more = picture("testsrc2=s=1280x720:r=25,hue=H=100", 61)
    other_encoder = [*h264("veryfast", 50), *RATE, *AAC]
    extra = ffmpeg(raw / "extra.mp4", *more, *sound(61), *both(length(120)), *other_encoder)
    ffmpeg(begin(corpus, "u4", a), *joined(corpus, "u4", [a, extra]), *COPY, *FAST_START)
    start, stop = length(120), length(120) + length(60)
    box = "drawbox=x=100:y=100:w=600:h=120:color=white:t=fill"
    cut = ["-ss", str(start), "-t", str(stop - start), "-i", str(a)]
    middle = ffmpeg(raw / "middle.mp4", *cut, "-vf", box, *other_encoder)
    head = ffmpeg(raw / "head.mp4", "-t", str(start), "-i", str(a), *COPY)
    tail = ffmpeg(raw / "tail.mp4", "-ss", str(stop), "-i", str(a), *COPY)
    ffmpeg(begin(corpus, "u5", a), *joined(corpus, "u5", [head, middle, tail]), *COPY, *FAST_START)
    words = ["-i", str(a), "-i", str(subtitles(corpus, length(360)))]
    spoken = ["-c:s", "mov_text", "-metadata:s:s:0", "language=eng"]
    ffmpeg(begin(corpus, "u6", a), *words, "-map", "0", "-map", "1", "-c", "copy", *spoken, *FAST_START)
    again = ["-vf", "scale=854:480", *h264("superfast", 50), "-crf", "27", *AAC]
    ffmpeg(begin(corpus, "u7", b), "-i", str(b), *again, *FAST_START)


def make_codec_updates(corpus: Corpus) -> None:
    """The same edits on H.265 and on a fragmented file."""
    length, raw = corpus.scale.seconds, corpus.raw
    more = picture("testsrc2=s=854x480:r=25,hue=H=100", 71)
    extra = ffmpeg(raw / "extra_hevc.mp4", *more, *sound(71), *both(length(30)), *h265(50), *AAC)
    old = raw / "hevc.mp4"
    edited = title("Music (revised edition 2026, term 2)")
    ffmpeg(begin(corpus, "hevc", old), *joined(corpus, "hevc", [old, extra]), *COPY, *edited, *FAST_START)
    old = raw / "fragmented.mp4"
    edited = title("Geometry (revised edition 2026, term 2)")
    parts = [old, raw / "extra.mp4"]
    ffmpeg(begin(corpus, "fmp4", old), *joined(corpus, "fmp4", parts), *COPY, *edited, *FRAGMENTED)


def begin_tree(corpus: Corpus, case: str) -> Path:
    """Start a case of the whole library; return the new tree, all links."""
    shutil.rmtree(corpus.folder / "cases" / case, ignore_errors=True)
    for folder in (corpus.old(case), corpus.new(case)):
        shutil.copytree(corpus.library, folder, copy_function=os.link)
    return corpus.new(case)


def make_tree_updates(corpus: Corpus) -> None:
    """u8 to u11: the library changes."""
    entries = corpus.scale.entries(10_000)
    new = begin_tree(corpus, "u8")
    for i in range(1, 4):
        os.link(corpus.raw / f"new{i}.mp4", new / "clips" / f"new{i}.mp4")
    make_picture(new / "img/new.jpg", 99)
    make_page(new / "html/new.html", 99)
    (new / "clips/clip03.mp4").unlink()
    (new / "img/fig04.jpg").unlink()
    listed = catalogue(entries + 5)
    write(new / "catalog.json", json.dumps(listed[:5] + listed[6:], indent=0))

    new = begin_tree(corpus, "u10")
    (new / "grade5/biology").mkdir(parents=True)
    (new / "video/lessonC.mp4").rename(new / "grade5/biology/intro.mp4")
    (new / "clips").rename(new / "shorts")

    new = begin_tree(corpus, "u11")
    listed = catalogue(entries)
    for part in (17, 4000, 9000, 9001, 9999):
        entry = listed[part * entries // 10_000]
        entry["title"] = f"Revised {entry['title']}"
    write(new / "catalog.json", json.dumps(listed, indent=0))
    page = new / "html/lesson05.html"
    text = page.read_text(encoding="utf-8").replace("<h2>", '<h2 class="x">', 3)
    write(page, text + f"<p>{sentence(random.Random(5), 50)}</p>")


def make_updates(corpus: Corpus) -> None:
    """All cases; then the times: what is new is younger, what is a link keeps its time."""
    make_lesson_updates(corpus)
    make_codec_updates(corpus)
    make_tree_updates(corpus)
    for case in CASES:
        old = {path.stat().st_ino for path in tree(corpus.old(case)).values()}
        for path in tree(corpus.old(case)).values():
            os.utime(path, (OLD_TIME_S, OLD_TIME_S))
        for path in tree(corpus.new(case)).values():
            if path.stat().st_ino not in old:
                os.utime(path, (NEW_TIME_S, NEW_TIME_S))
