"""What a sandbox sees of the file system: everything read-only, but for the trial's folder and private tmpfs mounts."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import LabError
from harness.sandbox import syscalls

PRIVATE_DIRS = ("/run", "/dev/shm")


def make_private(writable: Path | None) -> None:
    """Make the caller's mount namespace safe to run unknown daemons in.

    An overlay that edits /etc/resolv.conf or writes to /var must fail loudly instead of changing the machine.

    Args:
        writable: the one folder of the machine that stays writable, if any; must exist.

    Raises:
        LabError: the kernel refused, or the caller is not the first process of a sandbox: it would change the machine.
    """
    if os.getpid() != 1:
        raise LabError("private mounts are for the first process of a sandbox; here they would be the machine's own")
    if not os.access(".", os.R_OK | os.X_OK):
        os.chdir("/")  # tools that look around where they are started, as nft does, fail in another user's folder
    try:
        syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        if writable is not None:
            # With what is mounted below it, which an ordinary user may not uncover: below /run `ip netns` has a mount.
            syscalls.mount(str(writable), writable, flags=syscalls.MS_BIND | syscalls.MS_REC)
        syscalls.set_read_only("/", True, recursive=True)
        if writable is not None:
            syscalls.set_read_only(writable, False)
        syscalls.set_read_only("/proc", False)  # /proc/sys/net is per network namespace and ours to set
        syscalls.mount("sysfs", "/sys", "sysfs", syscalls.MS_NOSUID | syscalls.MS_NODEV)
        for directory in PRIVATE_DIRS:
            if Path(directory).is_dir():
                private_tmpfs(directory)
    except OSError as error:
        raise LabError(f"cannot make the sandbox's private mounts: {error}") from error


def private_tmpfs(directory: str) -> None:
    """Mount an empty tmpfs over `directory`, gone with the mount namespace."""
    syscalls.mount("tmpfs", directory, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=0755,size=64m")
