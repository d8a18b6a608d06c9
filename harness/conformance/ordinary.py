"""An ordinary user for a program that runs as root: what is proved as root alone is not proved for anybody else."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import harness

NOBODY = 65534


def unprivileged_prefix(closed: Path | None) -> list[str]:
    """Return what to put before a command so that it runs as an ordinary user; nothing where the caller is one.

    Where a folder is `closed` to others, nobody else can run the program in it; then the same user without any
    capability stands for an ordinary one; but for CAP_SETFCAP, without which Linux lets root map no user namespace
    (5.12 and later, user_namespaces(7)).
    """
    if os.geteuid() != 0:
        return []
    if closed is None:
        return become_nobody()
    return [_setpriv(), "--bounding-set=-all,+setfcap", "--inh-caps=-all", "--"]


def uid_of_prefix(closed: Path | None) -> int:
    """Return the user as whom `unprivileged_prefix` runs a command."""
    return NOBODY if os.geteuid() == 0 and closed is None else os.geteuid()


@functools.cache
def closed_to_nobody(*further: Path) -> Path | None:
    """Return the first folder on the way to this program, its Python or `further` that others may not enter.

    None also where the caller is no root: then there is nobody to become.
    """
    if os.geteuid() != 0:
        return None
    program = [Path(harness.__file__).parents[1], Path(sys.prefix), Path(sys.executable).resolve()]
    return first_closed([*program, *further])


def first_closed(places: Sequence[Path]) -> Path | None:
    """Return the first folder on the way to one of the places, or at it, that an ordinary user may not enter."""
    folders = dict.fromkeys(folder for place in places for folder in [*reversed(place.parents), place])
    probe = 'for folder; do [ -x "$folder" ] || { echo "$folder"; exit; }; done'
    argv = [*become_nobody(), "sh", "-c", probe, "sh", *map(str, folders)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, cwd="/").stdout.strip()
    return Path(said) if said else None


def become_nobody() -> list[str]:
    """Return what to put before a command of root's so that it runs as `NOBODY`."""
    return [_setpriv(), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", "--"]


def _setpriv() -> str:
    return shutil.which("setpriv") or "setpriv"
