"""What 10^5 simulated peers cost: the algebra, the engine's worlds, their memory on the way, and the page at the end.

    python -m bench.population --share 100 --jobs 2    # 10^5 peers: all pairs in 5 min, all groups of five in 15 min

`--share` is the percentage of the worlds that is run: a tenth by default, for `make bench`. The two times are goals for
all worlds on two processors, without the page; they are judged only where two jobs run all worlds. Memory is the
resident size of this process and of those that run worlds, added up, so that what they share counts in each; they have
ended by "all worlds". From 10 to 50 % it should not grow. Exit code 1: the algebra of all pairs took a second or more
of a processor, or a goal was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.report.html import write_report
from harness.scenario.load import POPULATIONS
from harness.simulation.algebra import expected_cells, level_of, pair_success
from harness.simulation.contract import engines
from harness.simulation.describe import described
from harness.simulation.load import LoadedPopulation, load_population
from harness.simulation.plan import Plan
from harness.simulation.run import prepare, simulate

MOMENTS = (10, 50)
"""Percent of the worlds, at which memory is looked at."""
ALGEBRA_S = 1.0
# By so many jobs.
GOAL_JOBS = 2
GOALS_S = {"hundred-thousand": 300.0, "hundred-thousand-fives": 900.0}
"""How long all worlds of each may take on two processors."""
NAMES = tuple(GOALS_S)


def resident_mib() -> float:
    """Return the resident memory of this process and of all that it has started, in MiB."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue  # it has ended meanwhile
    mine, total_pages = {os.getpid()}, 0
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    for pid in mine:
        try:
            total_pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return total_pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Watch:
    """Looks at time and memory when so many percent of the worlds are on the disk."""

    def __init__(self, worlds: int) -> None:
        self._worlds, self._done, self._began = worlds, 0, time.monotonic()
        self.seen: dict[str, dict[str, float]] = {}

    def advance(self, worlds: int) -> None:
        """Count, and look at each moment once."""
        self._done += worlds
        for percent in MOMENTS:
            if self._done * 100 >= self._worlds * percent and f"{percent} %" not in self.seen:
                self.look(f"{percent} %")

    def look(self, name: str) -> None:
        """Note the seconds since the beginning, and the memory now."""
        seconds = time.monotonic() - self._began
        self.seen[name] = {"wall_s": round(seconds, 2), "resident_mib": round(resident_mib(), 1)}


def algebra_s(loaded: LoadedPopulation) -> dict[str, float]:
    """Return the processor seconds of all pairs of peers, and of all that population.json has: curves, groups."""
    population = loaded.population
    begin = time.process_time()
    level = level_of(engines()[population.engine], population)
    for condition in Plan(population).conditions:
        pair_success(expected_cells(population, condition, level))
    pairs_s = time.process_time() - begin
    begin = time.process_time()
    described(loaded)
    return {"pairs_cpu_s": round(pairs_s, 4), "described_cpu_s": round(time.process_time() - begin, 4)}


def measured(name: str, share: float, jobs: int, folder: Path) -> dict[str, Any]:
    """Return what one population took."""
    loaded = load_population(name, POPULATIONS)
    whole = loaded.population
    part = {key: max(1, round(getattr(whole, key) * share / 100)) for key in ("worlds", "groups")}
    loaded = replace(loaded, population=whole.model_copy(update=part))
    algebra = algebra_s(loaded)
    run, left = prepare(loaded, folder / name, resume=False)
    watch = Watch(len(left))
    simulate(loaded, run, left, jobs, watch)
    watch.look("all worlds")
    run.finish()
    write_report(folder / name)
    watch.look("end, with the page")
    peers = sum(len(world.names) for world in Plan(loaded.population))
    found = {"population": name, "worlds": len(left), "peers": peers, "jobs": jobs, "algebra": algebra, **watch.seen}
    return found | judged(name, share, jobs, watch.seen["all worlds"]["wall_s"])


def judged(name: str, share: float, jobs: int, wall_s: float) -> dict[str, Any]:
    """Return the time goal and whether it is met; nothing unless all worlds were run by two jobs, as the goal has it.

    The time of a part scales with no certainty: start and end of a run are most of a small part's, and a larger share
    of its worlds may be dear ones.
    """
    if share != 100 or jobs != GOAL_JOBS:
        return {}
    return {"goal_s": GOALS_S[name], "goal_met": wall_s <= GOALS_S[name]}


def main() -> None:
    """Print one line a population, in JSON, or a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--share", type=float, default=10.0, help="percent of the worlds; 100 is 10^5 peers each")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", choices=NAMES, action="append")
    given = parser.parse_args()
    slow = False
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only or NAMES:
            found = measured(name, given.share, given.jobs, Path(folder))
            slow |= found["algebra"]["pairs_cpu_s"] >= ALGEBRA_S or not found.get("goal_met", True)
            print(json.dumps(found) if given.json else _text(found), flush=True)
    sys.exit(slow)


def _text(found: dict[str, Any]) -> str:
    lines = [f"{found['population']}: {found['peers']:,} peers in {found['worlds']:,} worlds, {found['jobs']} jobs"]
    lines += [f"  algebra, {name.removesuffix('_cpu_s')}: {value:g} s" for name, value in found["algebra"].items()]
    looks = {name: look for name, look in found.items() if isinstance(look, dict) and "wall_s" in look}
    lines += [f"  {name}: {look['wall_s']:,.1f} s, {look['resident_mib']:,.0f} MiB" for name, look in looks.items()]
    if "goal_s" in found:
        lines.append(f"  goal: all worlds within {found['goal_s']:g} s: {'met' if found['goal_met'] else 'missed'}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
