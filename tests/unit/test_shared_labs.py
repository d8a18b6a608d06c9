"""Files whose tests share labs stay on one worker of pytest-xdist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TOGETHER

ROOT = Path(__file__).parents[2]
TESTS = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(6))
def test_it(number):
    with open("ran", "a") as file:
        file.write(f"{pathlib.Path(__file__).name} {os.environ['PYTEST_XDIST_WORKER']}\\n")
"""


@pytest.mark.parametrize("file", TOGETHER)
def test_the_file_is_there_and_makes_labs_for_its_module(file: str) -> None:
    assert 'scope="module"' in (ROOT / file).read_text()


def test_the_tests_of_such_a_file_run_on_one_worker(tmp_path: Path) -> None:
    for name in (*TOGETHER, "tests/lab/test_other.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import pytest\npytestmark = pytest.mark.lab\n" + TESTS)
    (tmp_path / "tests/conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = lab\n")
    argv = [sys.executable, "-m", "pytest", "tests", "-n", "3", "--dist", "loadgroup", "-p", "no:cacheprovider"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    ran = [line.split() for line in (tmp_path / "ran").read_text().splitlines()]
    assert len(ran) == 18
    workers = {Path(file).name: {worker for name, worker in ran if name == Path(file).name} for file in TOGETHER}
    assert {file: len(those) for file, those in workers.items()} == dict.fromkeys(workers, 1)
