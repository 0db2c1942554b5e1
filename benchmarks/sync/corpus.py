"""The synthetic library and its updates, made with ffmpeg, one thread, the same bytes each time.

Every file has its own noise in picture *and* sound, so that nothing is found twice that a real library would not hold
twice. Everything lies in one folder: ``raw`` (parts), ``library`` (the tree before), ``cases/<case>/{old,new}`` (hard
links where a file is unchanged) and ``corpus.json``, written last.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

VERSION = 1
"""Raise when the bytes change: a cached corpus of another version is made again."""
FFMPEG_TIMEOUT_S = 1200
OLD_TIME_S = 1_700_000_000
"""Modification time of everything in an old tree; what is new in a new tree is a day younger."""
NEW_TIME_S = OLD_TIME_S + 86_400
FRAMES_PER_S = 25
CLIPS = 12
PICTURES = 12
PAGES = 11
_TEXT = (
    "fraction numerator denominator triangle angle river mountain history energy water plant cell light force motion "
    "equation sum product village school teacher pupil lesson exercise example answer question chapter"
)
WORDS = _TEXT.split()


@dataclass(frozen=True)
class Scale:
    """How long everything is; all lengths are even seconds, because lesson A has a key frame each 2 s."""

    name: str
    divisor: int

    def seconds(self, full: int) -> int:
        """Length in this scale of what lasts ``full`` seconds in the full one."""
        return max(4, round(full / self.divisor / 2) * 2)

    def entries(self, full: int) -> int:
        """Number of catalogue entries."""
        return full // self.divisor


FULL = Scale("full", 1)
SMALL = Scale("small", 8)


@dataclass
class Corpus:
    """A folder being filled, or full."""

    folder: Path
    scale: Scale
    made: list[str] = field(default_factory=list)

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    @property
    def library(self) -> Path:
        return self.folder / "library"

    def old(self, case: str) -> Path:
        """Tree before the update."""
        return self.folder / "cases" / case / "old"

    def new(self, case: str) -> Path:
        """Tree after the update."""
        return self.folder / "cases" / case / "new"


def tree(folder: Path) -> dict[str, Path]:
    """All files below a folder by their relative names, sorted."""
    return {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}


def ffmpeg(target: Path, *words: str) -> Path:
    """Run ffmpeg once, one thread, without anything that differs from run to run; does nothing when the file exists."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name("part-" + target.name)
    start = ["nice", "ffmpeg", "-nostdin", "-v", "error", "-y", "-threads", "1", "-filter_threads", "1"]
    exact = ["-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]
    subprocess.run([*start, *words, *exact, str(part)], check=True, timeout=FFMPEG_TIMEOUT_S)
    part.rename(target)
    return target


def sound(seed: int) -> list[str]:
    """Input: a tone in noise of its own."""
    mix = f"sine=f={200 + seed * 7}:r=48000[a];anoisesrc=seed={seed}:c=pink:a=0.3:r=48000[b]"
    return ["-f", "lavfi", "-i", f"{mix};[a][b]amix=inputs=2:duration=shortest"]


def picture(source: str, seed: int, strength: int = 9) -> list[str]:
    """Input: a test source with noise of its own."""
    return ["-f", "lavfi", "-i", f"{source},noise=alls={strength}:allf=t:all_seed={seed}"]


RATE = ["-b:v", "2M", "-maxrate", "3M", "-bufsize", "6M"]
AAC = ["-c:a", "aac", "-b:a", "96k", "-ac", "1"]
FAST_START = ["-movflags", "+faststart"]
FRAGMENTED = ["-movflags", "+frag_keyframe+empty_moov+default_base_moof"]
COPY = ["-map", "0", "-c", "copy"]


def h264(preset: str, gop: int) -> list[str]:
    return [
        "-c:v",
        "libx264",
        "-preset",
        preset,
        "-profile:v",
        "high",
        "-pix_fmt",
        "yuv420p",
        "-bf",
        "2",
        "-g",
        str(gop),
    ]


def h265(gop: int) -> list[str]:
    quiet = "pools=none:frame-threads=1:log-level=error"
    rate = ["-preset", "ultrafast", "-x265-params", quiet, "-b:v", "1M", "-g", str(gop)]
    return ["-c:v", "libx265", *rate, "-tag:v", "hvc1", "-pix_fmt", "yuv420p"]


def title(words: str) -> list[str]:
    return ["-metadata", f"title={words}"]


def both(seconds: int) -> list[str]:
    return ["-t", str(seconds), "-map", "0:v", "-map", "1:a"]


def make_lessons(corpus: Corpus) -> None:
    """Four lessons, twelve clips, an H.265 lesson, a fragmented lesson."""
    length, video = corpus.scale.seconds, corpus.library / "video"
    ffmpeg(
        video / "lessonA.mp4",
        *picture("testsrc2=s=1280x720:r=25,hue=H=0.2*t", 11),
        *sound(11),
        *both(length(360)),
        *h264("superfast", 50),
        *RATE,
        *AAC,
        *FAST_START,
        *title("Fractions_lesson_1"),
    )
    ffmpeg(
        video / "lessonB.mp4",
        *picture("mandelbrot=s=320x180:r=25:maxiter=200,scale=1280:720:flags=fast_bilinear", 12),
        *sound(12),
        *both(length(180)),
        *h264("superfast", 250),
        *RATE,
        *AAC,
        *title("Geometry"),
    )
    ffmpeg(
        video / "lessonC.mp4",
        *picture("testsrc2=s=854x480:r=25,hue=H=0.1*t", 13),
        *sound(13),
        *both(length(480)),
        *h264("superfast", 125),
        *RATE,
        *AAC,
        *FAST_START,
        *title("Biology"),
    )
    ffmpeg(
        video / "lessonD.mp4",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=1280x720:r=1/20,fps=25,noise=alls=3:allf=p:all_seed=14",
        *sound(14),
        *both(length(600)),
        *h264("superfast", 250),
        "-crf",
        "26",
        *AAC,
        *FAST_START,
        *title("History"),
    )
    for i in range(1, CLIPS + 1):
        make_clip(corpus.library / "clips" / f"clip{i:02}.mp4", 20 + i, length(16))
    for i in range(1, 4):
        make_clip(corpus.raw / f"new{i}.mp4", 40 + i, length(20))
    hevc = corpus.raw / "hevc.mp4"
    ffmpeg(
        hevc,
        *picture("testsrc2=s=854x480:r=25,hue=H=0.3*t", 51),
        *sound(51),
        *both(length(120)),
        *h265(50),
        *AAC,
        *FAST_START,
        *title("Music"),
    )
    ffmpeg(corpus.raw / "fragmented.mp4", "-i", str(video / "lessonB.mp4"), *COPY, *FRAGMENTED)


def make_clip(target: Path, seed: int, seconds: int) -> None:
    """A short 360p film."""
    ffmpeg(
        target,
        *picture(f"testsrc2=s=640x360:r=25,hue=H={seed * 7}", seed),
        *sound(seed),
        *both(seconds),
        *h264("superfast", 50),
        *RATE,
        *AAC,
        *FAST_START,
        *title(target.stem),
    )


def sentence(rnd: random.Random, words: int) -> str:
    return " ".join(rnd.choice(WORDS) for _ in range(words))


def make_picture(target: Path, seed: int) -> None:
    """A JPEG of 1280 by 720, or a PNG of 640 by 360."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[0:720, 0:1280]
    waves = [(np.sin(x / (30 + seed)) + np.cos(y / (50 + c * 9))) * 60 + 128 for c in range(3)]
    noisy = np.stack(waves, -1) + np.random.default_rng(seed).normal(0, 6, (720, 1280, 3))
    image = Image.fromarray(noisy.clip(0, 255).astype("uint8"))
    ImageDraw.Draw(image).text((50, 50), sentence(random.Random(seed), 8), fill=(0, 0, 0))
    if target.suffix == ".jpg":
        image.save(target, quality=82)
    else:
        image.resize((640, 360)).save(target)


def make_page(target: Path, number: int) -> None:
    """A page of text, about 40 KB."""
    rnd = random.Random(1000 + number)
    parts = [f"<h2>{sentence(rnd, 4)}</h2><p>{sentence(rnd, 180)}</p>\n" for _ in range(30)]
    write(target, f"<html><head><title>Lesson {number}</title></head><body>{''.join(parts)}</body></html>")


def catalogue(entries: int) -> list[dict[str, object]]:
    """The first entries of an endless catalogue."""
    rnd = random.Random(3)
    return [
        {
            "id": f"{rnd.getrandbits(128):032x}",
            "title": sentence(rnd, 5),
            "path": f"video/{rnd.choice(WORDS)}/{rnd.getrandbits(64):016x}.mp4",
            "size": rnd.randint(10**6, 2 * 10**9),
            "sha256": f"{rnd.getrandbits(256):064x}",
            "duration": rnd.randint(60, 3600),
            "lang": rnd.choice(["en", "zh", "fr", "sw", "hi"]),
            "tags": [rnd.choice(WORDS) for _ in range(3)],
        }
        for _ in range(entries)
    ]


def write(target: Path, text: str) -> None:
    """Write a text as a new inode: the name may be a hard link into another tree."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_text(text, encoding="utf-8")


def make_small_files(corpus: Corpus) -> None:
    """Pictures, pages and the catalogue."""
    for i in range(PICTURES):
        make_picture(corpus.library / "img" / f"fig{i:02}.{'jpg' if i % 3 else 'png'}", i)
    for i in range(PAGES):
        make_page(corpus.library / "html" / f"lesson{i:02}.html", i)
    entries = catalogue(corpus.scale.entries(10_000))
    write(corpus.library / "catalog.json", json.dumps(entries, indent=0))


def ready(folder: Path, scale: Scale) -> Corpus:
    """Return the corpus below ``folder``; make it first when it is missing, of another version, or half made."""
    from benchmarks.sync.updates import make_updates

    corpus = Corpus(folder / f"corpus-{scale.name}", scale)
    seal, want = corpus.folder / "corpus.json", {"version": VERSION, "scale": scale.name}
    found = json.loads(seal.read_text()) if seal.exists() else {}
    if {key: found.get(key) for key in want} == want:
        return corpus
    begun = corpus.folder / "version"
    if corpus.folder.exists() and (not begun.exists() or begun.read_text() != str(VERSION)):
        shutil.rmtree(corpus.folder)
    corpus.folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    begun.write_text(str(VERSION))
    print(f"making the corpus in {corpus.folder} (once)", flush=True)
    make_lessons(corpus)
    make_small_files(corpus)
    for path in tree(corpus.library).values():
        os.utime(path, (OLD_TIME_S, OLD_TIME_S))
    make_updates(corpus)
    files = {
        name: [path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()]
        for part in ("library", "cases")
        for name, path in ((f"{part}/{n}", p) for n, p in tree(corpus.folder / part).items())
    }
    seal.write_text(json.dumps({**want, "files": files}, indent=1))
    return corpus
