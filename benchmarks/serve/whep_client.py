"""Runs ``benchmarks/serve_whep.py`` in a process of its own.

python -m benchmarks.serve.whep_client SPEC.json        prints one line of JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.serve_whep import make_lesson, measure

LESSON_S = 60


def main() -> None:
    """Command line."""
    spec: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    lesson = Path(spec["lesson"])
    if not lesson.exists():
        make_lesson(lesson.with_suffix(".part.mp4"), LESSON_S).rename(lesson)
    print(json.dumps(measure(lesson, spec["viewers"], spec["seconds"], spec["repeats"])), flush=True)


if __name__ == "__main__":
    main()
