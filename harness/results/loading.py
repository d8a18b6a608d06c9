"""The analysts' way in: a result folder as tidy pandas frames. Needs no privileges and no lab."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from harness.results.frame import PARQUET_PROBLEMS, PARQUET_SOURCE_SIZE, completed, is_known, records_frame, table_frame
from harness.results.lines import LineProblem
from harness.results.samples import latency_samples
from harness.results.store import ResultFolderError, RunFolder


@dataclass(frozen=True)
class Results:
    """What a run left behind.

    `records`: one row per measurement, columns as in results/README.md; text columns are categories, `value` is
    float64 in `unit`, `params` canonical JSON. `problems`: the lines of records.jsonl that do not count.
    """

    path: Path
    manifest: dict[str, Any]
    plan: list[dict[str, Any]]
    records: pd.DataFrame
    problems: tuple[LineProblem, ...]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per cell and metric with n, estimate and interval (`harness.results.summary.COLUMNS`)."""
        from harness.results.summary import summarise  # noqa: PLC0415  # scipy takes longer than the loading

        return summarise(self.records)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row per trial and pair of members: what tables and plots pool (`harness.results.pairs.pairs_frame`)."""
        from harness.results.pairs import pairs_frame  # noqa: PLC0415

        return pairs_frame(self.records)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial, its main metrics as columns (`harness.results.trials.trials_frame`)."""
        from harness.results.trials import trials_of  # noqa: PLC0415

        return trials_of(self.pairs)

    @cached_property
    def phases(self) -> pd.DataFrame:
        """One row per trial, pair of members and event of its timeline (`harness.results.phases.phases_frame`)."""
        from harness.results.phases import phases_frame  # noqa: PLC0415

        return phases_frame(self.records)

    @cached_property
    def rtt_samples(self) -> pd.DataFrame:
        """Return every round trip: trial, src, dst, seq, sent_s (since the probe's start), rtt_ms (NaN: lost)."""
        return latency_samples(self.path, self.records)

    @cached_property
    def loaded_rtt_samples(self) -> pd.DataFrame:
        """Return what `rtt_samples` does, for the round trips while TCP filled both directions."""
        return latency_samples(self.path, self.records, "loaded_rtt_p50_ms")


def load(run_dir: Path | str) -> Results:
    """Load a result folder, from records.parquet when that is up to date, else from records.jsonl.

    Raises ResultFolderError when it is none, or its files cannot be read.
    """
    folder = RunFolder(Path(run_dir))
    manifest = folder.manifest()
    plan = folder.plan() if folder.plan_path.exists() else []
    found = _from_parquet(folder)
    if found is None:
        lines = folder.read()
        found = records_frame(lines.records), tuple(lines.problems)
    return Results(folder.path, manifest, plan, *found)


def fresh_parquet(folder: RunFolder) -> pq.ParquetFile | None:
    """Return records.parquet where it is of records.jsonl as that is now; None: read records.jsonl.

    Raises ResultFolderError when it cannot be read and there is no records.jsonl either.
    """
    if not folder.parquet_path.exists():
        return None
    has_source = folder.records_path.exists()
    try:
        file = pq.ParquetFile(folder.parquet_path)
        source = int((file.metadata.metadata or {}).get(PARQUET_SOURCE_SIZE, b"-1"))
        if has_source and folder.records_path.stat().st_size != source:
            return None
        if is_known(file.schema_arrow.names):
            return file
        if not has_source:
            raise ValueError("no version that overlaybench can read has these columns")
    except (OSError, ValueError) as error:
        if not has_source:
            raise _unreadable(folder, error) from None
    return None


def _from_parquet(folder: RunFolder) -> tuple[pd.DataFrame, tuple[LineProblem, ...]] | None:
    file = fresh_parquet(folder)
    if file is None:
        return None
    try:
        table = file.read()
    except (OSError, ValueError) as error:
        if folder.records_path.exists():
            return None
        raise _unreadable(folder, error) from None
    return table_frame(completed(table)), problems_of(file)


def problems_of(file: pq.ParquetFile) -> tuple[LineProblem, ...]:
    """Return the lines of records.jsonl that did not count when the file was made of it."""
    kept = (file.metadata.metadata or {}).get(PARQUET_PROBLEMS, b"[]")
    return tuple(LineProblem(*item) for item in json.loads(kept))


def _unreadable(folder: RunFolder, error: Exception) -> ResultFolderError:
    return ResultFolderError(f"{folder.parquet_path}: unreadable: {error}")
