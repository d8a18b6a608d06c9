"""The Go compiler that a module asks for: the machine's own, or one that it fetches."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from harness.errors import MissingPrerequisite

# From 1.21 on `go` fetches the toolchain that go.mod names, and checks it against the public checksum database.
_FETCHES = "install Go 1.21 or later, which fetches what it lacks, and put its bin folder into PATH"


def go_environment(cgo: bool = False) -> dict[str, str]:
    """Return a build's environment: of the user's settings only the module source is taken; C only if asked for."""
    # Distributions set GOTOOLCHAIN to `local`, and are older than what most modules of today ask for.
    return {**os.environ, "CGO_ENABLED": str(int(cgo)), "GOFLAGS": "", "GOTOOLCHAIN": "auto", "GOWORK": "off"}


def require_go(program: str, module: Path) -> None:
    """Check that this machine can compile a module, and have it fetch the toolchain if needed.

    Raises:
        MissingPrerequisite: there is no compiler, or neither it nor what it can fetch is new enough.
    """
    declared = re.search(r"^go (\d+(?:\.\d+)*)", (module / "go.mod").read_text(), re.MULTILINE)
    wanted = declared[1] if declared else ""
    if shutil.which("go") is None:
        raise MissingPrerequisite(
            f"a Go compiler for {program}", f"install Go {wanted or '1.21'} or later; or {_FETCHES}"
        )
    if not wanted:
        return
    asked = subprocess.run(
        ["go", "env", "GOVERSION"], cwd=module, env=go_environment(), capture_output=True, text=True, check=False
    )
    found = re.fullmatch(r"go(\d+(?:\.\d+)*).*", asked.stdout.strip())
    if asked.returncode or found is None:
        why = (asked.stderr.strip().splitlines() or ["it does not tell its version"])[-1]
        raise MissingPrerequisite(f"Go {wanted} for {program} ({why})", f"install Go {wanted} or later")
    if _numbers(found[1]) < _numbers(wanted):
        raise MissingPrerequisite(f"Go {wanted} for {program} (this is {found[1]})", _FETCHES)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
