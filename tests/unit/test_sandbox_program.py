"""How a program in a sandbox ends: by one line and the exit code of the fault. Python 3.13 ends otherwise by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.is_char_device(), reason="no /dev/full here")
@pytest.mark.parametrize("raised", ["pass", "raise StorageError('standard output: no space left on device')"])
def test_what_cannot_be_printed_is_complained_of_once(raised: str) -> None:
    code = (
        "from harness.errors import StorageError\nfrom harness.sandbox.program import ending_in_one_line\n"
        f"with ending_in_one_line():\n    print('held back')\n    {raised}\n"
    )
    with FULL.open("w") as out:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert done.returncode == 3, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("overlaybench: ") and "no space left on device" in line
