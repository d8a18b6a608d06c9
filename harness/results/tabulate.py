"""The tables next to records.jsonl: records.parquet and summary.csv."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from harness.results.files import write_atomically
from harness.results.frame import ARROW_SCHEMA, PARQUET_PROBLEMS, PARQUET_SOURCE_SIZE, records_table, table_frame
from harness.results.lines import LineProblem
from harness.results.summary import summarise_parts

Trial = Sequence[Mapping[str, Any]]
TOGETHER = 4096
"""So many records become columns at a time: as objects they take twenty times as much memory."""


def write_tables(
    trials: Callable[[], Iterable[Trial]],
    repeated: Collection[str],
    problems: Sequence[LineProblem],
    *,
    records_path: Path,
    parquet_path: Path,
    summary_path: Path,
) -> None:
    """Write both, each in one step, keeping little in memory, whatever the number of records.

    Args:
        trials: reads the trials, anew each time.
        repeated: the names of trials of which there are several; the last counts. It is read after `trials`, as
            `problems` are.
    """
    part = parquet_path.with_suffix(".parquet.part")
    summary = summarise_parts(_written(trials(), problems, records_path, part))
    if repeated:
        last_of_each = {str(trial[0]["trial"]): trial for trial in trials()}
        summary = summarise_parts(_written(last_of_each.values(), problems, records_path, part))
    part.replace(parquet_path)
    _save_summary(summary, summary_path)


def _written(
    trials: Iterable[Trial], problems: Sequence[LineProblem], records_path: Path, path: Path
) -> Iterator[pd.DataFrame]:
    """Write the records into a parquet file, and give them on in parts."""
    with pq.ParquetWriter(path, ARROW_SCHEMA, compression="zstd") as file:
        for together in _together(trials):
            table = records_table(together)
            file.write_table(table)
            yield table_frame(table)
        file.add_key_value_metadata(
            {
                PARQUET_SOURCE_SIZE: str(records_path.stat().st_size).encode(),
                PARQUET_PROBLEMS: json.dumps([[problem.line, problem.text] for problem in problems]).encode(),
            }
        )


def _together(trials: Iterable[Trial]) -> Iterator[list[Mapping[str, Any]]]:
    waiting: list[Mapping[str, Any]] = []
    for trial in trials:
        waiting += trial
        if len(waiting) >= TOGETHER:
            yield waiting
            waiting = []
    yield waiting


def write_summary(parts: Iterable[pd.DataFrame], path: Path) -> None:
    """Write summary.csv in one step, of records in parts, each of whole trials."""
    _save_summary(summarise_parts(parts), path)


def _save_summary(summary: pd.DataFrame, path: Path) -> None:
    write_atomically(path, summary.to_csv(index=False, float_format="%.6g").encode())
