"""What a daemon loads before its first packet, and how it says that it cannot start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DEAR = ("click", "ssl", "tempfile", "miniupnpc", "difflib", "numpy", "cryptography.x509")
"""What takes long to load, and which only some nodes need, or only later."""
WATCHED = f"""
import sys
from overlays.refmesh.__main__ import main
try:
    main()
finally:
    print(*(name for name in {DEAR!r} if name in sys.modules))
"""


@pytest.mark.parametrize("command", ["up", "server"])
@pytest.mark.parametrize("option", ["-c", "--config"])
def test_a_daemon_loads_nothing_that_it_does_not_need_yet(command: str, option: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, command, option, str(missing)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == f"{missing}:0: file: No such file or directory\n"
    assert done.stdout == "\n"


@pytest.mark.parametrize("module", ["overlays.refmesh", "overlays.refmesh.__main__"])
def test_everything_else_is_clicks(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "up", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Run a node in the foreground." in done.stdout
    wrong = subprocess.run([sys.executable, "-m", module, "up"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "Missing option '--config'" in wrong.stderr
