"""Runs the real command line as a user would, as root or as somebody without any privileges."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OVERLAYBENCH = (sys.executable, "-m", "harness.cli")
NOBODY = 65534


def without_privileges() -> list[str]:
    """What to put before a command so that it runs as an ordinary user.

    Where this checkout lies in a folder that only its owner may enter, nobody else can run it; then the same user
    without any capability stands for an ordinary one.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv") or "setpriv"
    become = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", "--"]
    if (
        subprocess.run([*become, sys.executable, "-c", "import harness"], capture_output=True, check=False).returncode
        == 0
    ):
        return become
    return [setpriv, "--bounding-set=-all", "--inh-caps=-all", "--"]


def overlaybench(
    *arguments: str, prefix: Sequence[str] = (), timeout_s: float = 100, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of overlaybench to its end."""
    return subprocess.run(
        [*prefix, *OVERLAYBENCH, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False, cwd=cwd
    )


def records(folder: Path) -> list[dict[str, Any]]:
    """All lines of records.jsonl."""
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def machine_state() -> dict[str, object]:
    """What a lab could leave behind on the machine: interfaces, rules, mounts, named namespaces, our processes."""

    def said(*argv: str) -> str:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    return {
        "links": sorted(entry.name for entry in Path("/sys/class/net").iterdir()),
        "rules": said("nft", "list", "ruleset") if os.geteuid() == 0 else "",
        "mounts": Path("/proc/self/mountinfo").read_text().count("\n"),
        "named": said("ip", "netns", "list"),
    }


def processes_naming(text: str) -> list[int]:
    """Pids of living processes whose command lines contain `text`, the oldest first."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(int(entry.name))
    return sorted(found)
