"""How fast results are loaded and reported, how often `compare` cries wolf, how well intervals cover.

    python -m bench.results [--json] [--only SECTION]... [--runs DIR...]

With --runs the false alarms are counted over all pairs of those result folders, which must be runs of one commit and
scenario; without, over pairs of made-up runs with no difference, which tells the statistics' own share.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.report.html import write_report
from harness.results.changes import Rule
from harness.results.clusters import clustered_median
from harness.results.compare import compare
from harness.results.frame import records_frame
from harness.results.loading import load
from harness.results.statistics import medians, proportion
from harness.results.store import RunFolder

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "unit"))
from result_samples import Maker


def report_of_10_000_records() -> dict[str, Any]:
    """Report a run of 10,000 records with samples: seconds, page size, against a bare import of what it needs."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch) / "run")
        folder.create({"schema": 1, "scenario": "bench"}, [])
        count = 0
        rng = np.random.default_rng(1)
        for trial in Maker().campaign(14):
            evidence = folder.path / "trials" / trial[0].trial
            evidence.mkdir(parents=True)
            rows = "".join(f"{i},{i / 100:.2f},{rtt:.3f}\n" for i, rtt in enumerate(40 + rng.exponential(2, 200)))
            (evidence / "rtt.csv").write_text("seq,sent_s,rtt_ms\n" + rows)
            (evidence / "daemon.log").write_text("a line of a log that says something\n" * 200)
            where = f"trials/{trial[0].trial}/rtt.csv"
            folder.append([replace(r, evidence=where) if r.metric == "rtt_p50_ms" else r for r in trial])
            count += len(trial)
        folder.finish()
        began, cpu = time.perf_counter(), time.process_time()
        page = write_report(folder.path)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        size = page.stat().st_size / 1e6
        return {"records": count, "wall_s": took, "cpu_s": cpu, "page_mb": size, "target_s": 10, "target_mb": 5}


def load_of_a_million() -> dict[str, Any]:
    """`load` of a million records in a fresh process, imports included, against pandas' own read of the same file."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch))
        folder.create({"schema": 1, "scenario": "bench"}, [])
        lines = [json.dumps(record.as_dict()) for trial in Maker().campaign(1) for record in trial]
        with folder.records_path.open("w") as file:
            written = 0
            while written < 1_000_000:
                number = written // len(lines)
                mark = f'-{number}", "repeat": {number}'
                file.write("".join(line.replace('-0", "repeat": 0', mark) + "\n" for line in lines))
                written += len(lines)
        folder.finish()
        ours = "from harness.results import load; import sys; assert len(load(sys.argv[1]).records) >= 1_000_000"
        bare = "import pandas, sys; pandas.read_parquet(sys.argv[1] + '/records.parquet')"
        (wall, cpu), (pandas_wall, pandas_cpu) = (_fresh(code, folder.path) for code in (ours, bare))
        return {
            "records": written,
            "wall_s": wall,
            "cpu_s": cpu,
            "pandas_wall_s": pandas_wall,
            "pandas_cpu_s": pandas_cpu,
            "target_s": 3,
        }


def _fresh(code: str, path: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a fresh Python that runs this code."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def false_alarms(runs: list[Path]) -> dict[str, Any]:
    """In how many pairs of runs without a difference `compare` finds a regression, with its Wilson interval."""
    if runs:
        frames = [load(path).records for path in runs]
        pairs = list(itertools.permutations(frames, 2))
    else:
        pairs = []
        for seed in range(60):
            sides = [Maker(seed=2 * seed + side, noise_ms=3).campaign(2) for side in (0, 1)]
            frames = [records_frame([record.as_dict() for trial in side for record in trial]) for side in sides]
            pairs.append((frames[0], frames[1]))
    alarms = without_minimum = 0
    blamed: dict[str, int] = {}
    for base, new in pairs:
        found = compare(base, new)
        alarms += bool(found.regressions)
        for change in found.regressions:
            blamed[change.metric] = blamed.get(change.metric, 0) + 1
        without_minimum += any(
            change.p_corrected < 0.05 and change.p_worse < change.p_better
            for change in compare(base, new, Rule(min_effect=0)).changes
        )
    rate = proportion(alarms, len(pairs))
    return {
        "pairs": len(pairs),
        "real_runs": len(runs),
        "false_alarms": alarms,
        "rate": rate.value,
        "interval": [rate.low, rate.high],
        "metrics_blamed": blamed,
        "significant_without_minimum_effect": without_minimum,
    }


def interval_coverage() -> dict[str, Any]:
    """How often the 95 % interval of a median holds the true one, for 6 to 30 runs of a skewed distribution.

    `pairs`: of 7 trials of 3 pairs each, which have half of their spread in common.
    """
    rng = np.random.default_rng(7)
    truth = float(np.log(2))
    found = {}
    for n in (6, 7, 8, 9, 10, 30):
        estimates = medians([list(row) for row in rng.exponential(1, (1000, n))])
        found[str(n)] = sum(estimate.low <= truth <= estimate.high for estimate in estimates) / len(estimates)
    codes = np.repeat(np.arange(7), 3)
    worlds = rng.normal(size=(1000, 7, 1)) + rng.normal(size=(1000, 7, 3))
    estimates = [clustered_median(world.ravel(), codes) for world in worlds]
    pairs = sum(estimate.low <= 0 <= estimate.high for estimate in estimates) / len(estimates)
    return {"coverage_by_runs": found, "pairs": pairs, "promised": 0.95}


def main() -> None:
    """Run the sections and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--runs", nargs="*", type=Path, default=[])
    options = parser.parse_args()
    sections: dict[str, Callable[[], dict[str, Any]]] = {
        "report": report_of_10_000_records,
        "load": load_of_a_million,
        "false_alarms": lambda: false_alarms(options.runs),
        "coverage": interval_coverage,
    }
    if unknown := set(options.only) - sections.keys():
        parser.error(f"no section {sorted(unknown)[0]}; there are {', '.join(sections)}")
    found = {name: section() for name, section in sections.items() if not options.only or name in options.only}
    found["memory_mib"] = {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, figures in found.items():
        print(name, *(f"{key}={value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
