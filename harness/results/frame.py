"""Records as one tidy pandas frame, and that frame as parquet. Column meanings: results/README.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from harness.results.record import FIELDS, SCHEMA_VERSION, Kind, fields_of

# Nearly every text column has few distinct values: dictionaries make a million records load in a second.
_LABELS = pa.dictionary(pa.int32(), pa.string())
_ARROW: dict[Kind, pa.DataType] = {
    "version": pa.int16(),
    "count": pa.int32(),
    "seed": pa.uint64(),
    "number": pa.float64(),
    "label": _LABELS,
    "object": _LABELS,
    "text": pa.string(),
}
ARROW_SCHEMA = pa.schema([(item.name, _ARROW[item.kind]) for item in FIELDS])

# The parquet file says which records.jsonl it was made from, so that a reader knows when it is out of date.
PARQUET_SOURCE_SIZE = b"overlaybench.records_jsonl_bytes"
PARQUET_PROBLEMS = b"overlaybench.problems"


def canonical_json(params: Mapping[str, Any]) -> str:
    """Return parameters as text that is equal when they are equal."""
    return json.dumps(params, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def records_table(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return records (as read, or as `Record.as_dict()` gives them) as an Arrow table; objects become canonical JSON.

    A field that a record lacks is what it was before its time, so that older records need no conversion.
    """
    columns = []
    for item, column in zip(FIELDS, ARROW_SCHEMA, strict=True):
        values: list[Any] = [record.get(item.name, item.before) for record in records]
        if item.kind == "object":
            values = [canonical_json(value) for value in values]
        columns.append(pa.array(values, type=column.type))
    return pa.table(columns, schema=ARROW_SCHEMA)


def is_known(names: Sequence[str]) -> bool:
    """Tell whether a table with these columns was written by this version of the program or an earlier one."""
    versions = range(1, SCHEMA_VERSION + 1)
    return any(list(names) == [item.name for item in fields_of(version)] for version in versions)


def completed(table: pa.Table) -> pa.Table:
    """Return the table of an earlier version with the columns that it lacks (`is_known` says whether it is one)."""
    for item, column in zip(FIELDS, ARROW_SCHEMA, strict=True):
        if item.name not in table.column_names:
            value = canonical_json(item.before) if item.kind == "object" else item.before
            values = pa.array([value] * len(table), type=column.type)
            table = table.append_column(column, values)
    return table


def records_frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return records as a pandas frame: a row per measurement, columns in the record's order, labels as categories."""
    return table_frame(records_table(list(records)))


def table_frame(table: pa.Table) -> pd.DataFrame:
    """Return the Arrow table as the pandas frame that the rest of the package works on."""
    frame: pd.DataFrame = table.to_pandas()
    return frame
