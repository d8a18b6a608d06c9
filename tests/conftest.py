"""Holds tests to their folders: tests/run.sh reads labs from tests/lab alone, and nothing else from there."""

from __future__ import annotations

from pathlib import Path

import pytest

LAB, NETEM = (Path(__file__).parent / name for name in ("lab", "netem"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a lab elsewhere and any other test among labs, which no part of `make test` would run."""
    ours = [item for item in items if item.path.is_relative_to(LAB.parent) and not item.path.is_relative_to(NETEM)]
    lost = [one.nodeid for one in ours if one.path.is_relative_to(LAB) != (one.get_closest_marker("lab") is not None)]
    if lost:
        raise pytest.UsageError(f"tests marked `lab` belong in tests/lab, and no others: {', '.join(lost)}")
