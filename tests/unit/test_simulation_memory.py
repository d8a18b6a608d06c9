"""What the end of a simulated run takes in memory: summary, table and page, whatever the number of worlds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from test_simulation_parts import made

PAIRS = """\
description: two kinds
access: {{strict: {{share: 0.5, routers: [port-restricted]}}, open: {{share: 0.5, routers: [full-cone]}}}}
matrix: {{technique: birthday, group: 2}}
worlds: {worlds}
groups: {groups}
"""
# The page tells of no more than 2,000 pairs, so that it is the same for both.
END = """
import re, sys
from pathlib import Path
from harness.report import html
from harness.results.store import RunFolder
html.MOST_PAIRS = 2000
RunFolder(Path(sys.argv[1])).finish()
html.write_report(Path(sys.argv[1]))
# Not getrusage: its peak is that of whoever started the program, where that is higher.
print(1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]))
"""


def peak_bytes(folder: Path) -> int:
    done = subprocess.run([sys.executable, "-c", END, folder], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.timeout(300)
def test_the_end_of_a_run_hardly_takes_more_memory_for_four_times_as_many_worlds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("test_simulation_parts.MIX", PAIRS)
    few, many = (peak_bytes(made(tmp_path / str(worlds), worlds, 1)) for worlds in (700, 2800))
    # Three cells of pairs: 1.5 kB a world as measured, part of it the allocator's. All records of a world are some 10
    # kB once they are read, which is what the end took when it read them all.
    assert (many - few) / (3 * 2100) < 3000, f"{few} and {many} bytes"
