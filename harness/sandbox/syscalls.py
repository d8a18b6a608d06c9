"""The Linux calls that Python 3.11's `os` lacks: unshare, setns, mount, prctl. Nothing but the calls.

Sources: unshare(2), setns(2), mount(2), mount_setattr(2), prctl(2). Every failure is an OSError with the errno.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 0x1
_SYS_MOUNT_SETATTR = 442  # the same number on every architecture
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _checked(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def unshare(flags: int) -> None:
    """Move the calling process into new namespaces (CLONE_NEW*)."""
    _checked(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int = 0) -> None:
    """Enter the namespace that `fd` refers to; `kind` 0 accepts any."""
    _checked(_libc.setns(fd, kind), "setns")


def mount(source: str, target: Path | str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """Call mount(2); an empty `fstype` or `data` is passed as NULL."""
    _checked(
        _libc.mount(
            source.encode(), str(target).encode(), fstype.encode() or None, ctypes.c_ulong(flags), data.encode() or None
        ),
        f"mount {target}",
    )


def set_read_only(path: Path | str, read_only: bool, recursive: bool = False) -> None:
    """Set or clear the read-only attribute of the mount at `path` (Linux 5.12 and later)."""
    attr = _MountAttr()
    if read_only:
        attr.attr_set = _MOUNT_ATTR_RDONLY
    else:
        attr.attr_clr = _MOUNT_ATTR_RDONLY
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        str(path).encode(),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        ctypes.byref(attr),
        ctypes.c_size_t(ctypes.sizeof(attr)),
    )
    _checked(result, f"mount_setattr {path}")


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that made it ends (prctl PR_SET_PDEATHSIG)."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def sethostname(name: str) -> None:
    """Name the calling process's UTS namespace."""
    raw = name.encode()
    _checked(_libc.sethostname(raw, len(raw)), "sethostname")
