"""A package outside this repository: one file and one line of registration, as somebody would install it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def install(folder: Path, *, group: str, name: str, source: str, attribute: str) -> dict[str, str]:
    """Put a package with one module and one entry point into `folder`; returns the environment that has it."""
    module = f"outside_{name}"
    (folder / f"{module}.py").write_text(source)
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{attribute}\n")
    return {**os.environ, "PYTHONPATH": str(folder)}


def run(environment: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment's Python: `overlaybench`, or `-c` and code."""
    program = [sys.executable] if argv[0].startswith("-") else [str(Path(sys.executable).with_name(argv[0]))]
    rest = argv if argv[0].startswith("-") else argv[1:]
    return subprocess.run([*program, *rest], capture_output=True, text=True, check=False, timeout=250, env=environment)
