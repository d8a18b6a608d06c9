"""The package's build without a C compiler: it goes on, and what is missing is said when links are asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
SOURCES = Path("harness/link/userlink")


def test_a_machine_without_compiler_gets_a_package_without_helper(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "setup.py", tmp_path)
    shutil.copytree(PROJECT / SOURCES, tmp_path / SOURCES, ignore=shutil.ignore_patterns("overlaybench-userlink"))
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=tmp_path,
        env={**os.environ, "CC": "/no/compiler"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "overlaybench-userlink" in done.stdout + done.stderr, "the failure is not hidden"
    assert not (tmp_path / SOURCES / "overlaybench-userlink").exists()
