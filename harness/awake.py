"""Keeps a virtual machine's processors awake while something is measured.

A virtual processor that halts has to be given one of the host's again before it can go on, and on a busy host that
takes milliseconds, real-time scheduling or not: timers, frames and wake-ups are all late by it. A loop of the lowest
scheduling class (SCHED_IDLE, see sched(7)) on each processor prevents the halt, and gives way to whatever else wants to
run. On bare metal waking takes microseconds and the loops would only cost clock rate, so nothing is started there.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from harness.sandbox.syscalls import die_with_parent

_CPUIDLE_DRIVER = Path("/sys/devices/system/cpu/cpuidle/current_driver")


def is_virtual() -> bool:
    """Whether this is a virtual machine: x86 guests carry a flag, other KVM guests have the driver `haltpoll`."""
    if re.search(r"^flags\s*:.*\bhypervisor\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
        return True
    return _CPUIDLE_DRIVER.exists() and _CPUIDLE_DRIVER.read_text().strip() == "haltpoll"


def stolen_s() -> float:
    """Seconds, summed over all processors since boot, in which the host ran something else (`steal` in proc(5))."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def processors_awake() -> Iterator[int]:
    """While open no processor of a virtual machine halts; gives the number of loops, 0 on bare metal.

    The loops end with the caller, however it ends.
    """
    cpus = sorted(os.sched_getaffinity(0)) if is_virtual() else []
    loops = [
        subprocess.Popen(
            [sys.executable, "-m", "harness.awake", str(cpu), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for the orchestrator
        )
        for cpu in cpus
    ]
    try:
        yield len(loops)
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.wait()


def _loop(cpu: int, parent: int) -> None:
    die_with_parent()
    os.sched_setaffinity(0, {cpu})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    if os.getppid() != parent:  # it died before the kernel was told to tell us
        return
    while True:
        pass


if __name__ == "__main__":
    _loop(int(sys.argv[1]), int(sys.argv[2]))
