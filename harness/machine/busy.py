"""Whether others leave this machine room for labs, said before a run starts.

Without real-time priority the process that carries the links waits for whoever else wants a processor, and a trial
whose links were late is invalid. As long as some processor time is idle that waiting is short.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 0.5
ROOM = 0.1
"""The share of all processors that has to be idle."""
PATIENCE_S = 20.0
_TOLD = 3


@dataclass(frozen=True)
class Ticks:
    """Clock ticks since boot: of all processors together, idle ones among them, and used by each process."""

    total: int
    idle: int
    processes: Mapping[str, int]


def read_ticks(proc: Path = Path("/proc")) -> Ticks:
    """Read proc(5): `stat` of the machine, where waiting for a disk is idle too, and of every process."""
    fields = [int(word) for word in (proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    processes = {}
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                head, _, rest = (entry / "stat").read_text().rpartition(")")
            except OSError:
                continue  # it has just ended
            words = rest.split()
            processes[f"{head.partition('(')[2]} ({entry.name})"] = int(words[11]) + int(words[12])
    return Ticks(sum(fields), fields[3] + fields[4], processes)


def idle_share(before: Ticks, after: Ticks) -> float:
    """Return the idle share of all processors in between; 1 where no time has passed. Pure."""
    passed = after.total - before.total
    return (after.idle - before.idle) / passed if passed else 1.0


def users(before: Ticks, after: Ticks) -> list[str]:
    """Return the processes that used most in between, the most first. Pure."""
    used = {name: ticks - before.processes.get(name, 0) for name, ticks in after.processes.items()}
    return [name for name in sorted(used, key=lambda one: -used[one]) if used[name] > 0][:_TOLD]


def wait_for_room(
    say: Callable[[str], None],
    look: Callable[[], Ticks] = read_ticks,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until a tenth of the processors is idle, and say what for; False: it never was, for PATIENCE_S seconds."""
    waited_s, told = 0.0, False
    while True:
        before = look()
        sleep(LOOK_S)
        after = look()
        share = idle_share(before, after)
        if share >= ROOM:
            return True
        waited_s += LOOK_S
        if not told:
            told = True
            names = ", ".join(users(before, after)) or "processes of other users"
            say(
                f"the machine is too busy for an ordinary user's labs: {100 * share:.0f} % of its {os.cpu_count()} "
                f"processors are idle (in use by {names}); waiting up to {PATIENCE_S:.0f} s until {100 * ROOM:.0f} % "
                "are"
            )
        if waited_s >= PATIENCE_S:
            say("the machine is still busy; starting anyway. Trials whose links are late will be invalid")
            return False
