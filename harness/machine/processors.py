"""The processors of a virtual machine, kept awake while something is measured.

A virtual processor that halts has to be given one of the host's again before it can go on, and on a busy host that
takes milliseconds, real-time scheduling or not: timers, frames and wake-ups are all late by it. On bare metal waking
takes microseconds, and nothing is done there.

Root asks the kernel for a wake-up latency of 0 (Documentation/power/pm_qos_interface.rst): its idle loop polls. Others
have no way. Loops of the lowest scheduling class on every processor were tried and made it worse: during work, too, the
kernel let them end their slices, and a helper without real-time priority waited for that.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

LATENCY_DEVICE = Path("/dev/cpu_dma_latency")
_CPUIDLE_DRIVER = Path("/sys/devices/system/cpu/cpuidle/current_driver")

Way = Literal["latency request"]


def is_virtual() -> bool:
    """Tell whether this is a virtual machine: x86 guests carry a flag, other KVM guests have the driver `haltpoll`."""
    if re.search(r"^flags\s*:.*\bhypervisor\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
        return True
    return _cpuidle_driver() == "haltpoll"


def stolen_s() -> float:
    """Return the seconds since boot, summed over processors, in which the host ran others (`steal`, proc(5))."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def processors_awake() -> Iterator[Way | None]:
    """Prevent vCPU halts while the block runs; yields the mechanism or None.

    None on bare metal, and where it cannot be had. What is held for it ends with the caller, however that ends.
    """
    with contextlib.ExitStack() as held:
        yield "latency request" if is_virtual() and _request_no_latency(held) else None


def _cpuidle_driver() -> str:
    return _CPUIDLE_DRIVER.read_text().strip() if _CPUIDLE_DRIVER.exists() else "none"


def _request_no_latency(held: contextlib.ExitStack) -> bool:
    """Request a latency of 0; False where it fails or has no effect: without a cpuidle driver the idle loop halts."""
    if _cpuidle_driver() == "none":
        return False
    try:
        device = os.open(LATENCY_DEVICE, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    held.callback(os.close, device)
    os.write(device, struct.pack("=i", 0))
    return True
