"""What several files of lab tests stand on."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell links in a sandbox by SCRATCH where their helper's log goes."""
    monkeypatch.setenv("SCRATCH", str(tmp_path))
