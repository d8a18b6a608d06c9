"""The sandbox: how a trial's worker gets namespaces of its own and dies with the process that started it.

The kernel does the work, so that nothing depends on our own cleaning up: the worker is the first process of a PID
namespace (its death kills everything inside) and carries a parent-death signal through every link of the chain.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.errors import MissingPrerequisite

_CAP_NET_ADMIN = 12
_CAP_SYS_ADMIN = 21


def is_privileged() -> bool:
    """Tell whether this process may make namespaces without a user namespace; root in a container often may not."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            capabilities = int(line.split()[1], 16)
            return bool(capabilities >> _CAP_SYS_ADMIN & 1 and capabilities >> _CAP_NET_ADMIN & 1)
    return False


def user_namespace() -> list[str]:
    """Return what `unshare` needs in addition where this process may not make namespaces itself."""
    return [] if is_privileged() else ["--user", "--map-root-user"]


def sandbox_argv(command: Sequence[str]) -> list[str]:
    """Return the argv that runs `command` as PID 1 of fresh namespaces.

    Args:
        command: what runs inside; its own parent-death signal is set by `unshare --kill-child`.

    Raises:
        MissingPrerequisite: util-linux lacks one of the two programs.
    """
    for program in ("setpriv", "unshare"):
        if shutil.which(program) is None:
            raise MissingPrerequisite(f"the program `{program}`", "apt-get install -y util-linux")
    return [
        *("setpriv", "--pdeathsig", "KILL", "--"),
        *(
            "unshare",
            *user_namespace(),
            "--net",
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ),
        "--",
        *command,
    ]


def why_no_user_namespaces() -> MissingPrerequisite | None:
    """Return what forbids unprivileged user namespaces here, as an error with its remedy; None when nothing does."""
    if is_privileged():
        return None
    knobs = {
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        "/proc/sys/kernel/unprivileged_userns_clone": ("0", "kernel.unprivileged_userns_clone=1"),
        "/proc/sys/user/max_user_namespaces": ("0", "user.max_user_namespaces=10000"),
    }
    for path, (forbidding, remedy) in knobs.items():
        if Path(path).exists() and Path(path).read_text().strip() == forbidding:
            return MissingPrerequisite(
                f"unprivileged user namespaces ({path} is {forbidding})", f"sudo sysctl -w {remedy}"
            )
    return None


def run_as_init_check() -> None:
    """Refuse to go on outside a sandbox: everything the worker does assumes its own namespaces."""
    if os.getpid() != 1:
        raise MissingPrerequisite(
            "a sandbox around the worker", "start it through `overlaybench run` or `contract`, not by hand"
        )
