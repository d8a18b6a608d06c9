"""What `compare` finds and what it invents, on made-up runs whose truth is known.

    python -m bench.compare_power [--json] [--runs N] [--nulls N] [--table]

*Power*: one subject's round-trip time is 20 % higher in the new run, at 5 % noise, with 10 repeats, for 1 to 21 pairs
of NATs and 1 to 10 subjects; how often that is called a regression of that subject. *Nulls*: pairs of runs without any
difference, and pairs in which one subject did change; how often another one is blamed. *Shapes*: a shift in a few cells
alone, cells that lose their connection, outliers. Made-up runs have the metrics of a demo, twelve of them with noise.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.results.changes import Rule
from harness.results.compare import compare_samples
from harness.results.matching import Sample
from harness.results.ranks import Cell
from harness.results.statistics import proportion

NOISY = (
    *("rtt_p50_ms", "rtt_p99_ms", "added_rtt_p50_ms", "time_to_ready_s", "time_to_connect_s", "time_to_direct_s"),
    *("tcp_throughput_mbit", "tcp_throughput_ratio", "udp_goodput_mbit", "underlay_bytes_per_byte", "cpu_s_per_gb"),
    "rss_mib",
)
SUCCESSES = ("trial_success", "connect_success", "hole_punch_success")
CHANGED, SUBJECT = "rtt_p50_ms", "subject 0"
Change = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def made_up(
    rng: np.random.Generator, *, subjects: int, pairs: int, repeats: int, noise: float, change: Change, metric: str
) -> list[Sample]:
    """Two runs; `change` alters the new run's values of SUBJECT and `metric`, given the number of the cell."""
    samples = []
    new = np.arange(2 * repeats) >= repeats
    for subject in range(subjects):
        for name in (*NOISY, *SUCCESSES):
            cells = []
            for cell in range(pairs):
                if name in SUCCESSES:
                    # The NATs decide: a pair of them succeeds always, or never.
                    values = np.full(2 * repeats, float(name != "hole_punch_success" or cell % 3 > 0))
                else:
                    values = np.exp(rng.normal(3, 1)) * np.exp(rng.normal(0, noise, 2 * repeats))
                if f"subject {subject}" == SUBJECT and name == metric:
                    values[new] = change(values[new], cell, rng)
                cells.append(Cell(f"pair {cell}", values, np.arange(2 * repeats), np.zeros(2 * repeats, int), new))
            samples.append(Sample(f"subject {subject}", name, "", tuple(cells)))
    return samples


def verdicts(
    runs: int, seed: int, change: Change, *, subjects: int, pairs: int, repeats: int = 10, metric: str = CHANGED
) -> dict[str, int]:
    """In how many of the comparisons the change was found, and in how many anything else was blamed."""
    rng = np.random.default_rng([seed, subjects, pairs, repeats])
    found = blamed = 0
    for _ in range(runs):
        samples = made_up(
            rng, subjects=subjects, pairs=pairs, repeats=repeats, noise=0.05, change=change, metric=metric
        )
        bad = [one for one in compare_samples(samples, Rule()) if one.verdict == "regression"]
        found += any((one.subject, one.metric) == (SUBJECT, metric) for one in bad)
        # Over all subjects a metric did change, when one of them changed.
        blamed += any((one.subject, one.metric) != (SUBJECT, metric) and one.metric != metric for one in bad) or any(
            one.subject not in {SUBJECT, "all subjects"} for one in bad
        )
    return {"runs": runs, "found": found, "others_blamed": blamed}


def nothing(values: np.ndarray, _cell: int, _rng: np.random.Generator) -> np.ndarray:
    """No change."""
    return values


def shift(share: float, cells: int | None = None) -> Change:
    """Change all values by a share, in the first cells alone where their number is given."""
    return lambda values, cell, _: values * (1 + share) if cells is None or cell < cells else values


def lost(cells: int) -> Change:
    """Let the last cells, which always succeeded, never do."""
    return lambda values, cell, _: values * 0 if cell % 3 > 0 and cell < 3 * cells // 2 + 1 else values


def outliers(share: float, factor: float) -> Change:
    """Put a share of the trials of each cell far off."""

    def change(values: np.ndarray, _cell: int, rng: np.random.Generator) -> np.ndarray:
        chosen = rng.permutation(values.size) < round(share * values.size)
        return np.where(chosen, values * factor, values)

    return change


def power(runs: int) -> list[dict[str, Any]]:
    """Section *power*."""
    return [
        {"subjects": subjects, "pairs": pairs, **verdicts(runs, 1, shift(0.2), subjects=subjects, pairs=pairs)}
        for subjects in (1, 2, 5, 10)
        for pairs in (1, 3, 6, 21)
    ]


def nulls(runs: int) -> list[dict[str, Any]]:
    """Section *nulls*; half of the runs of each kind for few, half for many trials."""
    return [
        {"changed": name, "subjects": 5, "pairs": pairs, **verdicts(runs // 2, 2, change, subjects=5, pairs=pairs)}
        for name, change in (("nothing", nothing), ("one subject", shift(0.5)))
        for pairs in (1, 6)
    ]


def shapes(runs: int) -> list[dict[str, Any]]:
    """Section *shapes*."""
    cases: tuple[tuple[str, Change, str, int], ...] = (
        ("+30 % in 2 of 21 cells", shift(0.3, 2), CHANGED, 21),
        ("2 of 21 cells from 10/10 to 0/10", lost(2), "hole_punch_success", 21),
        ("5 x outliers in 20 % of trials, 21 cells", outliers(0.2, 5), CHANGED, 21),
        ("5 x outliers in 20 % of trials, 6 cells", outliers(0.2, 5), CHANGED, 6),
        ("5 x outliers in 20 % of trials, 1 cell", outliers(0.2, 5), CHANGED, 1),
    )
    return [
        {"change": name, **verdicts(runs, 3, change, subjects=5, pairs=pairs, metric=metric)}
        for name, change, metric, pairs in cases
    ]


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return the figures as the Markdown of docs/metrics.md."""
    lines = ["| Truth | Subjects | NAT pairs | Found | Others blamed |", "|---|---|---|---|---|"]
    for row in found.get("power", ()):
        of = f"{row['subjects']} | {row['pairs']}"
        lines.append(f"| +20 % in one subject | {of} | {_of(row)} | {_of(row, 'others_blamed')} |")
    for row in found.get("nulls", ()):
        seen = "-" if row["changed"] == "nothing" else _of(row)
        what = "no difference" if row["changed"] == "nothing" else "+50 % in one subject"
        lines.append(f"| {what} | {row['subjects']} | {row['pairs']} | {seen} | {_of(row, 'others_blamed')} |")
    for row in found.get("shapes", ()):
        lines.append(f"| {row['change']} | 5 | | {_of(row)} | {_of(row, 'others_blamed')} |")
    return "\n".join(lines) + "\n"


def _of(row: dict[str, Any], which: str = "found") -> str:
    rate = proportion(row[which], row["runs"])
    return f"{row[which]}/{row['runs']} ({100 * rate.low:.1f} to {100 * rate.high:.1f} %)"


def main() -> None:
    """Run the sections and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--table", action="store_true", help="the table of docs/metrics.md")
    parser.add_argument("--runs", type=int, default=20, help="comparisons for each case of power and shapes")
    parser.add_argument("--nulls", type=int, default=40, help="comparisons for each kind of null")
    parser.add_argument("--only", action="append", default=[], help="power, nulls or shapes")
    options = parser.parse_args()
    sections: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "power": lambda: power(options.runs),
        "nulls": lambda: nulls(options.nulls),
        "shapes": lambda: shapes(options.runs),
    }
    if unknown := set(options.only) - sections.keys():
        parser.error(f"no section {min(unknown)}; there are {', '.join(sections)}")
    found = {name: section() for name, section in sections.items() if not options.only or name in options.only}
    if options.table:
        print(table(found), end="")
    elif options.json:
        print(json.dumps(found))
    else:
        for name, rows in found.items():
            for row in rows:
                print(name, *(f"{key}={value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
