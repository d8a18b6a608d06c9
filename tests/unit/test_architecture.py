"""The house stays as it is drawn: imports run one way, as pyproject.toml declares, and files are small."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_LINES = 300
SOURCES = ("*.py", "*.c", "*.h", "*.go", "*.rs", "*.sh", "*.j2")


def test_imports_run_one_way() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(lint), "--no-cache"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:]


def test_files_are_small() -> None:
    argv = ["git", "ls-files", *SOURCES]
    names = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()
    assert len(names) > 500, "this is a checkout"
    lines = {name: (ROOT / name).read_bytes().count(b"\n") for name in names if (ROOT / name).is_file()}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_tables_of_any_length_are_not_walked_row_by_row_in_pandas() -> None:
    """Its `agg` and `apply` along rows cost a millisecond a row: minutes for the report of 50,000 simulated pairs."""
    by_row = re.compile(r"\.(?:agg|aggregate|apply)\([^()]*(?:\([^()]*\)[^()]*)*axis=(?:1|\"columns\")")
    assert by_row.search('frame.agg(" ".join, axis=1)')
    walked = [
        str(file.relative_to(ROOT)) for file in (ROOT / "harness").rglob("*.py") if by_row.search(file.read_text())
    ]
    assert walked == []
