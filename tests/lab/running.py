"""Runs the real command line as a user would, as root or as somebody without any privileges."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.conformance.ordinary import NOBODY, closed_to_nobody, uid_of_prefix, unprivileged_prefix

__all__ = ["NOBODY"]

OVERLAYBENCH = (sys.executable, "-m", "harness.cli")


def without_privileges() -> list[str]:
    """Return what to put before a command so that it runs as an ordinary user.

    Where this checkout or its Python lies in a folder that only its owner may enter, nobody else can run it; then the
    same user without any capability stands for an ordinary one, and a warning names the folder.
    """
    closed = closed_to_nobody()
    if closed is not None:
        warnings.warn(
            f"user {NOBODY} may not enter {closed}, in which this checkout or its Python lies: root without "
            f"capabilities stands for an ordinary user. To test as a real one: chmod o+x {closed}, or a checkout "
            "elsewhere",
            stacklevel=2,
        )
    return unprivileged_prefix(closed)


def unprivileged_uid() -> int:
    """Return the user as whom `without_privileges` runs a command."""
    return uid_of_prefix(closed_to_nobody())


def overlaybench(
    *arguments: str, prefix: Sequence[str] = (), timeout_s: float = 240, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of overlaybench to its end."""
    return subprocess.run(
        [*prefix, *OVERLAYBENCH, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False, cwd=cwd
    )


def records(folder: Path) -> list[dict[str, Any]]:
    """All lines of records.jsonl."""
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


# The source by which mounts tell the small disks of tests (`test_storage_errors`) from what a lab leaves behind.
TINY_DISK = "tiny-disk-of-a-test"


def machine_state() -> dict[str, object]:
    """Return what a lab could leave behind on the machine: interfaces, rules, mounts, namespaces, processes."""

    def said(*argv: str) -> str:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    return {
        "links": sorted(entry.name for entry in Path("/sys/class/net").iterdir()),
        "rules": said("nft", "list", "ruleset") if os.geteuid() == 0 else "",
        # A test that runs at the same time may have a small disk of its own.
        "mounts": sum(f" {TINY_DISK} " not in line for line in Path("/proc/self/mountinfo").read_text().splitlines()),
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
