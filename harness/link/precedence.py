"""Precedence without real-time priority: the process that carries the links comes first, then the lab.

An ordinary process that has used its fair share waits for the others' slices, some 3 ms each, and every frame that it
carries waits with it. No process may raise its own priority without privilege, but each may lower it.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Final

from harness.link.backend import RunningLinks

# A tenth of the weight of an ordinary process. The lab's processes keep their proportions among each other.
LAB_NICENESS: Final = 10
# Switches in the environment, for measurements: the lab's scheduling policy, and processors of its own for the carrier.
POLICY_LEVER: Final = "OVERLAYBENCH_LAB_POLICY"
PIN_LEVER: Final = "OVERLAYBENCH_PIN"

# sched(7), "The autogroup feature": processes of one session share what one process would get, so that niceness counts
# within a session alone, and the session has a niceness of its own.
_AUTOGROUP: Final = Path("/proc/self/autogroup")
# The kernel takes one change of a session's niceness in 100 ms from all its unprivileged users together.
_PATIENCE_S: Final = 1.0
_PAUSE_S: Final = 0.02


def deprioritise_lab(links: RunningLinks) -> bool:
    """Lower this process and its session, and whatever it starts from now on, behind a helper without real-time
    priority.

    To be called by the process of one trial before it starts the trial's daemons; there is no way back without
    privilege. The helper has a session of its own (`harness.link.helper`). Does nothing (False) where the helper has
    real-time priority or where the kernel carries the links.
    """
    if links.accounting().realtime is not False:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, max(LAB_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    _lower_session()
    _pull_levers()
    return True


def _pull_levers() -> None:
    """Do what is tried out by `bench.rootless` and off by default; whatever the lab starts from now on inherits it."""
    policies = {"batch": os.SCHED_BATCH, "idle": os.SCHED_IDLE}
    policy = policies.get(os.environ.get(POLICY_LEVER, ""))
    if policy is not None:
        os.sched_setscheduler(0, policy, os.sched_param(0))
    others = sorted(os.sched_getaffinity(0))[:-1]
    if os.environ.get(PIN_LEVER) and others:
        os.sched_setaffinity(0, others)


def pin_helper(pid: int) -> None:
    """Give the links' carrier the last processor to itself, where that is asked for (`_pull_levers`)."""
    usable = sorted(os.sched_getaffinity(0))
    if os.environ.get(PIN_LEVER) and len(usable) > 1:
        os.sched_setaffinity(pid, usable[-1:])


def _lower_session() -> None:
    deadline = time.monotonic() + _PATIENCE_S
    # All trials of a run are in one session: the first one lowers it, and the others see that.
    while _AUTOGROUP.exists() and session_niceness() < LAB_NICENESS and time.monotonic() < deadline:
        try:
            _AUTOGROUP.write_text(str(LAB_NICENESS))
        except OSError:
            time.sleep(_PAUSE_S)


def session_niceness() -> int:
    """Return the niceness of this process's session; 0 where the kernel keeps none."""
    found = re.search(r"nice (-?\d+)", _AUTOGROUP.read_text()) if _AUTOGROUP.exists() else None
    return int(found[1]) if found else 0
