"""A lab by itself, in a sandbox of its own: for `shell`, and for `check` where only building it tells."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import Any

from harness.errors import EXIT_HARNESS
from harness.model.topology import Topology
from harness.sandbox.unshare import sandbox_argv

_PATIENCE_S = 120.0


def open_lab(topology: Topology, *arguments: str, **pipes: Any) -> subprocess.Popen[str]:
    """Start `harness.lab.shell` on a topology; `arguments` are its own. Raises MissingPrerequisite."""
    # By an open file: the topology of a hundred nodes is longer than a command line may be.
    with tempfile.TemporaryFile("w+") as handed:
        handed.write(topology.model_dump_json())
        handed.flush()
        handed.seek(0)
        number = handed.fileno()
        argv = sandbox_argv([sys.executable, "-m", "harness.lab.shell", str(number), *arguments])
        return subprocess.Popen(argv, pass_fds=[number], text=True, **pipes)


def why_not_built(topology: Topology) -> str | None:
    """Build a lab and take it down again; return what the code of its class raised, None where all went well.

    What this machine lacks for labs is no fault of the class: then nothing is known, and None returned as well.
    """
    with open_lab(topology, "/dev/null", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as lab:
        try:
            _, said = lab.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            lab.kill()
            return f"its lab was not built within {_PATIENCE_S:g} s"
    if lab.returncode != EXIT_HARNESS:
        return None
    return said.strip().splitlines()[-1].removeprefix("overlaybench: ") if said.strip() else "its lab cannot be built"
