"""Programs that a station runs at length leave nothing behind, whoever ends first."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.hosts import running
from harness.hosts.running import run_until

# A program, and one that it has started, which ignores what may be ignored and keeps its output open.
FAMILY = """\
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('ready', flush=True); signal.pause()"], stdout=subprocess.PIPE)
child.stdout.readline()
open(sys.argv[1] + "~", "w").write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + "~", sys.argv[1])
signal.pause()
"""


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        return "(zombie)" not in Path("/proc", str(pid), "status").read_text()
    except OSError:
        return False


def all_end(path: Path) -> None:
    pids = [int(word) for word in path.read_text().split()]
    assert len(pids) == 2
    wait_for(lambda: not any(map(lives, pids)))


def test_what_it_comes_to_is_told() -> None:
    never = threading.Event()
    argv = (sys.executable, "-c", "import sys; print(sys.argv[1:]); print('x', file=sys.stderr); sys.exit(7)")
    assert run_until((*argv, "a b", "$HOME", ""), never, 60.0) == ("['a b', '$HOME', '']\n", "x\n", 7)


def test_it_waits_for_no_input() -> None:
    """A question of a package manager, say: a station's own stdin is the way to its client."""
    code = (
        "import threading; from harness.hosts.running import run_until; "
        "print(run_until(('cat',), threading.Event(), 60.0))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as station:
        assert station.stdout is not None
        assert station.stdout.read() == b"('', '', 0)\n"


@pytest.mark.parametrize("by_time", [True, False])
def test_what_it_has_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_time: bool) -> None:
    path, ended = tmp_path / "pids", threading.Event()
    found: list[object] = []
    if by_time:  # its time runs out as soon as all have started
        monkeypatch.setattr(running, "time", SimpleNamespace(monotonic=lambda: 601.0 if path.exists() else 0.0))

    def run() -> None:
        found.append(run_until((sys.executable, "-c", FAMILY, str(path)), ended, 600.0))

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(path.exists)
    if not by_time:
        ended.set()
    thread.join(60)
    assert found == [None]
    all_end(path)


def test_it_ends_with_a_station_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "pids"
    code = (
        "import sys, threading; from harness.hosts.running import run_until; "
        "run_until((sys.executable, '-c', *sys.argv[1:]), threading.Event(), 600.0)"
    )
    with subprocess.Popen([sys.executable, "-c", code, FAMILY, str(path)]) as station:
        wait_for(path.exists)
        station.kill()
    all_end(path)
