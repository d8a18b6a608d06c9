"""Runs what `tests.lab.nat_lab` does with routers, in a sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from harness.sandbox.unshare import sandbox_argv


def in_sandbox(name: str, *arguments: Any, timeout_s: float = 100.0) -> Any:
    """Run a function of `tests.lab.nat_lab` in a sandbox of its own and return what it returns."""
    return each_in_sandbox([(name, *arguments)], timeout_s)[0]


def each_in_sandbox(calls: Iterable[tuple[Any, ...]], timeout_s: float = 100.0) -> list[Any]:
    """Run calls, each a name and its arguments, one after the other in one sandbox: most take less than making it."""
    argv = [sys.executable, "-m", "tests.lab.nat_lab", json.dumps(list(calls))]
    done = subprocess.run(sandbox_argv(argv), capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return list(json.loads(done.stdout.splitlines()[-1]))
