"""What `trend` finds and what it invents, on made-up histories whose truth is known.

    python -m bench.trend_power [--json] [--histories N] [--table] [--only PART]

*Nulls*: nothing changed; how often a history fails. Runs may differ among themselves by more than their trials do
(`between`: the spread of a factor that all trials of a subject, metric and run share, and no control sees). *Grown*:
the same history called after every point from the sixth on, as CI does; how often any call fails. *Truths*: a step, a
drift, a change in one cell; how often it is called, at its place, and how often anything else is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.results.changes import Rule
from harness.results.series import Axis, HistoryCell, Series
from harness.results.statistics import as_floats, proportion
from harness.results.trend import Finding, judge

NOISY = (
    *("rtt_p50_ms", "rtt_p99_ms", "time_to_ready_s", "time_to_connect_s", "tcp_throughput_ratio"),
    *("tcp_throughput_mbit", "udp_goodput_mbit", "cpu_s_per_gb"),
)
SUBJECTS = ("one mesh", "two mesh", "three relay")
CHANGED = ("one mesh", "rtt_p50_ms")
# Of point and cell: what values of CHANGED are multiplied by.
Change = Callable[[int, int], float]


@dataclass(frozen=True)
class World:
    """What histories are drawn from: `runs` a point, by what share trials (`noise`) and runs (`between`) differ."""

    points: int = 12
    runs: int = 1
    pairs: int = 3
    repeats: int = 5
    noise: float = 0.05
    between: float = 0.0
    change: Change = lambda _point, _cell: 1.0
    metrics: tuple[str, ...] = (*NOISY, "connect_success")


def made_up(world: World, rng: np.random.Generator) -> tuple[Axis, list[Series]]:
    """Return one history: successes that never change beside the noisy metrics."""
    places = tuple(place for place in range(world.points) for _ in range(world.runs))
    names = tuple(f"v{place}" for place in range(world.points))
    axis = Axis(("one", "two", "three"), names, places, tuple(range(len(places))))
    sessions = np.repeat(np.arange(len(places)), world.repeats)
    trials = np.arange(sessions.size)
    found = []
    for subject in SUBJECTS:
        for metric in world.metrics:
            shared = np.exp(rng.normal(0, world.between, len(places)))[sessions]
            cells = []
            for cell in range(world.pairs):
                values = np.exp(rng.normal(3, 1)) * shared * np.exp(rng.normal(0, world.noise, sessions.size))
                if (subject, metric) == CHANGED:
                    values *= np.asarray([world.change(places[session], cell) for session in sessions])
                if metric == "connect_success":
                    values = np.ones(sessions.size)
                cells.append(HistoryCell(f"pair {cell}", as_floats(values), trials, np.zeros_like(trials), sessions))
            unit = "1" if metric in {"connect_success", "tcp_throughput_ratio"} else "ms"
            found.append(Series(axis, subject, metric, unit, "", "", tuple(cells)))
    return axis, found


def until(axis: Axis, series: list[Series], points: int) -> tuple[Axis, list[Series]]:
    """Return the history as it was after so many points, of one run each."""
    shorter = Axis(axis.overlays, axis.points[:points], axis.sessions[:points], axis.folders[:points])
    found = []
    for one in series:
        cells = []
        for cell in one.cells:
            kept = cell.sessions < points
            parts = (cell.values[kept], cell.trials[kept], cell.pairs[kept], cell.sessions[kept])
            cells.append(HistoryCell(cell.name, *parts))
        found.append(Series(shorter, one.subject, one.metric, one.unit, one.phase, one.machine, tuple(cells)))
    return shorter, found


def regressions(axis: Axis, series: list[Series]) -> list[Finding]:
    """Return the regressions called in a history."""
    found, _, _ = judge(series, axis, Rule())
    return [one for one in found if one.change.verdict == "regression"]


def step(factor: float, first: int, end: int = 10**6) -> Change:
    """Return a change of all cells at a point, taken back at `end`."""
    return lambda point, _cell: factor if first <= point < end else 1.0


NULLS = tuple(
    World(points=points, runs=runs, between=between)
    for between in (0.0, 0.02, 0.05)
    for points, runs in ((3, 1), (2, 2), (2, 3), (3, 3), (6, 1), (12, 1))
)
TRUTHS: tuple[tuple[str, World, int], ...] = (
    ("+20 % at the newest of 3 points", World(points=3, change=step(1.2, 2)), 2),
    *(
        (
            f"+20 % at the newer of 2 points, {runs} runs each, which differ by {100 * between:.0f} %",
            World(points=2, runs=runs, between=between, change=step(1.2, 1)),
            1,
        )
        for between in (0.02, 0.05)
        for runs in (2, 3, 5)
    ),
    ("+20 % in the middle of 12", World(change=step(1.2, 6)), 6),
    ("+20 % in the middle of 12, runs differ by 5 %", World(between=0.05, change=step(1.2, 6)), 6),
    ("+20 % at the newest of 12", World(change=step(1.2, 11)), 11),
    ("+20 % at the newest of 24, runs differ by 2 %", World(points=24, between=0.02, change=step(1.2, 23)), 23),
    ("+20 % in one of 3 cells, middle of 12", World(change=lambda p, c: 1.2 if p >= 6 and c == 1 else 1.0), 6),
    ("+20 % for 6 of 24 points", World(points=24, change=step(1.2, 9, 15)), 9),
    ("+1 % a point over 24", World(points=24, change=lambda p, _c: 1 + 0.01 * p), -1),
    ("one run of 12 is off by 50 %", World(change=step(1.5, 6, 7)), -2),
)


def nulls(count: int) -> list[dict[str, Any]]:
    """Return how many histories without any change fail."""
    found = []
    for world in NULLS:
        failed = sum(bool(regressions(*made_up(world, np.random.default_rng(seed)))) for seed in range(count))
        found.append(
            {"points": world.points, "runs": world.runs, "between": world.between, "of": count, "failed": failed}
        )
    return found


def grown(count: int) -> list[dict[str, Any]]:
    """Return how many of those with twelve points fail at any call, when called after every point from the sixth on."""
    found = []
    for world in NULLS:
        if world.points == 12:
            failed = 0
            for seed in range(count):
                axis, series = made_up(world, np.random.default_rng(seed))
                failed += any(regressions(*until(axis, series, points)) for points in range(6, 13))
            found.append({"points": world.points, "runs": 1, "between": world.between, "of": count, "failed": failed})
    return found


def truths(count: int) -> list[dict[str, Any]]:
    """Return how often each truth is found (at its place, or the one next to it), and anything else called."""
    found = []
    for name, world, place in TRUTHS:
        hits = others = 0
        for seed in range(count):
            mine, rest = [], 0
            for one in regressions(*made_up(world, np.random.default_rng(seed))):
                if (one.change.subject, one.change.metric) == CHANGED:
                    mine.append(one)
                else:
                    rest += 1
            hits += any(_is_there(one, place) for one in mine)
            others += bool(rest)
        found.append({"truth": name, "of": count, "found": hits, "others": others})
    return found


def _is_there(finding: Finding, place: int) -> bool:
    if place == -1:
        return finding.kind == "drift"
    return place == -2 or abs(finding.axis.points.index(finding.at) - place) <= 1


def table(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Return what was measured as the Markdown of docs/trend.md."""
    lines = []
    for key, title in (("nulls", "Points, nothing changed"), ("grown", "Points, called after each from the sixth on")):
        if key in rows:
            lines += [f"| {title} | Runs each | Runs differ by | Histories that fail |", "|---|---|---|---|"]
            for row in rows[key]:
                share = _share(row["failed"], row["of"])
                lines.append(f"| {row['points']} | {row['runs']} | {100 * row['between']:.0f} % | {share} |")
            lines.append("")
    if "truths" in rows:
        lines += ["| Truth | Called | Others called |", "|---|---|---|"]
        for row in rows["truths"]:
            lines.append(f"| {row['truth']} | {_share(row['found'], row['of'])} | {_share(row['others'], row['of'])} |")
    return "\n".join(lines) + "\n"


def _share(count: int, of: int) -> str:
    interval = proportion(count, of)
    return f"{count}/{of} ({100 * interval.low:.1f} to {100 * interval.high:.1f} %)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--histories", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--table", action="store_true", help="the tables of docs/trend.md")
    parts = {"nulls": nulls, "grown": grown, "truths": truths}
    parser.add_argument("--only", choices=sorted(parts), help="one part alone")
    arguments = parser.parse_args()
    rows = {name: part(arguments.histories) for name, part in parts.items() if arguments.only in (None, name)}
    print(table(rows) if arguments.table else json.dumps(rows))


if __name__ == "__main__":
    main()
