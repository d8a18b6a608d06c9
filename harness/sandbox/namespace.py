"""Node namespaces: a network, mount and UTS namespace each, held open by a process that does nothing."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from pyroute2 import IPRoute

from harness.errors import LabError
from harness.sandbox import mounts, syscalls


def hold_namespace(name: str) -> int:
    """Fork a process into a namespace set of its own, loopback down, with an empty /run and `name` as host name.

    No program is executed: that, and one shell a node, is what makes plain Mininet slow to start.

    Returns:
        The holder's pid; the namespaces live until it dies, and it dies with the sandbox at the latest.
    """
    ready_read, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(ready_read)
            syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS)
            mounts.private_tmpfs("/run")
            syscalls.sethostname(name)
            syscalls.die_with_parent()
            os.setsid()  # Ctrl-C at Mininet's prompt is for the command there, not for the lab
            os.write(ready_write, b"+")
            while True:
                signal.pause()
        except OSError as error:
            os.write(ready_write, str(error).encode())
        finally:
            os._exit(status)
    os.close(ready_write)
    said = os.read(ready_read, 200)
    os.close(ready_read)
    if said != b"+":
        os.waitpid(pid, 0)
        raise LabError(f"cannot make the namespaces of node {name}: {said.decode() or 'its holder died'}")
    return pid


def release_namespaces(pids: list[int]) -> None:
    """Kill holders by pid and reap them; their interfaces go with their namespaces."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


@contextlib.contextmanager
def inside_network_of(pid: int) -> Iterator[None]:
    """Move the calling thread into the network namespace of `pid` for the block: sockets made there stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        target = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            syscalls.setns(target, syscalls.CLONE_NEWNET)
        finally:
            os.close(target)
        try:
            yield
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNET)
    finally:
        os.close(home)


def netlink_inside(pid: int) -> IPRoute:
    """Return a netlink socket that lives in the network namespace of `pid`; the caller closes it."""
    with inside_network_of(pid):
        return IPRoute()
