"""A result folder's records in parts, for what has to be told of more of them than one wants in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from harness.results.frame import completed, table_frame
from harness.results.loading import Results, fresh_parquet, load, problems_of
from harness.results.store import RunFolder


def record_parts(run_dir: Path) -> Iterator[pd.DataFrame]:
    """Yield the records of a folder in file order, each time those of some whole trials, as `load` has them.

    Raises:
        ResultFolderError: it is none, or its files cannot be read.
    """
    if fresh_parquet(RunFolder(run_dir)) is None:
        yield load(run_dir).records
    else:
        yield from map(table_frame, _tables(RunFolder(run_dir)))


def first_repeats(run_dir: Path, most_pairs: int) -> tuple[Results, int | None]:
    """Return as many of a folder's repeats as have so many pairs of members in all, one at least, and the last of them.

    The second is None where the whole folder has no more; else the plan is left out.

    Raises:
        ResultFolderError: it is none, or its files cannot be read.
    """
    folder = RunFolder(run_dir)
    file = fresh_parquet(folder)
    if file is None:
        return load(run_dir), None
    pairs: Counter[int] = Counter()
    for table in _tables(folder):
        counts = table.filter(pc.equal(table["metric"], "connect_success"))["repeat"].value_counts()
        pairs.update({each["values"]: each["counts"] for each in counts.to_pylist()})
    if pairs.total() <= most_pairs:
        return load(run_dir), None
    repeats = sorted(pairs)
    fit = np.searchsorted(np.cumsum([pairs[repeat] for repeat in repeats]), most_pairs, side="right")
    last = repeats[max(0, int(fit) - 1)]
    chosen = [_without_others(table.filter(pc.less_equal(table["repeat"], last))) for table in _tables(folder)]
    records = table_frame(pa.concat_tables(chosen).unify_dictionaries())
    return Results(folder.path, folder.manifest(), [], records, problems_of(file)), last


def _tables(folder: RunFolder) -> Iterator[pa.Table]:
    """Yield the row groups of records.parquet, but what begins in the last trial of one with the next."""
    file = fresh_parquet(folder)
    assert file is not None
    rest: list[pa.Table] = []
    for number in range(file.num_row_groups):
        read = completed(file.read_row_group(number))
        table = pa.concat_tables([*rest, read]).unify_dictionaries().combine_chunks()
        ends = number == file.num_row_groups - 1
        begins = len(table) if ends else _last_trial_begins(table)
        yield table.slice(0, begins)
        rest = [_without_others(table.slice(begins))]


def _without_others(table: pa.Table) -> pa.Table:
    """Return the table with the texts of its own rows alone: part of a table still has all that the table had."""
    columns = [
        column.cast(pa.string()).dictionary_encode() if pa.types.is_dictionary(column.type) else column
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names).cast(table.schema)


def _last_trial_begins(table: pa.Table) -> int:
    codes = table["trial"].combine_chunks().indices.to_numpy()
    others = np.flatnonzero(codes != codes[-1])
    return int(others[-1]) + 1 if others.size else 0
