"""Records as one tidy pandas frame, and that frame as parquet. Column meanings: results/README.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from harness.results.lines import FIELDS

_NUMBERS = {"schema": pa.int16(), "repeat": pa.int32(), "seed": pa.uint64(), "value": pa.float64()}
_PLAIN_TEXT = frozenset({"started_at", "evidence", "error"})
_LABELS = pa.dictionary(pa.int32(), pa.string())

# Nearly every text column has few distinct values: dictionaries make a million records load in a second.
ARROW_SCHEMA = pa.schema(
    [(name, _NUMBERS.get(name) or (pa.string() if name in _PLAIN_TEXT else _LABELS)) for name in FIELDS]
)


# The parquet file says which records.jsonl it was made from, so that a reader knows when it is out of date.
PARQUET_SOURCE_SIZE = b"overlaybench.records_jsonl_bytes"
PARQUET_PROBLEMS = b"overlaybench.problems"


def canonical_json(params: Mapping[str, Any]) -> str:
    """Parameters as text that is equal when they are equal."""
    return json.dumps(params, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def records_table(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Records (as read or as `Record.as_dict()` gives them) as an Arrow table; `params` becomes canonical JSON text."""
    columns = []
    for column in ARROW_SCHEMA:
        if column.name == "params":
            values: list[Any] = [canonical_json(record["params"]) for record in records]
        else:
            values = [record[column.name] for record in records]
        columns.append(pa.array(values, type=column.type))
    return pa.table(columns, schema=ARROW_SCHEMA)


def records_frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Records as a pandas frame: one row per measurement, columns in the record's order, labels as categories."""
    return table_frame(records_table(list(records)))


def table_frame(table: pa.Table) -> pd.DataFrame:
    """The Arrow table as the pandas frame that the rest of the package works on."""
    frame: pd.DataFrame = table.to_pandas()
    return frame
