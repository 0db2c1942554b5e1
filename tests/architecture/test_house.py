"""Rules of the house that no linter knows."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from scripts.docs import broken_links

REPOSITORY = Path(__file__).resolve().parents[2]
VECTORS = REPOSITORY / "tests" / "vectors"
PROTOCOL_PAGES = sorted((REPOSITORY / "docs" / "protocols").glob("*.md")) + sorted(
    (REPOSITORY / "docs" / "boxes").glob("*.md")
)
TRACKED = subprocess.run(
    ["git", "-C", str(REPOSITORY), "ls-files", "-z"], capture_output=True, text=True, check=False
).stdout.split("\0")


@pytest.mark.parametrize(
    "folder", sorted(p for p in VECTORS.iterdir() if p.is_dir() and not p.name.startswith("_")), ids=lambda p: p.name
)
def test_every_vector_says_where_it_comes_from(folder: Path) -> None:
    origins = list(folder.rglob("ORIGIN.toml"))
    assert origins, f"{folder} has no ORIGIN.toml"
    text = "\n".join(origin.read_text(encoding="utf-8") for origin in origins)
    for origin in origins:
        tomllib.loads(origin.read_text(encoding="utf-8"))
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != "ORIGIN.toml" and "__pycache__" not in p.parts]
    assert files, f"{folder} is empty"
    unnamed = [p.name for p in files if p.name not in text and p.stem not in text]
    assert not unnamed, f"no origin for {unnamed}"


@pytest.mark.parametrize("page", PROTOCOL_PAGES, ids=lambda p: p.name)
def test_a_protocol_page_names_its_strangers_or_says_experimental(page: Path) -> None:
    text = page.read_text(encoding="utf-8").lower()
    assert "experimental" in text or "verified" in text, f"{page.name}: say who verified it, or that it is experimental"


def test_every_shipping_package_is_in_the_wheel_and_in_mypy() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert shipped == set(project["tool"]["mypy"]["packages"])
    packages = {p.parent.name for p in REPOSITORY.glob("*/__init__.py")}
    assert packages - shipped == {"fixtures", "tests", "benchmarks", "scripts"}


def test_the_readmes_name_both_commands() -> None:
    for name in ("README.md", "README.zh.md"):
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        assert "make demo" in text and "make test" in text, name


def test_no_relative_link_in_the_docs_is_broken() -> None:
    assert not broken_links()


def test_no_shared_media_and_no_binary_lump_is_in_the_repository() -> None:
    big = [p for p in TRACKED if p and (REPOSITORY / p).is_file() and (REPOSITORY / p).stat().st_size > 300_000]
    assert not big
    media = [
        p
        for p in TRACKED
        if p.endswith((".mp4", ".mkv", ".ts", ".webm", ".avi", ".mov")) and not p.startswith("tests/vectors/")
    ]
    assert not media
