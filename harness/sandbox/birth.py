"""A sandbox without starting a program: fork, fresh namespaces, fork again, and the second child is PID 1 inside.

The same as `sandbox_argv` (setpriv and unshare of util-linux), for a process that has everything loaded already.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

from harness.sandbox import syscalls

_NAMESPACES = (
    syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNET
)


def fork_into_sandbox(main: Callable[[], None], fds: tuple[int, int, int], privileged: bool) -> int:
    """Run `main` as PID 1 of fresh namespaces, with `fds` as stdin, stdout and stderr.

    Only for a process without threads. When any of caller, launcher and PID 1 is killed, those after it die too.

    Args:
        privileged: whether the caller may make namespaces as it is; otherwise a user namespace comes first.

    Returns:
        The launcher's pid, a child of the caller; it ends with PID 1's exit status.
    """
    launcher = os.fork()
    if launcher != 0:
        return launcher
    status = 1
    try:
        os.setpgid(0, 0)  # of its own, but in its parent's session: see harness/link/precedence.py
        syscalls.die_with_parent()
        signal.set_wakeup_fd(-1)
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        os.closerange(3, max(fds) + 64)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _unshare(privileged)
        status = _launch(main)
    except OSError as error:
        os.write(2, f"cannot make the sandbox: {error}\n".encode())
    finally:
        os._exit(status)


def _unshare(privileged: bool) -> None:
    if privileged:
        syscalls.unshare(_NAMESPACES)
        return
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(_NAMESPACES | syscalls.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _launch(main: Callable[[], None]) -> int:
    """Fork PID 1 and wait for it; its own parent-death signal is armed before it does anything."""
    alive, hold = os.pipe()
    init = os.fork()
    if init == 0:
        status = 1
        try:
            os.close(hold)
            syscalls.die_with_parent()
            poller = select.poll()
            poller.register(alive, select.POLLHUP)
            if poller.poll(0):
                os._exit(1)  # the launcher died before the signal was armed
            os.close(alive)
            syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
            syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV)
            main()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except BaseException as error:  # nothing may reach the caller's stack in the child
            with contextlib.suppress(OSError):
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(status)
    _, ended_as = os.waitpid(init, 0)
    return os.waitstatus_to_exitcode(ended_as) & 0xFF
