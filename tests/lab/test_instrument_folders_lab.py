"""Instruments started in a folder that their user may not enter. Alone: what calibrates a link measures times."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.lab.running import OVERLAYBENCH, without_privileges
from tests.lab.test_storage_errors import INSTRUMENTS, here

pytestmark = pytest.mark.lab


@pytest.mark.root
@pytest.mark.parametrize("name", INSTRUMENTS)
def test_an_instrument_works_in_the_folder_of_another_user(tmp_path: Path, name: str) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    argv = ["env", f"TMPDIR={closed}", *without_privileges(), *OVERLAYBENCH, *INSTRUMENTS[name]]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=100, cwd=closed, env=here())
    if name == "calibrate link":
        # The folder is this test's business; whether links are exact to a millisecond is the machine's, on a busy day.
        document = json.loads(done.stdout)
        assert document["findings"], done.stderr
        assert all(finding["ok"] for finding in document["findings"] if finding["unit"] == "packets"), done.stderr
        assert done.returncode == (0 if document["ok"] else 1), done.stderr
    else:
        assert done.returncode == 0, done.stderr
    assert list(closed.iterdir()) == []
