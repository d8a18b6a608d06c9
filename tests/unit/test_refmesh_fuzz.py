"""A short run of the fuzz target in tests/fuzz; the million is for `python tests/fuzz/refmesh_datagrams.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TARGET = Path(__file__).parents[1] / "fuzz" / "refmesh_datagrams.py"


@pytest.mark.parametrize("seed", [1, 2])
def test_strangers_datagrams_change_nothing(seed: int) -> None:
    done = subprocess.run(
        [sys.executable, str(TARGET), "--count", "10000", "--seed", str(seed)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
