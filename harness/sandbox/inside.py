"""Into a sandbox from outside: the pid that a process of it has here, and the command that enters its namespaces."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.errors import MissingPrerequisite

# By the names in /proc/PID/ns: nsenter's options.
_NAMESPACES: Final = {
    "user": "--user",
    "mnt": "--mount",
    "uts": "--uts",
    "ipc": "--ipc",
    "net": "--net",
    "pid": "--pid",
}


def outer_pid(inner: int, folder: Path) -> int | None:
    """Return the pid here of the process that has pid `inner` in the sandbox of a trial; None: it is gone.

    Args:
        folder: the trial's, in which all processes of its sandbox that hold nodes stand.
    """
    wanted = folder.resolve()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            pids = _pids(process)
            if len(pids) > 1 and pids[-1] == inner and (process / "cwd").resolve() == wanted:
                return pids[0]
        except OSError:
            continue  # it has just ended, or is somebody else's
    return None


def _pids(process: Path) -> list[int]:
    """Return a process's pids from this namespace to its own (proc_pid_status(5): NSpid)."""
    for line in (process / "status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return [int(pid) for pid in line.split()[1:]]
    return []


def entering_argv(pid: int, command: Sequence[str], folder: Path) -> list[str]:
    """Return the argv that runs a command in all namespaces of a process, and in `folder` where that is there.

    Raises:
        MissingPrerequisite: util-linux lacks nsenter.
    """
    if shutil.which("nsenter") is None:
        raise MissingPrerequisite("the program `nsenter`", "apt-get install -y util-linux")
    options = [option for name, option in _NAMESPACES.items() if _differs(pid, name)]
    in_folder = ("sh", "-c", 'cd "$1" 2>/dev/null; shift; exec "$@"', "sh", str(folder))
    return ["nsenter", "-t", str(pid), "--preserve-credentials", *options, "--", *in_folder, *command]


def _differs(pid: int, name: str) -> bool:
    theirs, ours = (Path(f"/proc/{one}/ns/{name}").stat().st_ino for one in (pid, "self"))
    return theirs != ours
