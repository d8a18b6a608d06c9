"""What `compare` finds and what it invents, on made-up runs whose truth is known.

    python -m bench.compare_power [--runs N] [--nulls N] [--only SECTION] [--rows FILE] [--json | --table]

*Power*: one subject's round-trip time is 20 % higher in the new run, at 5 % noise, with 10 repeats, for 1 to 21 pairs
of NATs and 1 to 10 subjects; how often that is called a regression of that subject. *Nulls*: pairs of runs without any
difference, and pairs in which one subject did change; how often another one is blamed. *Shapes*: a shift in a few cells
alone, cells that lose their connection, outliers. Made-up runs have every metric that `compare` tests, each with noise
of its own: no run has as many, and the more there are, the stricter is the correction.

All of it takes hours of one processor. With `--rows` each row is kept as soon as it is known and never measured twice;
`--table` then shows those that there are.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.results.changes import Rule
from harness.results.compare import ALL, COMPARED, compare_samples
from harness.results.matching import Sample
from harness.results.metrics import metric_of
from harness.results.ranks import Cell
from harness.results.statistics import proportion

NOISY = tuple(name for name in COMPARED if metric_of(name).estimator != "proportion")
SUCCESSES = tuple(name for name in COMPARED if metric_of(name).estimator == "proportion")
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


@dataclass(frozen=True)
class Case:
    """One truth, and how many comparisons are made of it; `subjects` x `pairs` cells, all of them with this noise."""

    section: str
    truth: str
    change: Change
    subjects: int
    pairs: int
    runs: int
    metric: str = CHANGED
    noise: float = 0.05
    repeats: int = 10

    @property
    def key(self) -> str:
        """What tells it from the others."""
        return f"{self.section}: {self.truth}, {self.subjects} x {self.pairs}, {self.runs} runs"

    def rng(self) -> np.random.Generator:
        """Return where its values are drawn from: of no two cases the same, so that rows are independent."""
        words = (zlib.crc32(text.encode()) for text in (self.section, self.truth, self.metric))
        return np.random.default_rng([*words, round(1e6 * self.noise), self.subjects, self.pairs, self.repeats])

    def row(self) -> dict[str, Any]:
        """In how many of the comparisons the change was found, and in how many anything else was blamed."""
        rng = self.rng()
        found = blamed = 0
        for _ in range(self.runs):
            samples = made_up(
                rng,
                subjects=self.subjects,
                pairs=self.pairs,
                repeats=self.repeats,
                noise=self.noise,
                change=self.change,
                metric=self.metric,
            )
            bad = [one for one in compare_samples(samples, Rule()) if one.verdict == "regression"]
            found += any((one.subject, one.metric) == (SUBJECT, self.metric) for one in bad)
            # Over all subjects a metric did change, when one of them changed.
            changed = {SUBJECT, ALL} if self.change is not nothing else set()
            blamed += any(one.metric != self.metric or one.subject not in changed for one in bad)
        of = {"section": self.section, "truth": self.truth, "subjects": self.subjects, "pairs": self.pairs}
        return {"key": self.key, **of, "runs": self.runs, "found": found, "others_blamed": blamed}


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


# With so many, all of which find a change, Wilson's interval is above 95 %.
FEWEST = 80


def _fewer(runs: int, subjects: int, pairs: int) -> int:
    """Return how many comparisons are made of large runs, which take long."""
    return min(runs, max(FEWEST, runs * 10 // (subjects * pairs)))


def power(runs: int) -> Iterator[Case]:
    """Section *power*."""
    for subjects, pairs in ((10, 1), (1, 1), (5, 1), (10, 6), (1, 21), (1, 6), (5, 6), (10, 21), (5, 21)):
        fewer = _fewer(runs, subjects, pairs)
        yield Case("power", "+20 % in one subject", shift(0.2), subjects, pairs, fewer)


def nulls(runs: int) -> Iterator[Case]:
    """Section *nulls*, for few and many subjects and cells, and for noise in which all metrics could seem to change."""
    for subjects, pairs in ((10, 1), (1, 1), (5, 1), (1, 6), (1, 21), (5, 6), (10, 6), (5, 21), (10, 21)):
        yield Case("nulls", "no difference", nothing, subjects, pairs, _fewer(runs, subjects, pairs))
    for subjects, pairs in ((1, 1), (10, 1), (5, 6)):
        fewer = _fewer(runs, subjects, pairs)
        yield Case("nulls", "no difference, 20 % noise", nothing, subjects, pairs, fewer, noise=0.2)
    for subjects, pairs in ((5, 1), (10, 1), (5, 6)):
        yield Case("nulls", "+50 % in one subject", shift(0.5), subjects, pairs, _fewer(runs, subjects, pairs))


def shapes(runs: int) -> Iterator[Case]:
    """Section *shapes*, of five subjects."""
    for name, change, metric, pairs in (
        *((f"+30 % in {cells} of 21 cells", shift(0.3, cells), CHANGED, 21) for cells in (2, 3, 4)),
        ("2 of 21 cells from 10/10 to 0/10", lost(2), "hole_punch_success", 21),
        ("5 x outliers in 20 % of trials", outliers(0.2, 5), CHANGED, 21),
        ("5 x outliers in 20 % of trials", outliers(0.2, 5), CHANGED, 6),
        ("5 x outliers in 20 % of trials", outliers(0.2, 5), CHANGED, 1),
    ):
        yield Case("shapes", name, change, 5, pairs, _fewer(runs, 5, pairs), metric)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as the Markdown of docs/metrics.md."""
    lines = ["| Truth | Subjects | NAT pairs | Found | Others blamed |", "|---|---|---|---|---|"]
    for row in rows:
        seen = "-" if row["truth"].startswith("no difference") else _of(row)
        told = f"{row['truth']} | {row['subjects']} | {row['pairs']}"
        lines.append(f"| {told} | {seen} | {_of(row, 'others_blamed')} |")
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
    parser.add_argument("--only", action="append", default=[], choices=["power", "nulls", "shapes"])
    parser.add_argument("--rows", type=Path, help="file to which rows are added, and which has those of before")
    parser.add_argument("--measured", action="store_true", help="print what the file of --rows has, measure nothing")
    options = parser.parse_args()
    if options.measured and not options.rows:
        parser.error("--measured needs --rows")
    cases = [*power(options.runs), *nulls(options.nulls), *shapes(options.runs)]
    chosen = [case for case in cases if not options.only or case.section in options.only]
    rows = measure(chosen, options.rows, known_alone=options.measured)
    if options.table:
        print(table(rows), end="")
    elif options.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(*(f"{key}={value}" for key, value in row.items() if key != "key"))


def measure(cases: list[Case], file: Path | None, *, known_alone: bool = False) -> list[dict[str, Any]]:
    """Return the row of each case: from the file where that has it, else measured, the quickest first, and added."""
    lines = file.read_text().splitlines() if file and file.exists() else []
    known = {row["key"]: row for row in map(json.loads, lines)}
    for case in sorted(cases, key=lambda case: case.subjects * case.pairs * case.runs):
        if case.key in known or known_alone:
            continue
        print(case.key, file=sys.stderr, flush=True)
        known[case.key] = case.row()
        if file:
            with file.open("a") as opened:
                opened.write(json.dumps(known[case.key]) + "\n")
    return [known[case.key] for case in cases if case.key in known]


if __name__ == "__main__":
    main()
