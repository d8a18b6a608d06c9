"""Keeps a virtual machine's processors awake while something is measured.

A virtual processor that halts has to be given one of the host's again before it can go on, and on a busy host that
takes milliseconds, real-time scheduling or not: timers, frames and wake-ups are all late by it. On bare metal waking
takes microseconds, and nothing is done there.

Root asks the kernel for a wake-up latency of 0 (Documentation/power/pm_qos_interface.rst): its idle loop polls. For
others a loop of the lowest scheduling class (SCHED_IDLE, sched(7)) runs on each processor. That is the worse way: a
kernel with autogroup gives such a loop's session a small share of the processor even beside work.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from harness.sandbox.syscalls import die_with_parent

LATENCY_DEVICE = Path("/dev/cpu_dma_latency")
_CPUIDLE_DRIVER = Path("/sys/devices/system/cpu/cpuidle/current_driver")
_AUTOGROUP = Path("/proc/self/autogroup")

Way = Literal["latency request", "idle loops"]


def is_virtual() -> bool:
    """Whether this is a virtual machine: x86 guests carry a flag, other KVM guests have the driver `haltpoll`."""
    if re.search(r"^flags\s*:.*\bhypervisor\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
        return True
    return _cpuidle_driver() == "haltpoll"


def stolen_s() -> float:
    """Seconds, summed over all processors since boot, in which the host ran something else (`steal` in proc(5))."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def processors_awake() -> Iterator[Way | None]:
    """While open no processor of a virtual machine halts; gives how, None on bare metal.

    Whatever is held or runs for it ends with the caller, however that ends.
    """
    with contextlib.ExitStack() as held:
        if not is_virtual():
            yield None
        elif _request_no_latency(held):
            yield "latency request"
        else:
            held.enter_context(_idle_loops())
            yield "idle loops"


def _cpuidle_driver() -> str:
    return _CPUIDLE_DRIVER.read_text().strip() if _CPUIDLE_DRIVER.exists() else "none"


def _request_no_latency(held: contextlib.ExitStack) -> bool:
    """Whether the request could be made and has an effect: without a cpuidle driver the idle loop halts regardless."""
    if _cpuidle_driver() == "none":
        return False
    try:
        device = os.open(LATENCY_DEVICE, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    held.callback(os.close, device)
    os.write(device, struct.pack("=i", 0))
    return True


@contextlib.contextmanager
def _idle_loops() -> Iterator[None]:
    loops = [
        subprocess.Popen(
            [sys.executable, "-m", "harness.awake", str(cpu), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for the orchestrator
        )
        for cpu in sorted(os.sched_getaffinity(0))
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.wait()


def _loop(cpu: int, parent: int) -> None:
    die_with_parent()
    os.sched_setaffinity(0, {cpu})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):  # the session's own share: nothing else lowers it
        _AUTOGROUP.write_text("19")
    if os.getppid() != parent:  # it died before the kernel was told to tell us
        return
    while True:
        pass


if __name__ == "__main__":
    _loop(int(sys.argv[1]), int(sys.argv[2]))
