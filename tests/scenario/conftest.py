"""Options of the long tests."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-media", action="store_true", help="also the real files that take minutes")
    parser.addoption(
        "--deep", action="store_true", help="all rows of the disagreements for each tolerance that is gone"
    )
