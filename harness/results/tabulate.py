"""The tables next to records.jsonl: records.parquet and summary.csv."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from harness.results.files import write_atomically
from harness.results.frame import PARQUET_PROBLEMS, PARQUET_SOURCE_SIZE, records_table, table_frame
from harness.results.lines import Lines
from harness.results.summary import summarise


def write_tables(lines: Lines, records_path: Path, parquet_path: Path, summary_path: Path) -> None:
    """Write both, each in one step."""
    source = {
        PARQUET_SOURCE_SIZE: str(records_path.stat().st_size).encode(),
        PARQUET_PROBLEMS: json.dumps([[problem.line, problem.text] for problem in lines.problems]).encode(),
    }
    table = records_table(lines.records).replace_schema_metadata(source)
    part = parquet_path.with_suffix(".parquet.part")
    pq.write_table(table, part, compression="zstd")
    part.replace(parquet_path)
    write_summary(table_frame(table), summary_path)


def write_summary(records: pd.DataFrame, path: Path) -> None:
    """Write summary.csv in one step."""
    write_atomically(path, summarise(records).to_csv(index=False, float_format="%.6g").encode())
