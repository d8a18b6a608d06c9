"""Runs the real command line as a user would, as root or as somebody without any privileges."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OVERLAYBENCH = (sys.executable, "-m", "harness.cli")
NOBODY = 65534


def without_privileges() -> list[str]:
    """Return what to put before a command so that it runs as an ordinary user.

    Where this checkout or its Python lies in a folder that only its owner may enter, nobody else can run it; then the
    same user without any capability stands for an ordinary one, and a warning names the folder.
    """
    if os.geteuid() != 0:
        return []
    closed = closed_to_nobody()
    if closed is None:
        return _become_nobody()
    warnings.warn(
        f"user {NOBODY} may not enter {closed}, in which this checkout or its Python lies: root without capabilities "
        f"stands for an ordinary user. To test as a real one: chmod o+x {closed}, or a checkout elsewhere",
        stacklevel=2,
    )
    return [_setpriv(), "--bounding-set=-all", "--inh-caps=-all", "--"]


def unprivileged_uid() -> int:
    """Return the user as whom `without_privileges` runs a command."""
    return NOBODY if os.geteuid() == 0 and closed_to_nobody() is None else os.geteuid()


@functools.cache
def closed_to_nobody() -> Path | None:
    """Return the first folder on the way to this checkout or its Python that others may not enter; asked as root."""
    return first_closed([Path(__file__).parents[2], Path(sys.prefix), Path(sys.executable).resolve()])


def first_closed(places: Sequence[Path]) -> Path | None:
    """Return the first folder on the way to one of the places, or at it, that an ordinary user may not enter."""
    folders = dict.fromkeys(folder for place in places for folder in [*reversed(place.parents), place])
    probe = 'for folder; do [ -x "$folder" ] || { echo "$folder"; exit; }; done'
    argv = [*_become_nobody(), "sh", "-c", probe, "sh", *map(str, folders)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, cwd="/").stdout.strip()
    return Path(said) if said else None


def _become_nobody() -> list[str]:
    return [_setpriv(), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", "--"]


def _setpriv() -> str:
    return shutil.which("setpriv") or "setpriv"


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
    """Return what a lab could leave behind on the machine: interfaces, rules, mounts, namespaces, processes."""

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
