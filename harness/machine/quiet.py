"""Whether others want the processors when a trial is about to load the machine: looked at, waited for, told.

What is looked at is for how much of a moment something that could run had to wait for a processor. At that moment
trials of ours only wait, so that it is what others want.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from harness.machine.busy import idle_share, read_ticks

LOOK_S: Final = 0.05
QUIET: Final = 0.1
"""The share of a look for which something may have waited for a processor."""
PATIENCE_S: Final = 5.0
PAUSE_S: Final = 0.25
IN_ALL_S: Final = 20.0
"""So long a run waits in all: on a machine that is always busy further trials start at once, and say so."""

# *pressure*: pressure stall information; *run delay*: what tasks waited in run queues; *use*: of all processor time.
By = Literal["pressure", "run delay", "use"]


@dataclass(frozen=True)
class Wanted:
    """For how many seconds since boot processors were wanted in vain, at a moment (monotonic s)."""

    at_s: float
    waited_s: float
    by: By


@dataclass(frozen=True)
class Quietness:
    """What was found before a trial's load: the share of the last look that others waited, and how long we did.

    `is_busy`: the load began although others wanted the processors.
    """

    share: float
    waited_s: float
    by: By
    is_busy: bool


def read_wanted(proc: Path = Path("/proc"), now: Callable[[], float] = time.monotonic) -> Wanted:
    """Read the best that this kernel has: pressure stall information, else schedstat, else what is in use."""
    try:
        some = (proc / "pressure" / "cpu").read_text().split("\n", 1)[0]
        return Wanted(now(), 1e-6 * int(some.rpartition("total=")[2]), "pressure")
    except (OSError, ValueError):
        pass  # a kernel without it, or a container that may not look
    try:
        rows = [line.split() for line in (proc / "schedstat").read_text().splitlines() if line.startswith("cpu")]
        if rows:
            return Wanted(now(), 1e-9 * sum(int(row[8]) for row in rows), "run delay")
    except (OSError, ValueError, IndexError):
        pass
    ticks = read_ticks(proc)
    in_use = 1 - idle_share(type(ticks)(0, 0, {}), ticks)
    return Wanted(now(), in_use * ticks.total / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1), "use")


def wanted_share(before: Wanted, after: Wanted) -> float:
    """Return the share of the time in between for which processors were wanted in vain, 0 to 1. Pure."""
    passed_s = after.at_s - before.at_s
    if passed_s <= 0 or before.by != after.by:
        return 0.0
    return min(1.0, max(0.0, (after.waited_s - before.waited_s) / passed_s))


def is_busy(share: float, by: By) -> bool:
    """Tell whether that is too much. Of use nothing is wanted in vain until all processors are in use. Pure."""
    return share > (1 - QUIET if by == "use" else QUIET)


@dataclass
class Allowance:
    """How long a run may still wait for quiet, in s."""

    left_s: float = IN_ALL_S


@lru_cache(maxsize=256)
def allowance_of(run: str) -> Allowance:
    """Return the one allowance of a run, which opens its host once a round."""
    del run
    return Allowance()


async def wait_for_quiet(
    allowance: Allowance,
    look: Callable[[], Wanted] = read_wanted,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    say: Callable[[str], None] = lambda _: None,
) -> Quietness:
    """Wait until others leave the processors alone, as long as patience and the run's allowance last; say what for."""
    waited_s = 0.0
    while True:
        before = look()
        await sleep(LOOK_S)
        after = look()
        share = wanted_share(before, after)
        busy = is_busy(share, after.by)
        if not busy or waited_s + PAUSE_S > PATIENCE_S or allowance.left_s < PAUSE_S:
            return Quietness(round(share, 3), round(waited_s, 3), after.by, busy)
        if not waited_s:
            say(f"waiting: other processes wait for the processors {100 * share:.0f} % of the time")
        await sleep(PAUSE_S)
        waited_s += PAUSE_S + LOOK_S
        allowance.left_s -= PAUSE_S + LOOK_S
