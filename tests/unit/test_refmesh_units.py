"""The systemd units that the README prints are what systemd takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "overlays" / "refmesh" / "README.md"


def units() -> dict[str, str]:
    """Return the units by their file name."""
    return dict(re.findall(r"`/etc/systemd/system/(\S+\.service)`\n\n```ini\n(.*?)```", README.read_text(), re.DOTALL))


def test_there_is_one_for_nodes_and_one_for_servers() -> None:
    assert set(units()) == {"refmesh@.service", "refmesh-server@.service"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd")
@pytest.mark.parametrize("name", sorted(units()))
def test_systemd_has_nothing_to_say_against_them(name: str, tmp_path: Path) -> None:
    program = tmp_path / "refmesh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / name
    unit.write_text(units()[name].replace("/opt/refmesh/bin/refmesh", str(program)))
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"]
    done = subprocess.run([*verify, str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    # The check can fail.
    unit.write_text(units()[name].replace("ProtectSystem=strict", "ProtectSystem=strictly\nNoSuchThing=1"))
    assert subprocess.run([*verify, str(unit)], capture_output=True, text=True, check=False).stderr
