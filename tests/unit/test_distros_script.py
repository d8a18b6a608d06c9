"""The script that proves other releases, as far as it goes without making one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "distros" / "run.sh"


def run(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), **environment}
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False, env=settings)


@pytest.mark.parametrize("name", ["", "../trixie", "Trixie"])
def test_a_name_that_no_release_can_have_is_the_user_s_mistake(tmp_path: Path, name: str) -> None:
    done = run(tmp_path, name)
    assert (done.returncode, "run.sh NAME" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_release_that_cannot_be_had_is_skipped_by_name_with_the_reason(tmp_path: Path) -> None:
    """For want of root, or else of such a release."""
    done = run(tmp_path, "warty", "smoke", DISTROS_MIRROR=f"file:{tmp_path}/no-archive")
    assert done.returncode == 3
    assert "SKIPPED warty: " in done.stderr
    assert os.geteuid() == 0 or "needs root; run: sudo" in done.stderr
