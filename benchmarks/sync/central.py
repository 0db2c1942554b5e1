"""Our publisher, as a process. Each command ends with one line of JSON:

python -m benchmarks.sync.central publish CENTRAL TREE      the next release holds exactly the files of TREE
python -m benchmarks.sync.central invent CENTRAL FILES      so many names of a few tiny objects
python -m benchmarks.sync.central change CENTRAL            five of those names get new objects
"""

from __future__ import annotations

import json
import random
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.sync.corpus import tree
from benchmarks.sync.edge import CHANNEL, peak_bytes
from benchmarks.sync.rivals import sha256
from sync.publishing.intake import Intake, Taken
from sync.publishing.publisher import Publisher

INVENTED_OBJECTS = 200
CHANGED_NAMES = 5
OBJECT_BYTES = 16
"""So few that names and hashes are what is counted."""


def opened(central: Path) -> Publisher:
    """The publisher, made when it is not there."""
    return Publisher.open(central) if central.exists() else Publisher.init(central, datetime.now(UTC))


def publish(central: Path, source: Path) -> dict[str, float]:
    """Publish a tree; measures the publisher's own CPU."""
    publisher = opened(central)
    held, wanted = publisher.files(CHANNEL), tree(source)
    add = {name: path for name, path in wanted.items() if name not in held or held[name].sha256 != sha256(path)}
    began = time.process_time()
    publisher.publish(CHANNEL, add=add, remove=[name for name in held if name not in wanted], now=datetime.now(UTC))
    cpu_s = time.process_time() - began
    return {"cpu_s": cpu_s, "bytes": float(sum(path.stat().st_size for path in add.values()))}


def invented_name(number: int) -> str:
    """Names as a library has them."""
    return f"grade{number % 9 + 1}/subject{number % 13}/unit{number // 97 % 500:03}/lesson-{number:06}.mp4"


def invent(central: Path, files: int) -> dict[str, float]:
    """Publish many names of few objects."""
    rnd = random.Random(1)
    objects = [rnd.randbytes(OBJECT_BYTES) for _ in range(INVENTED_OBJECTS)]
    publisher = opened(central)
    _take_each_once()
    began = time.process_time()
    add: dict[str, Path | bytes] = {invented_name(i): objects[i % INVENTED_OBJECTS] for i in range(files)}
    publisher.publish(CHANNEL, add=add, remove=[], now=datetime.now(UTC))
    return {"cpu_s": time.process_time() - began}


def _take_each_once() -> None:
    """Let this process take each content in once: looking again at what is there, 300,000 times, takes minutes."""
    known: dict[Path | bytes, Taken] = {}
    take = Intake.take

    def once(self: Intake, name: str, content: Path | bytes) -> Taken:
        if content not in known:
            known[content] = take(self, name, content)
        return known[content]

    setattr(Intake, "take", once)  # noqa: B010 - mypy refuses the assignment


def change(central: Path) -> dict[str, float]:
    """Give five names new objects: the same names and objects whatever the library."""
    rnd = random.Random(2)
    publisher = opened(central)
    began = time.process_time()
    add: dict[str, Path | bytes] = {invented_name(i * 150): rnd.randbytes(OBJECT_BYTES) for i in range(CHANGED_NAMES)}
    publisher.publish(CHANNEL, add=add, remove=[], now=datetime.now(UTC))
    return {"cpu_s": time.process_time() - began}


def main() -> None:
    """Command line."""
    command, words = sys.argv[1], sys.argv[2:]
    if command == "publish":
        said = publish(Path(words[0]), Path(words[1]))
    elif command == "invent":
        said = invent(Path(words[0]), int(words[1]))
    else:
        said = change(Path(words[0]))
    print(json.dumps({**said, "rss_bytes": float(peak_bytes())}))


if __name__ == "__main__":
    main()
