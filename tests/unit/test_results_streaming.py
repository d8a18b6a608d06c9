"""Tables of many trials are made without holding their records as objects, and say the same as reading them does."""

import json
import tracemalloc
from pathlib import Path

import pandas as pd
from result_samples import Maker

from harness.results.loading import load
from harness.results.store import RunFolder, trial_lines

PAIR = {"overlay": "refmesh", "mode": "mesh", "nat_a": "full-cone", "nat_b": "symmetric"}


def folder_of(path: Path, trials: int) -> tuple[RunFolder, int]:
    """Return a folder with so many trials, and how many records they have."""
    folder = RunFolder(path)
    folder.create({"schema": 3, "scenario": "many"}, [])
    text = trial_lines(Maker().trial("t0", **PAIR))
    folder.write(text.replace('"trial": "t0"', f'"trial": "t{number}"') for number in range(trials))
    return folder, text.count("\n") * trials


def test_a_record_takes_memory_as_a_row_and_not_as_an_object(tmp_path: Path) -> None:
    small, few = folder_of(tmp_path / "small", 250)
    large, many = folder_of(tmp_path / "large", 750)
    small.finish()  # what is loaded once is loaded now
    peaks = []
    for folder in (small, large):
        tracemalloc.start()
        folder.finish()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    as_object = len(json.dumps(small.read().records[0]))  # more than that, with its keys
    assert (peaks[1] - peaks[0]) / (many - few) < as_object


def test_of_a_trial_that_finished_twice_the_later_counts_in_the_tables_too(tmp_path: Path) -> None:
    folder, _ = folder_of(tmp_path / "run", 3)
    first = Maker().trial("t1", **PAIR)
    again = [record for record in first if record.probe != "path"]
    with folder.records_path.open("a") as file:
        file.write(trial_lines(again))
    (problem,) = folder.finish()
    assert "t1 finished before" in problem.text
    from_parquet = load(folder.path).records
    folder.parquet_path.unlink()
    from_lines = load(folder.path).records
    pd.testing.assert_frame_equal(from_parquet, from_lines)
    assert (from_parquet["trial"] == "t1").sum() == len(again) < len(first)
