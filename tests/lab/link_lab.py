"""Runs Python with a cable between two nodes in fresh namespaces, for the tests of links."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from harness.sandbox.unshare import sandbox_argv


def in_sandbox(code: str, *words: str, timeout_s: float = 100) -> Any:
    """Run Python `code` in fresh namespaces, with `sys.argv[1:]` = words; returns the JSON that it prints last."""
    done = subprocess.run(
        sandbox_argv([sys.executable, "-c", code, *words]),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


PREAMBLE = """
import json, os, sys, time
from pathlib import Path
from harness.link.backend import Cable
from harness.link.check import PathToCheck, check_paths, require_paths
from harness.link.choose import choose_backend
from harness.calibration.link_rig import A_ADDRESS, B_ADDRESS, Rig, run
from harness.calibration.link_traffic import Stream, run_stream
from harness.model.link import parse_link

def rig(spec, backend="userlink", seed=1):
    folder = Path(os.environ["SCRATCH"])
    return Rig(choose_backend(backend), parse_link(spec), seed=seed, workdir=folder)

def stream(made, stream):
    return run_stream(stream, made.udp_socket(made.a, A_ADDRESS), made.udp_socket(made.b, B_ADDRESS), patience_s=1)

def out(value):
    print(json.dumps(value))
"""
